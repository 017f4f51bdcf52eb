//! The multiplexed stream of the Docker API: a header of eight octets, then a payload that begins with a stamp.

use std::fmt;

use memchr::memchr;

use crate::{
    Options, Stamps,
    join::Joiner,
    lines::{Lines, Stream},
};

/// Octets of a frame's header: the type, three zeros, the length in big-endian order.
pub const HEADER: usize = 8;

/// A frame with a longer payload is passed over and counted. Docker's own hold 16 KiB and a stamp.
pub const MAX_FRAME: usize = 16 << 20;

/// Octets kept of the daemon's own error message.
pub const MAX_MESSAGE: usize = 1024;

/// A stamp before a payload is not longer than this, its blank included.
pub(crate) const STAMP: usize = 41;

/// One frame, as it lies in its buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Output, its stamp still before it.
    Output(Stream, &'a [u8]),
    /// The length of the payload is over the limit; that many octets after the header are to be passed over.
    TooLong(u32),
}

/// Why a log stream can't go on. All but [`FrameError::Cut`] are the daemon's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A frame of type 3: the daemon's own words, at most [`MAX_MESSAGE`] octets.
    #[error("daemon error: {0}")]
    Daemon(Message),
    /// The header is none: a TTY's raw stream, or the two sides disagree about where frames begin.
    #[error("frame header {0:02x?} is not docker's")]
    Header([u8; 4]),
    /// The stream ended inside a frame.
    #[error("stream ends inside a frame")]
    Cut,
}

/// What the daemon said, which may be anything.
#[derive(Clone, PartialEq, Eq)]
pub struct Message(Vec<u8>);

impl Message {
    /// Gives its octets.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.trim_ascii_end().escape_ascii())
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Decodes the frame at the start of `buf` and tells its length with header; `None` if more octets are needed.
///
/// # Errors
///
/// [`FrameError::Daemon`] and [`FrameError::Header`]: nothing after it can be read.
pub fn decode(buf: &[u8], max_frame: usize) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let Some((header, rest)) = buf.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let [kind, a, b, c, length @ ..] = *header;
    if kind > 3 || [a, b, c] != [0; 3] {
        return Err(FrameError::Header([kind, a, b, c]));
    }
    let length = u32::from_be_bytes(length);
    let len = length as usize;
    if kind == 3 {
        let shown = len.min(MAX_MESSAGE);
        let message = rest.get(..shown).map(|text| Message(text.to_vec()));
        return message.map_or(Ok(None), |message| Err(FrameError::Daemon(message)));
    }
    if len > max_frame {
        return Ok(Some((Frame::TooLong(length), HEADER)));
    }
    let stream = if kind == 2 {
        Stream::Stderr
    } else {
        Stream::Stdout
    };
    Ok(rest
        .get(..len)
        .map(|payload| (Frame::Output(stream, payload), HEADER + len)))
}

/// Decodes one container's stream into lines.
#[derive(Clone, Debug)]
pub struct Frames {
    max_frame: usize,
    join: Joiner,
    stamps: Stamps,
    /// A frame that is not complete.
    held: Vec<u8>,
    /// Octets of a too long payload still to be passed over.
    skip: u64,
    oversized: u64,
    /// Frames so far: stands for the position of a file.
    pos: u64,
}

impl Frames {
    /// Makes a decoder for a stream from its first octet on.
    pub fn new(options: Options) -> Self {
        Self::with_limit(options, MAX_FRAME)
    }

    /// As [`Frames::new`], with another limit than [`MAX_FRAME`].
    pub fn with_limit(options: Options, max_frame: usize) -> Self {
        Self {
            max_frame,
            join: Joiner::new(options.tty),
            stamps: Stamps::default(),
            held: Vec::new(),
            skip: 0,
            oversized: 0,
            pos: 0,
        }
    }

    /// Takes all of `input`; frames may be cut anywhere between two calls.
    ///
    /// # Errors
    ///
    /// See [`decode`]. The lines before are in `out`; the decoder must not be used further.
    pub fn push(&mut self, mut input: &[u8], out: &mut Lines) -> Result<(), FrameError> {
        while !input.is_empty() {
            if self.skip > 0 {
                let passed = self.skip.min(input.len() as u64);
                self.skip -= passed;
                input = &input[passed as usize..];
            } else if self.held.is_empty() {
                input = self.whole(input, out)?;
                if self.skip == 0 {
                    self.held.extend_from_slice(input);
                    return Ok(());
                }
            } else {
                input = self.complete(input, out)?;
            }
        }
        Ok(())
    }

