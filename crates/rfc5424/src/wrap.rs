//! The header that makes a syslog message of any line: container output that is none by itself.

use crate::{Timestamp, message::escape_value};

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

/// MSGID of a wrapped line.
pub(crate) const MSGID: &[u8] = b"raw";

/// SD-ID of the element in a wrapped line. 32473 is the enterprise number kept for examples
/// (RFC 5612): this project has none of its own.
pub(crate) const SD_ID: &[u8] = b"logferry@32473";

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
