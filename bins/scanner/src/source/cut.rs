//! Octets to lines: what is whole, what is too long, what is the rest of a line that was.

use std::ops::Range;

use memchr::{memchr, memchr_iter};

/// What cutting a part of an epoch came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// So many octets are done with; what follows is the beginning of a line.
    Done {
        /// Octets that are scanned or passed over.
        octets: usize,
        /// Whether what follows is the rest of a line whose beginning is scanned.
        within: bool,
        /// A line over the limit is among them.
        oversized: bool,
    },
    /// There is no end of a line, and the limit is not reached: more is needed.
    More,
}

/// Cuts lines off the front of `octets`, at most `limit` octets each.
pub(crate) fn lines(
    octets: &[u8],
    mut within: bool,
    limit: usize,
    lines: &mut Vec<Range<usize>>,
) -> Cut {
    lines.clear();
    let mut at = 0;
    if within {
        match memchr(b'\n', octets) {
            Some(lf) => at = lf + 1,
            None => at = octets.len(),
        }
        within = at == octets.len() && octets.last() != Some(&b'\n');
        if within && !octets.is_empty() {
            return Cut::Done {
                octets: at,
                within,
                oversized: false,
            };
        }
    }
    let start = at;
    let mut oversized = false;
    for lf in memchr_iter(b'\n', &octets[start..]) {
        let end = start + lf;
        oversized |= end - at > limit;
        lines.push(at..end.min(at + limit));
        at = end + 1;
    }
    if octets.len() - at > limit {
        lines.push(at..at + limit);
        return Cut::Done {
            octets: octets.len(),
            within: true,
            oversized: true,
        };
    }
    if at == 0 {
        return Cut::More;
    }
    Cut::Done {
        octets: at,
        within: false,
        oversized,
    }
}

/// What cutting frames came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frames {
    /// So many octets are whole frames.
    Done(usize),
    /// There is no whole frame yet.
    More,
    /// Behind so many octets nothing can be read.
    Bad(usize),
}

/// Cuts counted frames off the front of `octets`: each is a line, with an LF at its end or without.
pub(crate) fn frames(octets: &[u8], limit: usize, lines: &mut Vec<Range<usize>>) -> Frames {
    lines.clear();
    let decoder = framing::Decoder::new(archive::MAX_FRAME);
    let mut at = 0;
    loop {
        match decoder.decode(&octets[at..]) {
            Ok(Some((framing::Frame::Message(message), consumed))) => {
                let start = at + consumed - message.len();
                let len = message.strip_suffix(b"\n").unwrap_or(message).len();
                lines.push(start..start + len.min(limit));
                at += consumed;
            }
            Ok(Some((framing::Frame::Control(_), consumed))) => at += consumed,
            Ok(None) if at == 0 => return Frames::More,
            Ok(None) => return Frames::Done(at),
            Err(_) => return Frames::Bad(at),
        }
    }
}

/// Where the first frame's message begins, and how long it is; of octets that [`frames`] found nothing wrong with.
pub(crate) fn header(octets: &[u8]) -> (usize, usize) {
    let digits = octets
        .iter()
        .take_while(|octet| octet.is_ascii_digit())
        .count();
    let digit = |len: usize, octet: &u8| {
        len.saturating_mul(10)
            .saturating_add(usize::from(octet - b'0'))
    };
    (digits + 1, octets[..digits].iter().fold(0, digit))
}

#[cfg(test)]
mod tests;
