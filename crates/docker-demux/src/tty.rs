//! The raw stream of a TTY container: no frames, a stamp before each line, and again at each 16 KiB cut inside one.

use memchr::{memchr, memmem};

use crate::{
    Options, Stamps,
    frames::{STAMP, split_stamp},
    join::{Joiner, PIECE},
    lines::{Lines, Stream},
};

/// A piece with neither a cut nor an LF in this many octets is passed on as it is.
const MAX_PIECE: usize = 4 * PIECE;

/// A full stamp as Docker writes it: 30 octets, of which the last is `Z`.
const FULL: usize = 30;

/// Decodes one container's stream into lines, all of stdout.
///
/// The stream is asked for with `timestamps=1`. Inside a long line the same stamp stands again after every piece of
/// 16384 octets (more, if the json-file driver replaced octets that are not UTF-8) and is taken out. The `local`
/// driver drops the LF of a long line, so that the next line's stamp follows in the middle of it: there, and in the
/// last piece of a long line only, a later full stamp begins the next line.
#[derive(Clone, Debug)]
pub struct Tty {
    local: bool,
    join: Joiner,
    stamps: Stamps,
    /// What is not decoded yet: an incomplete stamp or piece.
    held: Vec<u8>,
    /// Octets of `held` known to be without LF.
    searched: usize,
    /// The stamp of the line with its blank, empty before a line.
    stamp: Vec<u8>,
    time_ns: Option<i64>,
    /// Pieces of this line so far.
    pieces: u64,
    pos: u64,
}

impl Tty {
    /// Makes a decoder for a stream from its first octet on.
    pub fn new(options: Options) -> Self {
        Self {
            local: options.local,
            join: Joiner::new(true),
            stamps: Stamps::default(),
            held: Vec::new(),
            searched: 0,
            stamp: Vec::new(),
            time_ns: None,
            pieces: 0,
            pos: 0,
        }
    }

    /// Takes all of `input`, which may be cut anywhere.
    pub fn push(&mut self, input: &[u8], out: &mut Lines) {
        self.held.extend_from_slice(input);
        self.run(out, false);
    }

    /// Ends the stream: hands out what has no LF.
    pub fn finish(&mut self, out: &mut Lines) {
        self.run(out, true);
        self.join.finish(out);
    }

    /// Counts the pieces so far.
    pub fn entries(&self) -> u64 {
        self.pos
    }

    /// Tells whether a line has begun that is not handed out yet.
    pub fn holds(&self, stream: Stream) -> bool {
        self.join.holds(stream) || (stream == Stream::Stdout && !self.stamp.is_empty())
    }

    fn run(&mut self, out: &mut Lines, over: bool) {
        let held = std::mem::take(&mut self.held);
        let mut at = 0;
        while let Some(len) = self.step(&held[at..], out, over) {
            at += len;
            self.searched = 0;
        }
        self.held = held;
        self.held.drain(..at);
    }

    /// Decodes a stamp or a piece and tells its length; `None` if more octets are needed.
    fn step(&mut self, input: &[u8], out: &mut Lines, over: bool) -> Option<usize> {
        if input.is_empty() {
            return None;
        }
        if self.stamp.is_empty() {
            return self.begin(input, over);
        }
        let (len, then) = self.piece(input, over)?;
        let start = out.bytes.len();
        out.bytes.extend_from_slice(&input[..len]);
        self.join
            .accept(out, start, Stream::Stdout, self.time_ns, self.pos);
        self.pos += 1;
        match then {
            Then::Cut => {
                self.pieces += 1;
                Some(len + self.stamp.len())
            }
            Then::GoesOn => Some(len),
            Then::Ends => {
                self.stamp.clear();
                Some(len)
            }
        }
    }

    /// Takes the stamp before a line.
    fn begin(&mut self, input: &[u8], over: bool) -> Option<usize> {
        let head = &input[..input.len().min(STAMP)];
        if !over
            && input.len() < STAMP
            && memchr(b' ', head).is_none()
            && memchr(b'\n', head).is_none()
        {
            return None;
        }
        let (time_ns, content) = split_stamp(&mut self.stamps, input);
        let len = input.len() - content.len();
        self.time_ns = time_ns;
        self.pieces = 0;
        self.stamp.clear();
        self.stamp.extend_from_slice(&input[..len]);
        if len == 0 {
            // No stamp: a mark that no output holds, so that nothing is taken out of the line.
            self.stamp.extend_from_slice(b"\n");
        }
        (len > 0).then_some(len).or(Some(0))
    }

    /// Finds where the piece at the start of `input` ends.
    fn piece(&mut self, input: &[u8], over: bool) -> Option<(usize, Then)> {
        let lf = memchr(b'\n', &input[self.searched..]).map(|at| self.searched + at);
        let limit = lf.unwrap_or(input.len());
        if self.local
            && self.pieces > 0
            && let Some(at) = self.later_stamp(&input[..limit.min(PIECE + STAMP)])
        {
            return Some((at, Then::Ends));
        }
        if let Some(beyond) = input.get(PIECE..limit)
            && let Some(at) = memmem::find(beyond, &self.stamp)
        {
            return Some((PIECE + at, Then::Cut));
        }
        if let Some(lf) = lf {
            return Some((lf + 1, Then::Ends));
        }
        if over {
            return Some((input.len(), Then::Ends));
        }
        if input.len() > MAX_PIECE + STAMP {
            return Some((MAX_PIECE, Then::GoesOn));
        }
        self.searched = input.len();
        None
    }

    /// Finds a full stamp that is later than the line's.
    fn later_stamp(&mut self, input: &[u8]) -> Option<usize> {
        memmem::find_iter(input, b"Z ").find_map(|zulu| {
            let at = (zulu + 1).checked_sub(FULL)?;
            let time_ns = self.stamps.parse(&input[at..=zulu])?;
            (Some(time_ns) > self.time_ns).then_some(at)
        })
    }
}

enum Then {
    /// The stamp stands again: it is taken out and the line goes on.
    Cut,
    /// The line goes on without a stamp.
    GoesOn,
    /// The line is over.
    Ends,
}
