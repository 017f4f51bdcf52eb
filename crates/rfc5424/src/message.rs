//! The strict grammar of a whole message (RFC 5424 §6), and its writer.

use std::fmt;

use crate::{StructuredData, Timestamp, timestamp};

/// A legal message, borrowed from its octets. NILVALUE is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message<'a> {
    /// PRI.
    pub priority: Priority,
    /// VERSION, 1 to 999. RFC 5424 defines the meaning of 1 only.
    pub version: u16,
    /// TIMESTAMP.
    pub timestamp: Option<Stamp<'a>>,
    /// HOSTNAME, 1 to 255 octets of printable ASCII.
    pub hostname: Option<&'a str>,
    /// APP-NAME, 1 to 48.
    pub app_name: Option<&'a str>,
    /// PROCID, 1 to 128.
    pub procid: Option<&'a str>,
    /// MSGID, 1 to 32.
    pub msgid: Option<&'a str>,
    /// STRUCTURED-DATA.
    pub structured_data: StructuredData<'a>,
    /// MSG with its BOM, if it has one: then the rest is UTF-8, else any octets. `None` if there is
    /// no MSG, which differs from an empty one.
    pub msg: Option<&'a [u8]>,
}

/// Facility and severity in one number, 0 to 191 (RFC 5424 §6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

impl Priority {
    /// The priority of that number; `None` over 191.
    #[must_use]
    pub const fn new(value: u8) -> Option<Self> {
        if value <= 191 {
            Some(Self(value))
        } else {
            None
        }
    }

    /// The number, 0 to 191.
    #[must_use]
    pub const fn value(self) -> u8 {
        self.0
    }

    /// 0 to 23.
    #[must_use]
    pub const fn facility(self) -> u8 {
        self.0 >> 3
    }

    /// 0 (emergency) to 7 (debug).
    #[must_use]
    pub const fn severity(self) -> u8 {
        self.0 & 7
    }
}

/// A TIMESTAMP: its text, which keeps offset and precision, and the instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp<'a> {
    /// As it came.
    pub text: &'a str,
    /// What it means.
    pub time: Timestamp,
}

/// The octets are no message of RFC 5424: where, in which field, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why} at octet {at}")]
#[non_exhaustive]
pub struct ParseError {
    /// The first octet that cannot be right (the length of the input if it ends too early).
    pub at: usize,
    /// The production that fails there.
    pub field: Field,
    /// What the grammar has against it.
    pub why: &'static str,
}

impl ParseError {
    pub(crate) const fn new(at: usize, field: Field, why: &'static str) -> Self {
        Self { at, field, why }
    }
}

/// The fields of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "named after the productions of RFC 5424 §6")]
pub enum Field {
    Pri,
    Version,
    Timestamp,
    Hostname,
    AppName,
    Procid,
    Msgid,
    StructuredData,
    Msg,
}

impl Field {
    /// A short stable name for counters and output, such as `structured_data`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pri => "pri",
            Self::Version => "version",
            Self::Timestamp => "timestamp",
            Self::Hostname => "hostname",
            Self::AppName => "app_name",
            Self::Procid => "procid",
            Self::Msgid => "msgid",
            Self::StructuredData => "structured_data",
            Self::Msg => "msg",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Reads one whole message. The caller has cut it out of its stream: nothing may stand before or
/// after it, but an LF inside MSG or inside a value is legal.
///
/// # Errors
/// The first octet that the grammar has no place for.
pub fn parse(buf: &[u8]) -> Result<Message<'_>, ParseError> {
    let (mut message, at) = head(buf)?;
    if at < buf.len() {
        message.msg = Some(msg(buf, at)?);
    }
    Ok(message)
}

/// Reads everything before MSG and the space that separates it, and says where that ends.
pub(crate) fn head(buf: &[u8]) -> Result<(Message<'_>, usize), ParseError> {
    let (priority, at) = pri(buf)?;
    let (version, at) = version(buf, at)?;
    let at = space(buf, at, Field::Version)?;
    let (timestamp, at) = stamp(buf, at)?;
    let at = space(buf, at, Field::Timestamp)?;
    let (hostname, at) = token(buf, at, 255, Field::Hostname)?;
    let (app_name, at) = token(buf, at, 48, Field::AppName)?;
    let (procid, at) = token(buf, at, 128, Field::Procid)?;
    let (msgid, at) = token(buf, at, 32, Field::Msgid)?;
    let (structured_data, at) = StructuredData::parse(buf, at)?;
    let message = Message {
        priority,
        version,
        timestamp,
        hostname,
        app_name,
        procid,
        msgid,
        structured_data,
        msg: None,
    };
    Ok((message, at))
}

