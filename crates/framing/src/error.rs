//! What can be wrong with a counted stream, and at which octet.

/// A counted stream broke the grammar or a limit, or ended inside a frame.
///
/// Always the peer's fault. There is no way on from here: the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{fault} at octet {at}")]
#[non_exhaustive]
pub struct FrameError {
    /// Where: the first octet that cannot be right, counted from the start of the slice given.
    pub at: usize,
    /// What is wrong there.
    pub fault: Fault,
}

impl FrameError {
    pub(crate) const fn new(at: usize, fault: Fault) -> Self {
        Self { at, fault }
    }

    /// The same error, seen from a slice that starts `octets` earlier.
    #[must_use]
    pub const fn offset_by(self, octets: usize) -> Self {
        Self {
            at: self.at + octets,
            fault: self.fault,
        }
    }
}

/// The kinds of [`FrameError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// MSG-LEN starts with `0`, so it is zero or padded.
    #[error("frame length starts with zero")]
    LeadingZero,
    /// Something else than a digit, or than SP (or an allowed `!`) after the digits.
    #[error("octet 0x{0:02x} in a frame header")]
    NonDigit(u8),
    /// The length passes the limit that is named.
    #[error("frame longer than {0} octets")]
    TooLong(u32),
    /// More digits than [`MAX_DIGITS`](crate::MAX_DIGITS).
    #[error("frame length of more than {n} digits", n = crate::MAX_DIGITS)]
    TooManyDigits,
    /// An LF inside a message that is to be a line.
    #[error("an LF inside a line")]
    LineFeed,
    /// The stream ended inside a header.
    #[error("stream ends inside a frame header")]
    EofInLength,
    /// The stream ended inside a message.
    #[error("stream ends inside a frame")]
    EofInMessage,
}

impl Fault {
    /// A short stable name for counters and tests, such as `len.too_long`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LeadingZero => "len.leading_zero",
            Self::NonDigit(_) => "len.non_digit",
            Self::TooLong(_) | Self::TooManyDigits => "len.too_long",
            Self::LineFeed => "msg.lf",
            Self::EofInLength => "eof.in_len",
            Self::EofInMessage => "eof.in_msg",
        }
    }
}
