//! What becomes of a record: a syslog line (RFC 5424) and a JSON object.

use std::io::Write as _;

use rfc5424::Timestamp;
use rfc5424::decnet::{Extras, Record};

use crate::time;
use crate::{Log, Request};

/// Where and when a record arrived.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    /// This host: HOSTNAME of the line.
    pub hostname: &'a str,
    /// When the frame was read: the line's time when the record has none that can be written.
    pub arrival: Timestamp,
    /// The client's process id, as the kernel says.
    pub pid: Option<i32>,
    /// Its user.
    pub uid: Option<u32>,
    /// Its group.
    pub gid: Option<u32>,
    /// The connection's number.
    pub conn: Option<u64>,
}

impl Context<'_> {
    /// Appends the line of one record of `request`, with its LF:
    ///
    /// ```text
    /// <134>1 TIME HOST boundary - boundary_request [boundary@32473 decision="allow" session_id="…" …]
    /// ```
    ///
    /// The parameters `decision session_id sequence_number http_method http_url event_time matched_rule process pid
    /// uid gid conn` stand in this order, each only if there is a value. A control octet in a value is written `%XX`,
    /// so that a line is a line; [`Context::write_json`] has the exact text.
    pub fn write_line(&self, request: &Request<'_>, log: &Log<'_>, out: &mut Vec<u8>) {
        let time = log.time.and_then(crate::Time::instant);
        out.extend_from_slice(b"<134>1 ");
        time.unwrap_or(self.arrival).write_rfc3339(out);
        out.push(b' ');
        hostname(self.hostname, out);
        out.extend_from_slice(b" boundary - ");
        out.extend_from_slice(MSGID);
        out.extend_from_slice(b" [boundary@32473");
        self.each(request, log, time, |name, value| match value {
            Value::Text(text) => param(name, text, out),
            Value::Number(number) => {
                let _ = write!(out, " {name}=\"{number}\"");
            }
        });
        out.extend_from_slice(b"]\n");
    }

    /// Appends the JSON object of the same record, with an LF. `line` is what [`Context::write_line`] wrote for it.
    ///
    /// It begins like every record of ours (`timestamp decky service event_type attacker_ip fields msg raw_line`);
    /// the line's parameters follow under their names, texts exact, numbers as numbers. A time that does not exist
    /// stands as `event_time_invalid`.
    pub fn write_json(&self, request: &Request<'_>, log: &Log<'_>, line: &[u8], out: &mut Vec<u8>) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let start = out.len();
        if let Some(record) = Record::parse(line) {
            let extras = Extras {
                fallback_time: self.arrival,
                ..Extras::default()
            };
            record.write_json(out, &extras);
            out.truncate(out.len() - "}\n".len());
            out.push(b',');
        } else {
            debug_assert!(false, "a line of ours is one that we can read");
            out.push(b'{');
        }
        self.write_members(request, log, out);
        debug_assert!(out.len() > start + 2, "a record has a decision");
        out.extend_from_slice(b"}\n");
    }

    /// Appends the record's own members, `"decision":…` first, without braces.
    pub fn write_members(&self, request: &Request<'_>, log: &Log<'_>, out: &mut Vec<u8>) {
        let time = log.time.and_then(crate::Time::instant);
        let start = out.len();
        self.each(request, log, time, |name, value| {
            if out.len() > start {
                out.push(b',');
            }
            let _ = write!(out, "\"{name}\":");
            match value {
                Value::Text(text) => json_text(text, out),
                Value::Number(number) => {
                    let _ = write!(out, "{number}");
                }
            }
        });
        if let (Some(bad), None) = (log.time, time) {
            let (seconds, nanos) = (bad.seconds, bad.nanos);
            let _ = write!(
                out,
                ",\"event_time_invalid\":{{\"seconds\":{seconds},\"nanos\":{nanos}}}"
            );
        }
    }

    /// The parameters that have a value, in order.
    fn each(
        &self,
        request: &Request<'_>,
        log: &Log<'_>,
        time: Option<Timestamp>,
        mut give: impl FnMut(&'static str, Value<'_>),
    ) {
        let mut text = |name, text: &str| {
            if !text.is_empty() {
                give(name, Value::Text(text));
            }
        };
        text("decision", if log.allowed { "allow" } else { "deny" });
        text("session_id", request.session_id);
        // Protobuf can't tell 0 from absent: a session is what makes the number one.
        if !request.session_id.is_empty() {
            give("sequence_number", Value::Number(log.sequence.into()));
        }
        let mut text = |name, text: &str| {
            if !text.is_empty() {
                give(name, Value::Text(text));
            }
        };
        let http = log.http.unwrap_or_default();
        text("http_method", http.method);
        text("http_url", http.url);
        if let Some(time) = time {
            let mut stamp = Vec::with_capacity(30);
            time::write_nano(time, &mut stamp);
            text("event_time", str::from_utf8(&stamp).unwrap_or_default());
        }
        text("matched_rule", http.matched_rule);
        text("process", request.process);
        if let Some(pid) = self.pid {
            give("pid", Value::Number(pid.into()));
        }
        for (name, id) in [("uid", self.uid), ("gid", self.gid)] {
            if let Some(id) = id {
                give(name, Value::Number(id.into()));
            }
        }
        if let Some(conn) = self.conn {
            // Connections are counted; none comes near 2^63.
            give("conn", Value::Number(conn.cast_signed()));
        }
    }
}

enum Value<'a> {
    Text(&'a str),
    Number(i64),
}

/// RFC 5424 §6.3.3, and `%XX` for control octets.
fn param(name: &str, value: &str, out: &mut Vec<u8>) {
    let _ = write!(out, " {name}=\"");
    for &octet in value.as_bytes() {
        match octet {
            b'"' | b'\\' | b']' => out.extend_from_slice(&[b'\\', octet]),
            octet if octet.is_ascii_control() => {
                let digit = |nibble: u8| b"0123456789ABCDEF"[usize::from(nibble)];
                out.extend_from_slice(&[b'%', digit(octet >> 4), digit(octet & 15)]);
            }
            octet => out.push(octet),
        }
    }
    out.push(b'"');
}

/// RFC 5424 §6.2.4: printable ASCII, at most 255.
fn hostname(name: &str, out: &mut Vec<u8>) {
    if name.is_empty() {
        out.push(b'-');
    }
    let legal = |octet: u8| {
        if octet.is_ascii_graphic() {
            octet
        } else {
            b'_'
        }
    };
    out.extend(name.bytes().take(255).map(legal));
}

fn json_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a Vec takes every write, and text is always JSON");
}

/// MSGID of every line.
const MSGID: &[u8] = b"boundary_request";
