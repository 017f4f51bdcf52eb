//! Frames: a header line, the length of the body in four octets, and the body, a JSON object or nothing.
//!
//! A *codec* over octets, in both directions: what a client sends and what a server answers. The body is handed out as
//! it came; [`crate::Event::read`] looks into it.

use std::fmt;

/// The longest header, its LF included. The bus closes a connection that sends a longer one.
pub const MAX_HEADER: usize = 4096;

/// The longest body, in octets. The bus closes a connection that announces a longer one.
pub const MAX_BODY: usize = 1 << 20;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// To the server: the client's name.
    Hello,
    /// To the server: an event for a topic.
    Pub,
    /// To the server: events of a pattern are wanted.
    Sub,
    /// To the server: they are not wanted any more.
    Unsub,
    /// To the server: the connection ends.
    Bye,
    /// To the client: an event of a topic.
    Evt,
}

/// One frame; its parts borrow from what was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is for.
    pub verb: Verb,
    /// Name, topic or pattern; what stands behind the header's first space, without blanks at its ends.
    pub args: &'a str,
    /// The body as it came; empty means an empty object.
    pub body: &'a [u8],
}

/// What is wrong with a frame. Where the next one begins is not known then: the connection is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// No LF within [`MAX_HEADER`].
    #[error("header is longer than {MAX_HEADER} octets")]
    HeaderTooLong,
    /// Octets in a header that do not belong there.
    #[error("octet {octet:#04x} at {at} in a header")]
    Header {
        /// The octet.
        octet: u8,
        /// Its place, counted from 0.
        at: usize,
    },
    /// A verb that there is not.
    #[error("unknown verb `{0}`")]
    UnknownVerb(String),
    /// More than [`MAX_BODY`].
    #[error("body of {0} octets is longer than {MAX_BODY}")]
    BodyTooLong(usize),
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Hello,
        Self::Pub,
        Self::Sub,
        Self::Unsub,
        Self::Bye,
        Self::Evt,
    ];

    /// The word in the header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hello => "HELLO",
            Self::Pub => "PUB",
            Self::Sub => "SUB",
            Self::Unsub => "UNSUB",
            Self::Bye => "BYE",
            Self::Evt => "EVT",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads the frame at the front of `buf`, and tells how many octets it takes; `None` while it is not whole. Asks for at
/// most [`MAX_HEADER`] + 4 + [`MAX_BODY`] octets.
///
/// # Errors
/// What is wrong with it, as soon as that can be seen.
pub fn decode(buf: &[u8]) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let window = &buf[..buf.len().min(MAX_HEADER)];
    let Some(end) = memchr::memchr(b'\n', window) else {
        return match window.len() {
            MAX_HEADER => Err(FrameError::HeaderTooLong),
            _ => Ok(None),
        };
    };
    let (verb, args) = header(&buf[..end])?;
    let Some((len, rest)) = buf[end + 1..].split_first_chunk::<4>() else {
        return Ok(None);
    };
    let len = u32::from_be_bytes(*len) as usize;
    if len > MAX_BODY {
        return Err(FrameError::BodyTooLong(len));
    }
    let Some(body) = rest.get(..len) else {
        return Ok(None);
    };
    let used = end + 1 + 4 + len;
    Ok(Some((Frame { verb, args, body }, used)))
}

/// Splits a header line without its LF.
fn header(line: &[u8]) -> Result<(Verb, &str), FrameError> {
    // `\r` before the LF is a line end as well; a blank may stand in the arguments.
    if let Some(at) = line.iter().position(|octet| !octet.is_ascii()) {
        let octet = line[at];
        return Err(FrameError::Header { octet, at });
    }
    let text = str::from_utf8(line).unwrap_or_default().trim_ascii_end();
    let (word, args) = text.split_once(' ').unwrap_or((text, ""));
    let verb = Verb::ALL.into_iter().find(|verb| verb.as_str() == word);
    let verb = verb.ok_or_else(|| {
        // It comes from outside: shown in part, and without control octets.
        let shown = word.chars().take(MAX_SHOWN).map(printable).collect();
        FrameError::UnknownVerb(shown)
    })?;
    Ok((verb, args.trim_ascii()))
}

fn printable(c: char) -> char {
    if c.is_control() { '?' } else { c }
}

/// Appends a frame.
///
/// # Errors
/// An argument or a body that the other side would refuse; `out` is as it was then.
pub fn encode(verb: Verb, args: &str, body: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
    encode_with(verb, args, out, |out| out.extend_from_slice(body))
}

/// Appends a frame whose body `write` appends.
///
/// # Errors
/// As [`encode`].
pub(crate) fn encode_with(
    verb: Verb,
    args: &str,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>),
) -> Result<(), FrameError> {
    let start = out.len();
    let blank = |octet: &u8| !octet.is_ascii_graphic() && *octet != b' ';
    if let Some(at) = args.bytes().position(|octet| blank(&octet)) {
        let octet = args.as_bytes()[at];
        return Err(FrameError::Header { octet, at });
    }
    out.extend_from_slice(verb.as_str().as_bytes());
    if !args.is_empty() {
        out.push(b' ');
        out.extend_from_slice(args.as_bytes());
    }
    out.push(b'\n');
    if out.len() - start > MAX_HEADER {
        out.truncate(start);
        return Err(FrameError::HeaderTooLong);
    }
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let len = out.len() - at - 4;
    match u32::try_from(len) {
        Ok(octets) if len <= MAX_BODY => {
            out[at..at + 4].copy_from_slice(&octets.to_be_bytes());
            Ok(())
        }
        _ => {
            out.truncate(start);
            Err(FrameError::BodyTooLong(len))
        }
    }
}

/// How much of an unknown verb is shown, in characters.
const MAX_SHOWN: usize = 16;

#[cfg(test)]
mod tests;