    /// Ends the stream: hands out lines that have no LF.
    ///
    /// # Errors
    ///
    /// [`FrameError::Cut`] if it ends inside a frame; the lines before are handed out nevertheless.
    pub fn finish(&mut self, out: &mut Lines) -> Result<(), FrameError> {
        self.join.finish(out);
        if self.held.is_empty() && self.skip == 0 {
            Ok(())
        } else {
            Err(FrameError::Cut)
        }
    }

    /// Counts the frames so far, unwanted ones included.
    pub fn entries(&self) -> u64 {
        self.pos
    }

    /// Tells whether a line of this stream has begun that is not handed out yet.
    pub fn holds(&self, stream: Stream) -> bool {
        self.join.holds(stream)
    }

    /// Tells whether the stream stands inside a frame.
    pub fn inside(&self) -> bool {
        !self.held.is_empty() || self.skip > 0
    }

    /// Counts the frames over the limit.
    pub fn oversized(&self) -> u64 {
        self.oversized
    }

    /// Adds to the incomplete frame what it lacks, at first its header, and gives the rest.
    fn complete<'a>(&mut self, input: &'a [u8], out: &mut Lines) -> Result<&'a [u8], FrameError> {
        let mut wanted = HEADER;
        if let Some(length) = self.held.get(4..HEADER) {
            wanted += length
                .iter()
                .fold(0, |len, octet| len << 8 | usize::from(*octet));
        }
        let more = (wanted - self.held.len()).min(input.len());
        self.held.extend_from_slice(&input[..more]);
        let mut held = std::mem::take(&mut self.held);
        let left = self.whole(&held, out)?.len();
        held.drain(..held.len() - left);
        if !held.is_empty() || held.capacity() <= MAX_KEPT {
            self.held = held;
        }
        Ok(&input[more..])
    }

    /// Decodes the whole frames of a buffer, up to a too long one, and gives the rest.
    fn whole<'a>(&mut self, mut input: &'a [u8], out: &mut Lines) -> Result<&'a [u8], FrameError> {
        while self.skip == 0
            && let Some((frame, len)) = decode(input, self.max_frame)?
        {
            input = &input[len..];
            self.pos += 1;
            match frame {
                Frame::TooLong(len) => {
                    self.oversized += 1;
                    self.skip = u64::from(len);
                }
                Frame::Output(stream, payload) => self.payload(stream, payload, out),
            }
        }
        Ok(input)
    }

    fn payload(&mut self, stream: Stream, payload: &[u8], out: &mut Lines) {
        let (time_ns, mut content) = split_stamp(&mut self.stamps, payload);
        if content.is_empty() && time_ns.is_none() {
            return;
        }
        // One entry a frame is what Docker does; nothing promises it.
        loop {
            let len = memchr(b'\n', content).map_or(content.len(), |lf| lf + 1);
            let start = out.bytes.len();
            out.bytes.extend_from_slice(&content[..len]);
            self.join.accept(out, start, stream, time_ns, self.pos);
            content = &content[len..];
            if content.is_empty() {
                return;
            }
        }
    }
}

/// Memory kept for the next incomplete frame.
const MAX_KEPT: usize = 64 << 10;

/// Splits the stamp and its blank from a payload; `None` and all of it if there is no stamp.
pub(crate) fn split_stamp<'a>(stamps: &mut Stamps, payload: &'a [u8]) -> (Option<i64>, &'a [u8]) {
    let head = &payload[..payload.len().min(STAMP)];
    if let Some(blank) = memchr(b' ', head)
        && let Some(time_ns) = stamps.parse(&payload[..blank])
    {
        return (Some(time_ns), &payload[blank + 1..]);
    }
    // A line without a single octet may have lost the blank after its stamp.
    match stamps.parse(payload.trim_ascii_end()) {
        Some(time_ns) => (Some(time_ns), &payload[payload.trim_ascii_end().len()..]),
        None => (None, payload),
    }
}
