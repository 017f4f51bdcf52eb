//! Messages and lines to frames.

/// What [`encode_lines`] made of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Encoded {
    /// Frames written.
    pub frames: usize,
    /// Empty lines left out: octet counting has no frame of zero octets.
    pub blanks: usize,
    /// Octets of the input that are done: all up to and with the last LF.
    pub consumed: usize,
}

/// Appends `MSG-LEN SP` for a message of `len` octets.
///
/// `len` must not be zero; there is no such frame.
#[inline]
pub fn header(len: usize, out: &mut Vec<u8>) {
    prefix(len, b' ', out);
}

/// Appends `msg` as one frame. An empty `msg` appends nothing: octet counting can't carry it.
#[inline]
pub fn encode(msg: &[u8], out: &mut Vec<u8>) {
    if !msg.is_empty() {
        prefix(msg.len(), b' ', out);
        out.extend_from_slice(msg);
    }
}

/// Appends `json` as one control frame. An empty `json` appends nothing.
///
/// The caller keeps it within [`MAX_CONTROL`](crate::MAX_CONTROL) octets.
pub fn encode_control(json: &[u8], out: &mut Vec<u8>) {
    debug_assert!(json.len() <= crate::MAX_CONTROL as usize);
    if !json.is_empty() {
        prefix(json.len(), b'!', out);
        out.extend_from_slice(json);
    }
}

/// Appends each LF-ended line of `lines` as one frame, without its LF; empty lines are left out
/// and counted. Octets after the last LF are left for the next call.
pub fn encode_lines(lines: &[u8], out: &mut Vec<u8>) -> Encoded {
    // A header costs at most two octets more than the LF it replaces for lines up to 99 octets,
    // and next to nothing for long ones; a sixteenth covers log lines, growth covers the rest.
    out.reserve(lines.len() + lines.len() / 16 + 16);
    let mut done = Encoded::default();
    for end in memchr::memchr_iter(b'\n', lines) {
        let line = &lines[done.consumed..end];
        if line.is_empty() {
            done.blanks += 1;
        } else {
            prefix(line.len(), b' ', out);
            out.extend_from_slice(line);
            done.frames += 1;
        }
        done.consumed = end + 1;
    }
    done
}

#[inline]
fn prefix(len: usize, marker: u8, out: &mut Vec<u8>) {
    debug_assert!(len > 0, "octet counting has no empty frame");
    // 20 digits of the largest usize, and the marker.
    let mut text = [0; 21];
    let mut at = text.len() - 1;
    text[at] = marker;
    let mut rest = len;
    loop {
        at -= 1;
        text[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[at..]);
}

#[cfg(test)]
mod tests;
