//! A piece of a line as text that people and JSON can take.

/// The longest message of an event, in octets, without the mark of a cut.
pub const MAX_MESSAGE: usize = 2048;

/// Turns octets into text of at most `most` octets before replacement, and tells whether something was cut. The cut
/// never divides a character; what is not UTF-8 becomes U+FFFD.
pub fn excerpt(octets: &[u8], most: usize) -> (String, bool) {
    if octets.len() <= most {
        return (String::from_utf8_lossy(octets).into_owned(), false);
    }
    let continues = |octet: &u8| (0x80..0xc0).contains(octet);
    let mut end = most;
    // A character has at most three further octets; more than that are no character, and cut anywhere.
    while end > most.saturating_sub(3) && octets.get(end).is_some_and(continues) {
        end -= 1;
    }
    if octets.get(end).is_some_and(continues) {
        end = most;
    }
    (String::from_utf8_lossy(&octets[..end]).into_owned(), true)
}

/// The message of an event: the line, at most [`MAX_MESSAGE`] octets of it and then `…`, and whether it was cut.
pub fn message(line: &[u8]) -> (String, bool) {
    let (mut text, truncated) = excerpt(line, MAX_MESSAGE);
    if truncated {
        text.push('…');
    }
    (text, truncated)
}

#[cfg(test)]
mod tests;
