//! Undoes JSON's escapes, eight octets at a time: a DECNET line has twenty of them (`<`, `>` and every quote).

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Appends what an escaped string stands for; false if it holds a bare quote or an escape that JSON doesn't know, and
/// then `out` may have grown.
pub(super) fn append(escaped: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    // No escape is shorter than what it stands for; eight more so that whole words can be stored.
    out.resize(start + escaped.len() + 8, 0);
    let Some(len) = unescape(escaped, &mut out[start..]) else {
        return false;
    };
    out.truncate(start + len);
    true
}

fn unescape(escaped: &[u8], out: &mut [u8]) -> Option<usize> {
    let mut rest = escaped;
    let mut at = 0;
    loop {
        while let Some((word, _)) = rest.split_first_chunk::<8>() {
            out.get_mut(at..at + 8)?.copy_from_slice(word);
            let special = specials(u64::from_le_bytes(*word));
            if special != 0 {
                let plain = (special.trailing_zeros() / 8) as usize;
                at += plain;
                rest = &rest[plain..];
                break;
            }
            at += 8;
            rest = &rest[8..];
        }
        let Some((&octet, after)) = rest.split_first() else {
            return Some(at);
        };
        match octet {
            b'"' => return None,
            b'\\' => rest = escape(after, out, &mut at)?,
            _ => {
                out[at] = octet;
                at += 1;
                rest = after;
            }
        }
    }
}

/// Sets the high bit of each octet that is a quote or a backslash; octets above the first one may be set wrongly.
fn specials(word: u64) -> u64 {
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    zeros(word ^ (ONES * b'"' as u64)) | zeros(word ^ (ONES * b'\\' as u64))
}

/// Writes what the escape after a backslash stands for and gives what follows it.
fn escape<'a>(rest: &'a [u8], out: &mut [u8], at: &mut usize) -> Option<&'a [u8]> {
    let (&kind, after) = rest.split_first()?;
    let octet = match kind {
        b'"' | b'\\' | b'/' => kind,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'f' => 12,
        b'u' => return unicode(after, out, at),
        _ => return None,
    };
    out[*at] = octet;
    *at += 1;
    Some(after)
}

fn unicode<'a>(rest: &'a [u8], out: &mut [u8], at: &mut usize) -> Option<&'a [u8]> {
    let (unit, mut after) = hex(rest)?;
    if unit < 0x80 {
        out[*at] = unit as u8;
        *at += 1;
        return Some(after);
    }
    let mut code = u32::from(unit);
    if (0xD800..0xDC00).contains(&unit)
        && let Some(second) = after.strip_prefix(b"\\u")
        && let Some((low @ 0xDC00..0xE000, behind)) = hex(second)
    {
        code = 0x10000 + ((code - 0xD800) << 10) + (u32::from(low) - 0xDC00);
        after = behind;
    }
    // Half of a pair stands for no character.
    let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    *at += character.encode_utf8(&mut out[*at..]).len();
    Some(after)
}

fn hex(text: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, after) = text.split_first_chunk::<4>()?;
    let mut unit = 0;
    for digit in digits {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            b'A'..=b'F' => digit - b'A' + 10,
            _ => return None,
        };
        unit = unit << 4 | u16::from(value);
    }
    Some((unit, after))
}
