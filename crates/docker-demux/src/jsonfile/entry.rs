//! Takes an entry apart: by its usual shape first, as JSON with any keys in any order otherwise.

use memchr::memrchr;

use super::OPENING;
use crate::lines::Stream;

/// The fields of an entry, still escaped.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fields<'a> {
    pub(super) log: &'a [u8],
    pub(super) stream: Stream,
    pub(super) stamp: &'a [u8],
}

const STDOUT: &[u8] = b"\",\"stream\":\"stdout\",\"time\":";
const STDERR: &[u8] = b"\",\"stream\":\"stderr\",\"time\":";
/// The longest stamp looked for from the end: nine digits and an offset.
const STAMP: usize = 36;
/// Objects and arrays inside attributes are not followed deeper.
const DEPTH: u32 = 32;

/// Reads `{"log":"…","stream":"std…","time":"…"}` from its two ends; what is between is not looked at.
pub(super) fn usual(entry: &[u8]) -> Option<Fields<'_>> {
    let body = entry.strip_suffix(b"\"}")?;
    let from = body.len().saturating_sub(STAMP);
    let quote = from + memrchr(b'"', &body[from..])?;
    let head = &body[..quote];
    let (log, stream) = if let Some(log) = head.strip_suffix(STDOUT) {
        (log, Stream::Stdout)
    } else {
        (head.strip_suffix(STDERR)?, Stream::Stderr)
    };
    Some(Fields {
        log: log.strip_prefix(OPENING)?,
        stream,
        stamp: &body[quote + 1..],
    })
}

/// Reads any JSON object with these keys. Docker leaves out an empty `log`; the last of equal keys counts.
pub(super) fn any(entry: &[u8]) -> Option<Fields<'_>> {
    let (fields, len) = first(entry)?;
    (len == entry.len()).then_some(fields)
}

/// Reads such an object at the beginning of `entry`, and says how many octets it has with the blanks behind it. What
/// follows must be its own concern: another entry, or the zeros that a power loss leaves.
pub(super) fn first(entry: &[u8]) -> Option<(Fields<'_>, usize)> {
    let mut scan = Scan { text: entry, at: 0 };
    let mut fields = Fields {
        log: b"",
        stream: Stream::Stdout,
        stamp: b"",
    };
    let mut seen = false;
    scan.expect(b'{')?;
    if scan.next()? != b'}' {
        loop {
            let key = scan.string()?;
            scan.expect(b':')?;
            match key {
                b"log" => fields.log = scan.string()?,
                b"time" => fields.stamp = scan.string()?,
                b"stream" => {
                    fields.stream = match scan.string()? {
                        b"stdout" => Stream::Stdout,
                        b"stderr" => Stream::Stderr,
                        _ => return None,
                    }
                }
                _ => scan.value(0)?,
            }
            seen |= matches!(key, b"log" | b"time" | b"stream");
            match scan.next()? {
                b',' => scan.at += 1,
                b'}' => break,
                _ => return None,
            }
        }
    }
    scan.at += 1;
    let ends = matches!(scan.next(), None | Some(b'{' | 0));
    (seen && ends).then_some((fields, scan.at))
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    /// Gives the next octet that is not blank, without taking it.
    fn next(&mut self) -> Option<u8> {
        while self
            .text
            .get(self.at)
            .is_some_and(|octet| matches!(octet, b' ' | b'\t' | b'\r'))
        {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn expect(&mut self, octet: u8) -> Option<()> {
        (self.next()? == octet).then(|| self.at += 1)
    }

    /// Takes a string and gives what is between its quotes.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            let found = self.at + memchr::memchr2(b'"', b'\\', self.text.get(self.at..)?)?;
            if self.text[found] == b'"' {
                self.at = found + 1;
                return Some(&self.text[start..found]);
            }
            self.at = found + 2;
        }
    }

    /// Passes over any value.
    fn value(&mut self, depth: u32) -> Option<()> {
        match self.next()? {
            b'"' => self.string().map(|_| ()),
            open @ (b'{' | b'[') if depth < DEPTH => {
                self.at += 1;
                let close = if open == b'{' { b'}' } else { b']' };
                if self.next()? == close {
                    self.at += 1;
                    return Some(());
                }
                loop {
                    if open == b'{' {
                        self.string()?;
                        self.expect(b':')?;
                    }
                    self.value(depth + 1)?;
                    match self.next()? {
                        b',' => self.at += 1,
                        octet if octet == close => break,
                        _ => return None,
                    }
                }
                self.at += 1;
                Some(())
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                let rest = &self.text[self.at..];
                self.at += rest.iter().take_while(|octet| matches!(octet, b'+' | b'-' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'E')).count();
                Some(())
            }
            _ => None,
        }
    }
}
