//! Lines with empty ones among them, which octet counting can't carry.

use std::ops::Range;

use crate::control::MAX_BLANK;

/// A piece of a batch of whole lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    /// These bytes are lines, none of them empty.
    Lines(Range<usize>),
    /// So many empty lines, 1 … [`MAX_BLANK`].
    Blank(u32),
}

/// Cuts whole lines into runs without empty lines and counts of empty ones, in order. Only for batches that have any:
/// most have none, and their frames are made in one go. What is behind the last LF is left out.
pub fn runs(lines: &[u8]) -> impl Iterator<Item = Run> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = &lines[at..];
        let blank = rest
            .iter()
            .take(MAX_BLANK as usize)
            .take_while(|b| **b == b'\n')
            .count();
        if blank > 0 {
            at += blank;
            return Some(Run::Blank(blank as u32));
        }
        // Up to and with the LF before the next empty line.
        let end = match rest.windows(2).position(|pair| pair == b"\n\n") {
            Some(lf) => lf + 1,
            None => rest.iter().rposition(|b| *b == b'\n')? + 1,
        };
        let from = at;
        at += end;
        Some(Run::Lines(from..at))
    })
}

#[cfg(test)]
mod tests;
