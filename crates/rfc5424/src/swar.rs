//! Eight octets at a time in a plain `u64`: finding octets in short texts without a call.
//!
//! The tests on words give the high bit of each octet that matches. They are exact up to the
//! lowest match; above it a carry may show octets that do not match, but for [`either`].

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The next octets of `text` from `at` on, as many as there are up to eight, zeros above them; and
/// how many they are.
#[inline(always)]
pub(crate) fn load(text: &[u8], at: usize) -> (u64, usize) {
    let rest = &text[at..];
    match rest.first_chunk::<8>() {
        Some(chunk) => (u64::from_le_bytes(*chunk), 8),
        None => (short(rest), rest.len()),
    }
}

/// At most seven octets, by loads that overlap.
#[inline(always)]
fn short(text: &[u8]) -> u64 {
    let len = text.len();
    if let (Some(low), Some(high)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        let (low, high) = (u32::from_le_bytes(*low), u32::from_le_bytes(*high));
        return u64::from(low) | u64::from(high) << (8 * (len - 4));
    }
    match text {
        [] => 0,
        [first, .., last] => {
            u64::from(*first)
                | u64::from(text[len / 2]) << (8 * (len / 2))
                | u64::from(*last) << (8 * (len - 1))
        }
        [only] => u64::from(*only),
    }
}

/// Octets that equal `octet`.
#[inline(always)]
pub(crate) const fn equal(word: u64, octet: u8) -> u64 {
    let zero = word ^ (ONES * octet as u64);
    zero.wrapping_sub(ONES) & !zero & HIGHS
}

/// Octets that equal one of the two, which are ASCII; exact in all eight.
#[inline(always)]
pub(crate) const fn either(word: u64, one: u8, other: u8) -> u64 {
    let low = word & !HIGHS;
    // Each sum sets the high bit of every octet that differs, and carries into no other.
    let differs_from_one = (low ^ (ONES * one as u64)) + !HIGHS;
    let differs_from_other = (low ^ (ONES * other as u64)) + !HIGHS;
    !((differs_from_one & differs_from_other) | word) & HIGHS
}

/// Octets below `limit`, which is at most 128.
#[inline(always)]
pub(crate) const fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(ONES * limit as u64) & !word & HIGHS
}

/// The index of the lowest match.
#[inline(always)]
pub(crate) const fn lowest(matches: u64) -> usize {
    matches.trailing_zeros() as usize / 8
}

/// The first place from `at` on where `test` matches.
#[inline(always)]
pub(crate) fn find(text: &[u8], mut at: usize, test: impl Fn(u64) -> u64) -> Option<usize> {
    while at < text.len() {
        let (word, len) = load(text, at);
        let index = lowest(test(word));
        if index < len {
            return Some(at + index);
        }
        at += len;
    }
    None
}

#[cfg(test)]
mod tests;
