//! Octets to frames.

use crate::{Fault, FrameError};

/// Reads frames from the front of a slice, and keeps no state between calls.
#[derive(Debug, Clone, Copy)]
pub struct Decoder {
    max_frame: u32,
    controls: bool,
}

/// One frame, borrowed from the caller's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A syslog message: the octets after `MSG-LEN SP`.
    Message(&'a [u8]),
    /// A control message: the octets after `MSG-LEN "!"`. Only with [`Decoder::with_controls`].
    Control(&'a [u8]),
}

/// The whole frames at the front of a buffer: what [`Decoder::whole`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Batch {
    /// Octets that they take, headers included.
    pub len: usize,
    /// How many they are.
    pub frames: usize,
}

impl Decoder {
    /// A decoder of frames of at most `max_frame` octets (header not counted), without controls.
    ///
    /// Zero is taken as one, the smallest frame that the grammar knows.
    #[must_use]
    pub const fn new(max_frame: u32) -> Self {
        Self {
            max_frame: if max_frame == 0 { 1 } else { max_frame },
            controls: false,
        }
    }

    /// The same decoder, to which `MSG-LEN "!"` opens a control message of at most
    /// [`MAX_CONTROL`] octets.
    #[must_use]
    pub const fn with_controls(self) -> Self {
        Self {
            max_frame: self.max_frame,
            controls: true,
        }
    }

    /// The frame at the front of `buf` and the octets it takes, header included; `None` while more
    /// octets are needed.
    ///
    /// A length over the limit is refused at the digit that passes it, before anything of the
    /// message has come, so nobody needs a buffer for it.
    ///
    /// # Errors
    /// The first octet that breaks the grammar or a limit; see [`Fault`].
    #[inline]
    pub fn decode<'a>(&self, buf: &'a [u8]) -> Result<Option<(Frame<'a>, usize)>, FrameError> {
        let Some((len, marker, start)) = self.header(buf)? else {
            return Ok(None);
        };
        let Some(body) = buf.get(start..start + len) else {
            return Ok(None);
        };
        let frame = if marker == b' ' {
            Frame::Message(body)
        } else {
            Frame::Control(body)
        };
        Ok(Some((frame, start + len)))
    }

    /// The longest prefix of `buf` that is made of whole frames, of either kind.
    ///
    /// # Errors
    /// As [`Decoder::decode`], with the place counted from the start of `buf`, and beside it the
    /// prefix that was whole and legal before: those frames are to be kept.
    pub fn whole(&self, buf: &[u8]) -> Result<Batch, (Batch, FrameError)> {
        let mut batch = Batch::default();
        loop {
            match self.decode(&buf[batch.len..]) {
                Ok(Some((_, consumed))) => {
                    batch.len += consumed;
                    batch.frames += 1;
                }
                Ok(None) => return Ok(batch),
                Err(error) => return Err((batch, error.offset_by(batch.len))),
            }
        }
    }

    /// Length, marker and place of the body; `None` while the header is not whole.
    #[inline]
    pub(crate) fn header(&self, buf: &[u8]) -> Result<Option<(usize, u8, usize)>, FrameError> {
        // The marker tells which limit holds, and it comes after the digits.
        let limit = if self.controls {
            self.max_frame.max(MAX_CONTROL)
        } else {
            self.max_frame
        };
        let mut value: u64 = 0;
        for (at, &octet) in buf.iter().enumerate() {
            match octet {
                b'0' if at == 0 => return Err(FrameError::new(at, Fault::LeadingZero)),
                b'0'..=b'9' if at == MAX_DIGITS => {
                    return Err(FrameError::new(at, Fault::TooManyDigits));
                }
                b'0'..=b'9' => {
                    value = value * 10 + u64::from(octet - b'0');
                    if value > u64::from(limit) {
                        return Err(FrameError::new(at, Fault::TooLong(limit)));
                    }
                }
                b' ' | b'!' if at > 0 && (octet == b' ' || self.controls) => {
                    let limit = if octet == b' ' {
                        self.max_frame
                    } else {
                        MAX_CONTROL
                    };
                    if value > u64::from(limit) {
                        return Err(FrameError::new(at, Fault::TooLong(limit)));
                    }
                    let len = usize::try_from(value).expect("at most the limit, which is a u32");
                    return Ok(Some((len, octet, at + 1)));
                }
                _ => return Err(FrameError::new(at, Fault::NonDigit(octet))),
            }
        }
        Ok(None)
    }
}

/// What the end of the stream means when `rest` is left over after the last whole frame.
///
/// # Errors
/// [`Fault::EofInLength`] or [`Fault::EofInMessage`] unless `rest` is empty; the place is its end.
pub fn at_eof(rest: &[u8]) -> Result<(), FrameError> {
    if rest.is_empty() {
        return Ok(());
    }
    let fault = if rest.iter().all(u8::is_ascii_digit) {
        Fault::EofInLength
    } else {
        Fault::EofInMessage
    };
    Err(FrameError::new(rest.len(), fault))
}

/// The usual limit of a message: 1 MiB, 128 times what RFC 5425 §4.3.1 asks a receiver to take.
pub const MAX_FRAME: u32 = 1024 * 1024;

/// The limit of a control message: 64 KiB, many times the largest one that the protocol has.
pub const MAX_CONTROL: u32 = 64 * 1024;

/// A length has at most this many digits, whatever the limit: `u32::MAX` has ten.
pub const MAX_DIGITS: usize = 10;

#[cfg(test)]
mod tests;
