//! One event, as a line and as the record that the line must become.

use crate::random::Random;

/// What a decoy prints for one sequence number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emission {
    /// The octets, final LF included.
    pub bytes: Vec<u8>,
    /// For each line in `bytes` that is not blank, the record that it must become; `None` if
    /// DECNET's rules take it for no message.
    pub records: Vec<Option<Expected>>,
}

impl Emission {
    /// One line that becomes a record.
    pub(crate) fn one(bytes: Vec<u8>, record: Expected) -> Self {
        let records = vec![Some(record)];
        Self { bytes, records }
    }

    /// One line that becomes none.
    pub(crate) fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self {
            bytes,
            records: vec![None],
        }
    }

    /// Each line that is not blank, without its LF, and its record.
    pub fn lines(&self) -> impl Iterator<Item = (&[u8], Option<&Expected>)> {
        let lines = self.bytes.split(|octet| *octet == b'\n');
        let lines = lines.filter(|line| !line.is_empty());
        lines.zip(self.records.iter().map(Option::as_ref))
    }
}

/// The record that a line must become, as octets: what is not UTF-8 is replaced in JSON only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// `YYYY-MM-DD HH:MM:SS` in UTC; `None`: the line has no usable stamp.
    pub timestamp: Option<String>,
    /// HOSTNAME.
    pub decky: String,
    /// APP-NAME.
    pub service: String,
    /// MSGID, or `command`.
    pub event_type: String,
    /// An address or `Unknown`.
    pub attacker_ip: String,
    /// Names and values, in order.
    pub fields: Vec<(String, Vec<u8>)>,
    /// MSG.
    pub msg: Vec<u8>,
}

/// A line in the making: DECNET's shape, `<PRI>1 STAMP HOST APP PROCID MSGID SD[ MSG]`.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) pri: u8,
    pub(crate) stamp: Stamp,
    pub(crate) host: String,
    pub(crate) app: String,
    pub(crate) procid: String,
    pub(crate) msgid: String,
    /// Written in one element if there are any.
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    pub(crate) msg: Vec<u8>,
    /// What the record must say.
    pub(crate) ip: String,
}

/// The address of an event that names none.
pub(crate) const UNKNOWN: &str = "Unknown";

/// A stamp's text and what it means.
#[derive(Debug, Clone)]
pub(crate) struct Stamp {
    pub(crate) text: String,
    pub(crate) utc: Option<String>,
}

impl Stamp {
    /// A time of one day, a millisecond a line, in the form of Python's `isoformat`.
    pub(crate) fn of(seq: u64) -> Self {
        Self::at_offset(seq, 0)
    }

    /// The same moment by a clock that is `hours` (at most 5) ahead of UTC.
    pub(crate) fn at_offset(seq: u64, hours: u64) -> Self {
        // 19 hours of milliseconds, so that five more are the same day.
        let millis = seq % 68_400_000;
        let clock = |hours: u64| {
            let second = millis / 1000;
            format!(
                "{:02}:{:02}:{:02}",
                second / 3600 + hours,
                second / 60 % 60,
                second % 60
            )
        };
        Self {
            text: format!(
                "2026-06-20T{}.{:06}+{hours:02}:00",
                clock(hours),
                millis % 1000 * 1000
            ),
            utc: Some(format!("2026-06-20 {}", clock(0))),
        }
    }

    /// A text that is no time.
    pub(crate) fn none(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            utc: None,
        }
    }
}

impl Event {
    /// An event of a service, whose element opens with number and name.
    pub(crate) fn new(name: &str, seq: u64, app: &str, msgid: &str) -> Self {
        Self {
            fields: vec![
                ("seq".to_owned(), seq.to_string().into_bytes()),
                ("decoy".to_owned(), name.as_bytes().to_vec()),
            ],
            ..Self::bare(name, seq, app, msgid)
        }
    }

    /// An event without an element: the text has to carry number and name.
    pub(crate) fn bare(name: &str, seq: u64, app: &str, msgid: &str) -> Self {
        Self {
            pri: 134,
            stamp: Stamp::of(seq),
            host: name.to_owned(),
            app: app.to_owned(),
            procid: "-".to_owned(),
            msgid: msgid.to_owned(),
            fields: Vec::new(),
            msg: Vec::new(),
            ip: UNKNOWN.to_owned(),
        }
    }

    pub(crate) fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn msg(mut self, msg: impl AsRef<[u8]>) -> Self {
        self.msg = msg.as_ref().to_vec();
        self
    }

    /// A parameter that holds an address, which the record must show.
    pub(crate) fn address(mut self, name: &str, ip: &str) -> Self {
        ip.clone_into(&mut self.ip);
        self.field(name, ip)
    }

    /// The line, with an LF.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let Self {
            pri,
            stamp,
            host,
            app,
            procid,
            msgid,
            ..
        } = self;
        let mut line =
            format!("<{pri}>1 {} {host} {app} {procid} {msgid} ", stamp.text).into_bytes();
        if self.fields.is_empty() {
            line.push(b'-');
        } else {
            line.extend_from_slice(b"[relay@55555");
            for (name, value) in &self.fields {
                line.push(b' ');
                line.extend_from_slice(name.as_bytes());
                line.extend_from_slice(b"=\"");
                escape(value, &mut line);
                line.push(b'"');
            }
            line.push(b']');
        }
        if !self.msg.is_empty() {
            line.push(b' ');
            line.extend_from_slice(&self.msg);
        }
        line.push(b'\n');
        line
    }

    pub(crate) fn expected(self) -> Expected {
        Expected {
            timestamp: self.stamp.utc,
            decky: self.host,
            service: self.app,
            event_type: self.msgid,
            attacker_ip: self.ip,
            fields: self.fields,
            msg: self.msg,
        }
    }

    pub(crate) fn emission(self) -> Emission {
        Emission::one(self.bytes(), self.expected())
    }
}

/// The three escapes of a PARAM-VALUE (RFC 5424 §6.3.3); nothing else, as DECNET has it.
pub(crate) fn escape(value: &[u8], out: &mut Vec<u8>) {
    for &octet in value {
        if matches!(octet, b'"' | b'\\' | b']') {
            out.push(b'\\');
        }
        out.push(octet);
    }
}

/// An address of a documentation net.
pub(crate) fn ipv4(random: &mut Random) -> String {
    let net = random.pick(&["192.0.2", "198.51.100", "203.0.113"]);
    format!("{net}.{}", 1 + random.below(254))
}

/// The same, IPv6; its last group is often all digits.
pub(crate) fn ipv6(random: &mut Random) -> String {
    format!("2001:db8::{:x}", 1 + random.below(0xFFFE))
}
