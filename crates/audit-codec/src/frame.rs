//! Octets to tagged frames and back: one octet of tag, 24 bits of length, the payload.

/// One frame, borrowed from the caller's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// How the payload is to be read.
    pub tag: Tag,
    /// The octets after the header, at most [`MAX_PAYLOAD`].
    pub payload: &'a [u8],
}

/// What a payload holds. Clients up to release 0.8.3 send [`Tag::Logs`], later ones [`Tag::Envelope`]; both may come
/// on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tag {
    /// 1: a bare request.
    Logs,
    /// 2: an envelope with a request or a status.
    Envelope,
}

/// The stream can't be read on from here; the connection is closed. The peer's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The tag is neither 1 nor 2. Checked before the length.
    #[error("tag {0} is neither 1 nor 2")]
    UnknownTag(u8),
    /// The header announces more than [`MAX_PAYLOAD`].
    #[error("payload of {0} octets is over {max}", max = MAX_PAYLOAD)]
    TooLong(u32),
}

impl Tag {
    /// The octet on the wire.
    #[must_use]
    pub const fn octet(self) -> u8 {
        match self {
            Self::Logs => 1,
            Self::Envelope => 2,
        }
    }
}

/// The frame at the front of `buf` and the octets it takes, header included; `None` while more are needed. Keeps no
/// state: how the octets were cut on their way makes no difference.
///
/// # Errors
/// [`FrameError`], as soon as the header is whole; nothing of the payload need have come.
pub fn decode_frame(buf: &[u8]) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let Some((&[tag, high, mid, low], rest)) = buf.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let tag = match tag {
        1 => Tag::Logs,
        2 => Tag::Envelope,
        other => return Err(FrameError::UnknownTag(other)),
    };
    let announced = u32::from_be_bytes([0, high, mid, low]);
    let len = usize::try_from(announced).unwrap_or(usize::MAX);
    if len > MAX_PAYLOAD {
        return Err(FrameError::TooLong(announced));
    }
    let frame = |payload| (Frame { tag, payload }, HEADER + len);
    Ok(rest.get(..len).map(frame))
}

/// Appends a frame.
///
/// # Errors
/// [`FrameError::TooLong`]; `out` is as it was.
pub fn encode_frame(tag: Tag, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    if payload.len() > MAX_PAYLOAD {
        return Err(FrameError::TooLong(len));
    }
    let [_, length @ ..] = len.to_be_bytes();
    out.push(tag.octet());
    out.extend_from_slice(&length);
    out.extend_from_slice(payload);
    Ok(())
}

/// Octets of a header.
pub const HEADER: usize = 4;

/// The longest payload, inclusive: the original's limit for both tags.
pub const MAX_PAYLOAD: usize = 1 << 15;

#[cfg(test)]
mod tests;
