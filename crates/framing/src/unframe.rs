//! Frames to lines, in the buffer in which they came.

use memchr::memchr;

use crate::{Decoder, Fault, FrameError};

/// What [`Decoder::unframe`] made of the front of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unframed {
    /// Octets of the frames that were taken, headers included.
    pub consumed: usize,
    /// Octets of the lines that were made of them, their LFs included; never more than `consumed`.
    pub len: usize,
    /// How many they are.
    pub frames: usize,
    /// Octets of the first line, without its LF.
    pub first: usize,
}

impl Unframed {
    /// Octets of all messages, without the LFs.
    #[must_use]
    pub const fn octets(&self) -> usize {
        self.len - self.frames
    }
}

impl Decoder {
    /// Rewrites the whole messages at the front of `buf` as lines, each followed by an LF, up to the first control
    /// message, the first frame that is not whole, or the end. The lines are `buf[..len]`; what was not taken is where
    /// it was, from `consumed` on; what is between is of no use any more.
    ///
    /// # Errors
    /// The first octet that breaks the grammar, a limit or a line, counted from the start of `buf`, and beside it what
    /// was taken before: those lines are to be kept.
    pub fn unframe(&self, buf: &mut [u8]) -> Result<Unframed, (Unframed, FrameError)> {
        let mut done = Unframed::default();
        // One search for all of them instead of one each: almost always there is no LF at all.
        let mut clean = None;
        loop {
            let rest = &buf[done.consumed..];
            let (len, start) = match self.header(rest) {
                Ok(Some((len, b' ', start))) if rest.len() - start >= len => (len, start),
                Ok(_) => return Ok(done),
                Err(error) => return Err((done, error.offset_by(done.consumed))),
            };
            let from = done.consumed + start;
            let clean = *clean.get_or_insert_with(|| memchr(b'\n', buf).unwrap_or(buf.len()));
            if from + len > clean
                && let Some(lf) = memchr(b'\n', &buf[from..from + len])
            {
                return Err((done, FrameError::new(from + lf, Fault::LineFeed)));
            }
            if done.frames == 0 {
                done.first = len;
            }
            // A header has two octets at least, so that the LF overwrites nothing that is still to be read.
            buf.copy_within(from..from + len, done.len);
            done.len += len + 1;
            buf[done.len - 1] = b'\n';
            done.consumed = from + len;
            done.frames += 1;
        }
    }
}

#[cfg(test)]
mod tests;
