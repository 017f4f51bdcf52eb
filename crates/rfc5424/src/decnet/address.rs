//! Who it was: addresses in parameters and in prose.

use std::net::Ipv6Addr;

use super::is_blank;

/// An address as it came, without brackets, zone and port; the port beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found<'a> {
    pub(super) ip: &'a [u8],
    pub(super) port: Option<&'a [u8]>,
}

/// How soon a parameter of that name is asked for the address: 0 first; `None`: never.
#[inline]
pub(super) fn rank(name: &[u8]) -> Option<u8> {
    Some(match name {
        b"src_ip" => 0,
        b"src" => 1,
        b"client_ip" => 2,
        b"remote_ip" => 3,
        b"remote_addr" => 4,
        b"target_ip" => 5,
        b"ip" => 6,
        _ => return None,
    })
}

/// The address that `text` is: IPv4 or IPv6, with or without a port, IPv6 with or without brackets
/// (whose closing one may be escaped). Anything else is none.
#[inline]
pub(super) fn whole(text: &[u8]) -> Option<Found<'_>> {
    if text.len() > LONGEST {
        return None;
    }
    if let Some(inner) = text.strip_prefix(b"[") {
        let end = memchr::memchr2(b'\\', b']', inner)?;
        let after = inner[end..]
            .strip_prefix(b"\\")
            .unwrap_or(&inner[end..])
            .strip_prefix(b"]")?;
        let port = match after {
            [] => None,
            [b':', port @ ..] if is_port(port) => Some(port),
            _ => return None,
        };
        return Some(Found {
            ip: ipv6(&inner[..end])?,
            port,
        });
    }
    if let Some(ip) = ip(text) {
        return Some(Found { ip, port: None });
    }
    let colon = memchr::memrchr(b':', text)?;
    let port = &text[colon + 1..];
    let ip = ip(&text[..colon])?;
    is_port(port).then_some(Found {
        ip,
        port: Some(port),
    })
}

/// The address in a message: of the first pair that names one, else the first after one of the
/// words that announce one, else the first bare IPv4.
pub(super) fn in_prose(msg: &[u8]) -> Option<&[u8]> {
    of_pair(msg).or_else(|| of_words(msg))
}

/// `key=ADDRESS` with one of the keys of [`rank`].
fn of_pair(msg: &[u8]) -> Option<&[u8]> {
    memchr::memchr_iter(b'=', msg).find_map(|at| {
        let word = msg[..at]
            .iter()
            .rev()
            .take(LONGEST)
            .take_while(|octet| is_word(**octet))
            .count();
        rank(&msg[at - word..at]).and_then(|_| leading(&msg[at + 1..]))
    })
}

/// `from ADDRESS`; `rhost`, `client` or `src` with `:` or `=`; else the first IPv4 by itself.
fn of_words(msg: &[u8]) -> Option<&[u8]> {
    let mut bare = None;
    let mut at = 0;
    while at < msg.len() {
        if !is_word(msg[at]) {
            at += 1;
            continue;
        }
        if bare.is_none() && msg[at].is_ascii_digit() {
            bare = leading_ipv4(&msg[at..]);
        }
        let len = msg[at..]
            .iter()
            .take_while(|octet| is_word(**octet))
            .count();
        let (word, after) = msg[at..].split_at(len);
        if announces(word, after) {
            let start = after
                .iter()
                .skip(1)
                .take_while(|octet| is_blank(**octet))
                .count()
                + 1;
            if let Some(ip) = leading(&after[start..]) {
                return Some(ip);
            }
        }
        at += len;
        // The other groups of an IPv4 are no words of their own.
        while at + 1 < msg.len() && msg[at] == b'.' && msg[at + 1].is_ascii_digit() {
            at += 1 + msg[at + 1..]
                .iter()
                .take_while(|octet| is_word(**octet))
                .count();
        }
    }
    bare
}

/// Whether an address may follow `word`, given what does.
fn announces(word: &[u8], after: &[u8]) -> bool {
    match after.first() {
        Some(b':' | b'=') => [b"rhost".as_slice(), b"client", b"src"]
            .iter()
            .any(|name| word.eq_ignore_ascii_case(name)),
        Some(octet) => is_blank(*octet) && word.eq_ignore_ascii_case(b"from"),
        None => false,
    }
}

/// The address at the front of a text that goes on behind it.
fn leading(text: &[u8]) -> Option<&[u8]> {
    let text = match text {
        [b'"' | b'\'' | b'(' | b'<', rest @ ..] => rest,
        _ => text,
    };
    if text.first() == Some(&b'[') {
        let end = memchr::memchr(b']', &text[..text.len().min(LONGEST)])?;
        return ipv6(&text[1..end]).or_else(|| ip(&text[1..end]));
    }
    let run = text
        .iter()
        .take(LONGEST)
        .take_while(|octet| octet.is_ascii_hexdigit() || matches!(octet, b'.' | b':'))
        .count();
    if text.get(run).is_some_and(|octet| is_word(*octet)) {
        return None;
    }
    // A full stop or a colon behind it belongs to the sentence.
    let token = &text[..run];
    let trimmed = [token, without(token, 1, b".:"), without(token, 2, b".:")];
    trimmed
        .iter()
        .find_map(|token| whole(token))
        .map(|found| found.ip)
}

/// The IPv4 address at the front of a text that goes on behind it.
fn leading_ipv4(text: &[u8]) -> Option<&[u8]> {
    let run = text
        .iter()
        .take(LONGEST)
        .take_while(|octet| octet.is_ascii_digit() || **octet == b'.')
        .count();
    if text.get(run).is_some_and(|octet| is_word(*octet)) {
        return None;
    }
    ip(without(&text[..run], 1, b"."))
}

/// `text` without up to `most` of the octets in `what` at its end.
fn without<'a>(mut text: &'a [u8], most: usize, what: &[u8]) -> &'a [u8] {
    for _ in 0..most {
        match text {
            [rest @ .., octet] if what.contains(octet) => text = rest,
            _ => break,
        }
    }
    text
}

fn ip(text: &[u8]) -> Option<&[u8]> {
    if memchr::memchr(b':', text).is_some() {
        return ipv6(text);
    }
    is_ipv4(text).then_some(text)
}

/// Four numbers up to 255 in decimal, without leading zeros.
fn is_ipv4(text: &[u8]) -> bool {
    const NONE: u32 = 1000;
    let (mut group, mut dots) = (NONE, 0);
    for octet in text {
        match octet {
            b'.' if group < 256 && dots < 3 => {
                group = NONE;
                dots += 1;
            }
            b'0'..=b'9' if group == NONE => group = u32::from(octet - b'0'),
            b'0'..=b'9' if (1..26).contains(&group) => {
                group = group * 10 + u32::from(octet - b'0');
            }
            _ => return false,
        }
    }
    group < 256 && dots == 3
}

/// An IPv6 address. Its zone names an interface of the host that saw it, so it is left out.
fn ipv6(text: &[u8]) -> Option<&[u8]> {
    let end = memchr::memchr(b'%', text).unwrap_or(text.len());
    let ip = &text[..end];
    let legal = std::str::from_utf8(ip).ok()?.parse::<Ipv6Addr>().is_ok();
    legal.then_some(ip)
}

fn is_port(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

/// Octets of words; those of longer characters are taken for letters.
fn is_word(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || octet == b'_' || octet >= 0x80
}

/// Longer than any address with zone, brackets and port: 45 + 1 + 15 + 3 + 5.
const LONGEST: usize = 72;

#[cfg(test)]
mod tests;