impl Message<'_> {
    /// Appends the message in canonical form: as it came, but for backslashes in values that
    /// escape nothing, which are doubled.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("<{}>{}", self.priority.value(), self.version).as_bytes());
        let stamp = self.timestamp.map(|stamp| stamp.text);
        for field in [stamp, self.hostname, self.app_name, self.procid, self.msgid] {
            out.push(b' ');
            out.extend_from_slice(field.unwrap_or("-").as_bytes());
        }
        out.push(b' ');
        if self.structured_data.is_nil() {
            out.push(b'-');
        }
        for element in self.structured_data {
            out.push(b'[');
            out.extend_from_slice(element.id.as_bytes());
            for param in element.params() {
                out.push(b' ');
                out.extend_from_slice(param.name.as_bytes());
                out.extend_from_slice(b"=\"");
                escape_value(&param.value(), out);
                out.push(b'"');
            }
            out.push(b']');
        }
        if let Some(msg) = self.msg {
            out.push(b' ');
            out.extend_from_slice(msg);
        }
    }
}

/// Appends a PARAM-VALUE with the three characters of RFC 5424 §6.3.3 escaped.
pub(crate) fn escape_value(value: &str, out: &mut Vec<u8>) {
    for &octet in value.as_bytes() {
        if matches!(octet, b'"' | b'\\' | b']') {
            out.push(b'\\');
        }
        out.push(octet);
    }
}

fn pri(buf: &[u8]) -> Result<(Priority, usize), ParseError> {
    let fail = |at, why| Err(ParseError::new(at, Field::Pri, why));
    if buf.first() != Some(&b'<') {
        return fail(0, "`<` expected");
    }
    let digits = buf[1..]
        .iter()
        .take(4)
        .take_while(|octet| octet.is_ascii_digit())
        .count();
    let end = 1 + digits;
    match (digits, buf.get(1)) {
        (0, _) => return fail(1, "digit expected"),
        (2.., Some(b'0')) => return fail(2, "leading zero"),
        (4.., _) => return fail(4, "more than 3 digits"),
        _ => {}
    }
    let value = buf[1..end]
        .iter()
        .fold(0, |value: u16, octet| value * 10 + u16::from(octet - b'0'));
    let Some(priority) = u8::try_from(value).ok().and_then(Priority::new) else {
        return fail(3, "over 191");
    };
    if buf.get(end) != Some(&b'>') {
        return fail(end, "`>` expected");
    }
    Ok((priority, end + 1))
}

fn version(buf: &[u8], at: usize) -> Result<(u16, usize), ParseError> {
    let fail = |at, why| Err(ParseError::new(at, Field::Version, why));
    let digits = buf[at..]
        .iter()
        .take(4)
        .take_while(|octet| octet.is_ascii_digit())
        .count();
    match (digits, buf.get(at)) {
        (0, _) => return fail(at, "digit expected"),
        (_, Some(b'0')) => return fail(at, "leading zero"),
        (4.., _) => return fail(at + 3, "more than 3 digits"),
        _ => {}
    }
    let end = at + digits;
    Ok((
        buf[at..end]
            .iter()
            .fold(0, |value, octet| value * 10 + u16::from(octet - b'0')),
        end,
    ))
}

fn stamp(buf: &[u8], at: usize) -> Result<(Option<Stamp<'_>>, usize), ParseError> {
    if buf.get(at) == Some(&b'-') {
        return Ok((None, at + 1));
    }
    let (time, end) = timestamp::strict(buf, at)
        .map_err(|(at, why)| ParseError::new(at, Field::Timestamp, why))?;
    let text = ascii(&buf[at..end]);
    Ok((Some(Stamp { text, time }), end))
}

/// One header field of at most `max` octets with the SP after it.
fn token(
    buf: &[u8],
    at: usize,
    max: usize,
    field: Field,
) -> Result<(Option<&str>, usize), ParseError> {
    let len = buf[at..]
        .iter()
        .take(max + 1)
        .take_while(|octet| matches!(octet, 0x21..=0x7E))
        .count();
    if len == 0 {
        return Err(ParseError::new(at, field, "printable ASCII expected"));
    }
    if len > max {
        return Err(ParseError::new(at + max, field, "too long"));
    }
    let text = ascii(&buf[at..at + len]);
    let next = space(buf, at + len, field)?;
    Ok(((text != "-").then_some(text), next))
}

fn space(buf: &[u8], at: usize, field: Field) -> Result<usize, ParseError> {
    match buf.get(at) {
        Some(b' ') => Ok(at + 1),
        Some(_) => Err(ParseError::new(at, field, "no space after it")),
        None => Err(ParseError::new(at, field, "message ends after it")),
    }
}

fn msg(buf: &[u8], at: usize) -> Result<&[u8], ParseError> {
    let start = space(buf, at, Field::StructuredData)?;
    let msg = &buf[start..];
    if let Some(text) = msg.strip_prefix(BOM)
        && let Err(error) = std::str::from_utf8(text)
    {
        // RFC 5424 §6.4: the BOM promises UTF-8 in shortest form.
        let at = start + BOM.len() + error.valid_up_to();
        return Err(ParseError::new(at, Field::Msg, "BOM, but not UTF-8"));
    }
    Ok(msg)
}

/// Octets that were checked to be ASCII, as text.
fn ascii(octets: &[u8]) -> &str {
    std::str::from_utf8(octets).unwrap_or("-")
}

/// What opens an MSG in UTF-8.
pub(crate) const BOM: &[u8] = b"\xEF\xBB\xBF";

#[cfg(test)]
mod tests;
