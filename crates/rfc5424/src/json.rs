//! JSON by hand: strings with correct escaping, fast where a line is clean, and the form in which
//! a strict message is shown.

use crate::{Message, ParseError, swar};

/// Where JSON goes. One record is written through one sink.
pub(crate) trait Sink {
    /// Octets that are JSON already.
    fn raw(&mut self, json: &[u8]);
    /// The inside of a JSON string that means `text`.
    fn text(&mut self, text: &[u8]);
    /// The same for a PARAM-VALUE, whose own escapes (RFC 5424 §6.3.3) are undone.
    fn value(&mut self, value: &[u8]);
}

/// Takes any octets, one at a time; what is not UTF-8 becomes U+FFFD.
pub(crate) struct Careful<'a> {
    pub(crate) out: &'a mut Vec<u8>,
}

impl Sink for Careful<'_> {
    fn raw(&mut self, json: &[u8]) {
        self.out.extend_from_slice(json);
    }

    fn text(&mut self, text: &[u8]) {
        for chunk in text.utf8_chunks() {
            for &octet in chunk.valid().as_bytes() {
                escape(octet, self.out);
            }
            if !chunk.invalid().is_empty() {
                self.out.extend_from_slice("\u{FFFD}".as_bytes());
            }
        }
    }

    fn value(&mut self, value: &[u8]) {
        let mut rest = value;
        while let Some(at) = memchr::memchr(b'\\', rest) {
            self.text(&rest[..at]);
            // An escape is two octets of ASCII, so a cut here never splits a character.
            match rest.get(at + 1) {
                Some(octet @ (b'"' | b'\\' | b']')) => {
                    escape(*octet, self.out);
                    rest = &rest[at + 2..];
                }
                _ => {
                    escape(b'\\', self.out);
                    rest = &rest[at + 1..];
                }
            }
        }
        self.text(rest);
    }
}

fn escape(octet: u8, out: &mut Vec<u8>) {
    match octet {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        0..0x20 => {
            let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
            out.extend_from_slice(&[
                b'\\',
                b'u',
                b'0',
                b'0',
                digit(octet >> 4),
                digit(octet & 15),
            ]);
        }
        _ => out.push(octet),
    }
}

/// Takes UTF-8 without control octets only, eight octets at a time, into room that was made before.
///
/// The room must hold twice every text, all raw octets, and [`Fast::SLACK`].
pub(crate) struct Fast<'a> {
    room: &'a mut [u8],
    at: usize,
}

impl<'a> Fast<'a> {
    /// Octets that a copy may touch behind what it keeps.
    pub(crate) const SLACK: usize = 8;

    pub(crate) fn new(room: &'a mut [u8]) -> Self {
        Self { room, at: 0 }
    }

    /// Octets written.
    pub(crate) fn len(&self) -> usize {
        self.at
    }

    /// Whether a text is one that this sink may take.
    pub(crate) fn takes(text: &[u8]) -> bool {
        // Both tests in one pass, which the compiler makes wide.
        let (high, control) = text.iter().fold((0, false), |(high, control), octet| {
            (high | octet, control | (*octet < 0x20))
        });
        !control && (high < 0x80 || std::str::from_utf8(text).is_ok())
    }

    /// Room for a text, and behind it the slack.
    #[inline(always)]
    fn room_for(&mut self, text: &[u8]) -> &mut [u8] {
        &mut self.room[self.at..][..2 * text.len() + Self::SLACK]
    }

    /// The rest of a value from its first backslash on.
    fn escaped(&mut self, value: &[u8]) {
        let room = self.room_for(value);
        let (mut from, mut to) = (0, 0);
        while from < value.len() {
            let (word, len) = swar::load(value, from);
            room[to..to + 8].copy_from_slice(&word.to_le_bytes());
            let clean = swar::lowest(swar::equal(word, b'\\')).min(len);
            from += clean;
            to += clean;
            if clean == len {
                continue;
            }
            // Backslash-quote and backslash-backslash mean the same to JSON; a quote can't stand
            // bare in a value.
            let (octets, len, taken) = match value.get(from + 1) {
                Some(b']') => ([b']', 0], 1, 2),
                Some(&octet @ (b'"' | b'\\')) => ([b'\\', octet], 2, 2),
                _ => (*b"\\\\", 2, 1),
            };
            room[to..to + 2].copy_from_slice(&octets);
            to += len;
            from += taken;
        }
        self.at += to;
    }
}

