//! Streams on which each message may be framed either way (RFC 6587 §3.4): counted, or ended by an LF.

use crate::{Decoder, FrameError, at_eof, decoder::Frame};

/// Reads messages of either framing, told by the first octet of each: a digit begins a count
/// (RFC 6587 §3.4.1), anything else a line (§3.4.2), `<` above all.
///
/// The rule has a price that the RFC names: a line that begins with a digit is taken for a count,
/// and a line with an LF inside is two. A count that breaks the grammar is an error and no line:
/// whoever guesses there lets one sender's text become another's message.
///
/// Unlike [`Decoder`] it remembers between calls where it stopped looking for an LF, and whether it
/// stands inside a line that is too long: give it the same octets again, with more behind them.
#[derive(Debug, Clone)]
pub struct Mixed {
    counted: Decoder,
    max: usize,
    /// Octets at the front that hold no LF.
    searched: usize,
    /// The octets at the front go on with a line of which a part was handed out.
    inside: bool,
}

/// What stands at the front of a stream, borrowed from the caller's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A whole message, counted or a line without its LF.
    Message(&'a [u8]),
    /// A part of a line over the limit: each has as many octets as the limit says, the last one
    /// at most so many.
    Part {
        /// Its octets, without the LF behind the last.
        octets: &'a [u8],
        /// The line ends with it.
        last: bool,
    },
}

impl Mixed {
    /// A decoder of messages of at most `max` octets: a count over it is an error, a line over it
    /// comes in parts. Zero is taken as one.
    #[must_use]
    pub const fn new(max: u32) -> Self {
        let max = if max == 0 { 1 } else { max };
        Self {
            counted: Decoder::new(max),
            max: max as usize,
            searched: 0,
            inside: false,
        }
    }

    /// The message or part at the front of `buf` and the octets it takes, framing included; `None`
    /// while more octets are needed, at most the limit and 11 for a header.
    ///
    /// # Errors
    /// A count that breaks the grammar or the limit; see [`Fault`](crate::Fault).
    pub fn decode<'a>(&mut self, buf: &'a [u8]) -> Result<Option<(Piece<'a>, usize)>, FrameError> {
        if self.counts(buf) {
            let frame = self.counted.decode(buf)?;
            return Ok(frame.map(|(frame, consumed)| match frame {
                Frame::Message(octets) | Frame::Control(octets) => {
                    (Piece::Message(octets), consumed)
                }
            }));
        }
        // One more than the limit: a line of just so many octets has its LF there.
        let window = &buf[..buf.len().min(self.max + 1)];
        let from = self.searched.min(window.len());
        let Some(at) = memchr::memchr(b'\n', &window[from..]) else {
            if window.len() <= self.max {
                self.searched = window.len();
                return Ok(None);
            }
            self.searched = 0;
            self.inside = true;
            let octets = &window[..self.max];
            return Ok(Some((
                Piece::Part {
                    octets,
                    last: false,
                },
                self.max,
            )));
        };
        self.searched = 0;
        let octets = &window[..from + at];
        Ok(Some((self.line(octets), octets.len() + 1)))
    }

    /// What the end of the stream makes of `rest`, for which [`Mixed::decode`] wanted more: a line
    /// needs no LF at the end. `None` if nothing is left.
    ///
    /// # Errors
    /// A counted message that is not whole.
    pub fn finish<'a>(&mut self, rest: &'a [u8]) -> Result<Option<Piece<'a>>, FrameError> {
        if self.counts(rest) {
            at_eof(rest)?;
        }
        self.searched = 0;
        Ok((self.inside || !rest.is_empty()).then(|| self.line(rest)))
    }

    fn counts(&self, buf: &[u8]) -> bool {
        !self.inside && buf.first().is_some_and(u8::is_ascii_digit)
    }

    fn line<'a>(&mut self, octets: &'a [u8]) -> Piece<'a> {
        if std::mem::take(&mut self.inside) {
            Piece::Part { octets, last: true }
        } else {
            Piece::Message(octets)
        }
    }
}

#[cfg(test)]
mod tests;
