//! The header that makes a syslog message of any line: container output that is none by itself. And who it names, for
//! those who read it, with the test that keeps others from writing it.

use std::borrow::Cow;

use crate::{
    Message, StructuredData, Timestamp,
    message::{self, escape_value},
};

/// What is known about a line that is wrapped. The line itself becomes MSG, octet by octet.
///
/// ```text
/// <134>1 STAMP HOSTNAME APP-NAME - raw [logferry@32473 container="…" id="…" stream="stdout"] LINE
/// ```
///
/// The result is legal RFC 5424 for any names, unless LINE starts with a BOM that lies.
#[derive(Debug, Clone, Copy)]
pub struct Wrap<'a> {
    /// The line came from standard error: priority 131 and `stream="stderr"`.
    pub stderr: bool,
    /// `stream` of a line that comes from neither standard output nor standard error.
    pub stream: Option<&'a str>,
    /// When Docker took the line, in nanoseconds since 1970; cut to microseconds.
    pub time_unix_ns: i64,
    /// HOSTNAME. Octets that are not printable ASCII become `_`; cut at 255; empty is NILVALUE.
    pub hostname: &'a str,
    /// APP-NAME, in the same manner, cut at 48.
    pub app_name: &'a str,
    /// The container's name, for the element.
    pub container: &'a str,
    /// The container's id, for the element; its first 12 characters are written.
    pub id: &'a str,
    /// Set on the pieces of a line that is over the limit.
    pub part: Option<Part>,
}

/// A line that [`Wrap`] made, taken apart.
///
/// What passes for one here is never [`Record`](crate::decnet::Class::Record) or
/// [`Strict`](crate::decnet::Class::Strict) to [`classify`](crate::decnet::classify): so no line that goes into a `.log`
/// as it came speaks for a container.
#[derive(Debug, Clone)]
pub struct Wrapped<'a> {
    /// Its header and element, and LINE as MSG: any octets, even behind a BOM.
    pub message: Message<'a>,
    /// The container's name.
    pub container: Cow<'a, str>,
    /// The first 12 characters of the container's id.
    pub id: Cow<'a, str>,
    /// `stdout`, `stderr`, or what else the line came from.
    pub stream: Cow<'a, str>,
}

/// Which piece of an over-long line it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Common to the pieces of one line.
    pub line: u64,
    /// The piece's number.
    pub n: u32,
    /// No piece follows.
    pub last: bool,
}

impl Wrap<'_> {
    /// Appends everything before LINE, the space included; the caller adds LINE and the LF.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.stderr { b"<131>1 " } else { b"<134>1 " });
        Timestamp::from_unix_ns(self.time_unix_ns).write_rfc3339(out);
        out.push(b' ');
        header_field(self.hostname, 255, out);
        out.push(b' ');
        header_field(self.app_name, 48, out);
        out.extend_from_slice(b" - ");
        out.extend_from_slice(MSGID);
        out.extend_from_slice(b" [");
        out.extend_from_slice(SD_ID);
        out.extend_from_slice(b" container=\"");
        escape_value(self.container, out);
        out.extend_from_slice(b"\" id=\"");
        let id = self
            .id
            .char_indices()
            .nth(12)
            .map_or(self.id, |(end, _)| &self.id[..end]);
        escape_value(id, out);
        out.extend_from_slice(b"\" stream=\"");
        let output = if self.stderr { "stderr" } else { "stdout" };
        escape_value(self.stream.unwrap_or(output), out);
        out.push(b'"');
        if let Some(Part { line, n, last }) = self.part {
            out.extend_from_slice(format!(" line=\"{line}\" part=\"{n}\"").as_bytes());
            if last {
                out.extend_from_slice(b" last=\"1\"");
            }
        }
        out.extend_from_slice(b"] ");
    }
}

impl<'a> Wrapped<'a> {
    /// Takes a line (without its LF) apart; `None` if [`Wrap`] does not write such a line.
    #[must_use]
    pub fn of(line: &'a [u8]) -> Option<Self> {
        // Most lines are none: no header is parsed for them.
        let start = &line[..line.len().min(HEADER_MAX)];
        if !start.starts_with(b"<13") || memchr::memmem::find(start, SD_ID).is_none() {
            return None;
        }
        let (mut message, at) = message::head(line).ok()?;
        let is_ours = matches!(message.priority.value(), 131 | 134)
            && message.version == 1
            && message.timestamp.is_some()
            && message.procid.is_none()
            && message.msgid.map(str::as_bytes) == Some(MSGID);
        if !is_ours {
            return None;
        }
        let [container, id, stream] = names(message.structured_data)?;
        // LINE is any octets: a BOM promises nothing in it (RFC 5424 §6.4 notwithstanding).
        message.msg = Some(line[at..].strip_prefix(b" ")?);
        Some(Self {
            message,
            container,
            id,
            stream,
        })
    }
}

/// Whether an element is ours, wherever it stands: then some reader could take the message for a wrapped line.
pub(crate) fn has_element(data: StructuredData<'_>) -> bool {
    data.iter().any(|element| element.id.as_bytes() == SD_ID)
}

/// Container, id and stream, if there is our element alone, with the parameters that we write.
fn names(data: StructuredData<'_>) -> Option<[Cow<'_, str>; 3]> {
    let mut elements = data.iter();
    let element = elements.next()?;
    if element.id.as_bytes() != SD_ID || elements.next().is_some() {
        return None;
    }
    let mut params = element.params();
    if !params
        .clone()
        .zip(PARAMS)
        .all(|(param, name)| param.name == name)
        || !matches!(params.clone().count(), 3 | 5 | 6)
    {
        return None;
    }
    let mut value = || params.next().map(|param| param.value());
    Some([value()?, value()?, value()?])
}

/// MSGID of a wrapped line.
pub(crate) const MSGID: &[u8] = b"raw";

/// SD-ID of the element in a wrapped line. 32473 is the enterprise number kept for examples
/// (RFC 5612): this project has none of its own.
pub(crate) const SD_ID: &[u8] = b"logferry@32473";

/// The parameters of the element; the last three mark parts.
const PARAMS: [&str; 6] = ["container", "id", "stream", "line", "part", "last"];

/// Where our element begins at the latest: its header has at most 362 octets.
const HEADER_MAX: usize = 512;

fn header_field(text: &str, max: usize, out: &mut Vec<u8>) {
    if text.is_empty() {
        out.push(b'-');
    }
    out.extend(text.bytes().take(max).map(|octet| {
        if octet.is_ascii_graphic() {
            octet
        } else {
            b'_'
        }
    }));
}

#[cfg(test)]
mod tests;