impl Sink for Fast<'_> {
    #[inline]
    fn raw(&mut self, json: &[u8]) {
        self.room[self.at..self.at + json.len()].copy_from_slice(json);
        self.at += json.len();
    }

    #[inline]
    fn text(&mut self, text: &[u8]) {
        let room = self.room_for(text);
        let (mut from, mut to) = (0, 0);
        while from < text.len() {
            let (word, len) = swar::load(text, from);
            room[to..to + 8].copy_from_slice(&word.to_le_bytes());
            let mut found = swar::either(word, b'"', b'\\');
            // What stands from the special octet on moves up by one to let a backslash in. Where
            // the next word goes depends on a count only, so the processor needs not wait.
            while found != 0 {
                let index = swar::lowest(found);
                room[to + index] = b'\\';
                let moved = word >> (8 * index);
                room[to + index + 1..to + index + 9].copy_from_slice(&moved.to_le_bytes());
                to += 1;
                found &= found - 1;
            }
            from += len;
            to += len;
        }
        self.at += to;
    }

    #[inline]
    fn value(&mut self, value: &[u8]) {
        let room = self.room_for(value);
        let mut at = 0;
        while at < value.len() {
            let (word, len) = swar::load(value, at);
            room[at..at + 8].copy_from_slice(&word.to_le_bytes());
            let clean = swar::lowest(swar::equal(word, b'\\'));
            if clean < len {
                self.at += at + clean;
                return self.escaped(&value[at + clean..]);
            }
            at += len;
        }
        self.at += at;
    }
}

/// Appends the JSON object that shows a strict message, and an LF:
/// `{"pri","facility","severity","version","timestamp","hostname","app_name","procid","msgid",
/// "structured_data":[{"id","params":[["k","v"],…]}],"msg_hex"}`. NILVALUE is null; `msg_hex` is
/// null without MSG and keeps the BOM.
pub fn rfc5424_json(message: &Message<'_>, out: &mut Vec<u8>) {
    let priority = message.priority;
    let numbers = format!(
        "{{\"pri\":{},\"facility\":{},\"severity\":{},\"version\":{}",
        priority.value(),
        priority.facility(),
        priority.severity(),
        message.version
    );
    let mut sink = Careful { out };
    sink.raw(numbers.as_bytes());
    let fields = [
        ("timestamp", message.timestamp.map(|stamp| stamp.text)),
        ("hostname", message.hostname),
        ("app_name", message.app_name),
        ("procid", message.procid),
        ("msgid", message.msgid),
    ];
    for (name, field) in fields {
        sink.raw(b",\"");
        sink.raw(name.as_bytes());
        sink.raw(b"\":");
        match field {
            Some(text) => string(&mut sink, text.as_bytes()),
            None => sink.raw(b"null"),
        }
    }
    sink.raw(b",\"structured_data\":[");
    for (index, element) in message.structured_data.iter().enumerate() {
        sink.raw(if index == 0 {
            b"{\"id\":"
        } else {
            b",{\"id\":"
        });
        string(&mut sink, element.id.as_bytes());
        sink.raw(b",\"params\":[");
        for (index, param) in element.params().enumerate() {
            sink.raw(if index == 0 { b"[" } else { b",[" });
            string(&mut sink, param.name.as_bytes());
            sink.raw(b",\"");
            sink.value(param.raw.as_bytes());
            sink.raw(b"\"]");
        }
        sink.raw(b"]}");
    }
    sink.raw(b"],\"msg_hex\":");
    match message.msg {
        Some(msg) => {
            sink.raw(b"\"");
            for octet in msg {
                sink.raw(format!("{octet:02x}").as_bytes());
            }
            sink.raw(b"\"}\n");
        }
        None => sink.raw(b"null}\n"),
    }
}

/// Appends `{"error":"…","at":OCTET}` and an LF.
pub fn rfc5424_error_json(error: &ParseError, out: &mut Vec<u8>) {
    let mut sink = Careful { out };
    sink.raw(b"{\"error\":");
    string(
        &mut sink,
        format!("{}: {}", error.field, error.why).as_bytes(),
    );
    sink.raw(format!(",\"at\":{}}}\n", error.at).as_bytes());
}

/// A whole JSON string.
pub(crate) fn string(sink: &mut impl Sink, text: &[u8]) {
    sink.raw(b"\"");
    sink.text(text);
    sink.raw(b"\"");
}

#[cfg(test)]
mod tests;
