//! The record: read from a line without allocation, written as one JSON object.

use super::{
    address, is_blank,
    params::{self, Params},
    trim_start,
};
use crate::{
    StructuredData, Timestamp,
    json::{Careful, Fast, Sink, string},
    message::BOM,
    swar,
    timestamp::Civil,
    wrap,
};

/// What DECNET's readers want to know of a line; every part borrows from it.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    line: &'a [u8],
    time: Option<Civil>,
    decky: &'a [u8],
    service: &'a [u8],
    event_type: &'a [u8],
    attacker_ip: &'a [u8],
    remote_port: Option<&'a [u8]>,
    params: Params<'a>,
    msg: &'a [u8],
}

/// What a record carries beyond its line.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extras<'a> {
    /// The record's time if the line has none that can be read: Docker's stamp, or the commit's.
    pub fallback_time: Timestamp,
    /// Where the line came from, on the master: `source_worker` and so on.
    pub source: Option<Source<'a>>,
    /// `container`: the name, on the worker.
    pub container: Option<&'a str>,
    /// `stream`: `stdout` or `stderr`, on the worker.
    pub stream: Option<&'a str>,
    /// `_trace`: the W3C trace context of the record, as in the header `traceparent`.
    pub traceparent: Option<&'a str>,
}

/// Provenance by certificate and place.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The certificate's name.
    pub worker: &'a str,
    /// The worker's stream.
    pub stream: &'a str,
    /// The stream's epoch, 32 hex digits.
    pub epoch: &'a str,
    /// Where the line starts in the epoch, in octets.
    pub offset: u64,
}

/// `attacker_ip` of a line that names nobody.
pub const UNKNOWN: &[u8] = b"Unknown";

/// Why there is no record of a line.
pub(super) enum NoRecord {
    /// DECNET's grammar refuses it.
    Refused,
    /// It is one of our wrapped lines, or could be taken for one.
    Wrapped,
}

impl<'a> Record<'a> {
    /// Reads a line without its LF; `None` if it is not what DECNET takes for a syslog message, or
    /// is a line that [`Wrap`](crate::Wrap) made.
    ///
    /// Lenient where DECNET is: any number as priority, fields of any length and of any octets but
    /// blanks, any or no STRUCTURED-DATA. VERSION must be 1, and there must be no LF.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        read(line).ok()
    }

    /// The line that it was made from.
    #[must_use]
    pub fn line(&self) -> &'a [u8] {
        self.line
    }

    /// The time of the line's stamp; `None` if there is none that can be read.
    #[must_use]
    pub fn time(&self) -> Option<Timestamp> {
        self.time.map(Timestamp::from)
    }

    /// HOSTNAME, of the inner message if one is wrapped in another.
    #[must_use]
    pub fn decky(&self) -> &'a [u8] {
        self.decky
    }

    /// APP-NAME.
    #[must_use]
    pub fn service(&self) -> &'a [u8] {
        self.service
    }

    /// MSGID, or `command` for what a shell reports without one.
    #[must_use]
    pub fn event_type(&self) -> &'a [u8] {
        self.event_type
    }

    /// The other side's address, as it came but for brackets and port, or [`UNKNOWN`].
    #[must_use]
    pub fn attacker_ip(&self) -> &'a [u8] {
        self.attacker_ip
    }

    /// MSG without the blanks around it and without a BOM.
    #[must_use]
    pub fn msg(&self) -> &'a [u8] {
        self.msg
    }

    /// The parameters of the element `relay@55555` as they came, escapes included: by name, in
    /// order of first appearance, each with its last value.
    pub fn fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.params
            .as_slice()
            .iter()
            .map(|param| (param.name, param.value))
    }

    /// Appends the record as one JSON object and an LF: `timestamp decky service event_type
    /// attacker_ip fields msg raw_line`, then what `extras` has, then `"lossy":true` if octets of
    /// the line are not UTF-8 and were replaced by U+FFFD.
    pub fn write_json(&self, out: &mut Vec<u8>, extras: &Extras<'_>) {
        let clean = self.line.len() <= FAST_MAX
            && Fast::takes(self.line)
            && extras.texts().all(|text| Fast::takes(text.as_bytes()));
        if !clean {
            let lossy = std::str::from_utf8(self.line).is_err();
            return self.write(&mut Careful { out }, extras, lossy);
        }
        // Each octet of the line stands in `raw_line` and at most once elsewhere, but for the
        // address and its port; escaping can double it.
        let texts: usize = extras
            .texts()
            .map(|text| 2 * text.len() + Fast::SLACK)
            .sum();
        let most = 4 * self.line.len() + texts + FIXED_MAX;
        let start = out.len();
        out.resize(start + most, 0);
        let mut sink = Fast::new(&mut out[start..]);
        self.write(&mut sink, extras, false);
        let end = start + sink.len();
        out.truncate(end);
    }

    fn write(&self, sink: &mut impl Sink, extras: &Extras<'_>, lossy: bool) {
        sink.raw(b"{\"timestamp\":\"");
        sink.raw(
            &self
                .time
                .unwrap_or_else(|| Civil::from(extras.fallback_time))
                .record(),
        );
        sink.raw(b"\",\"decky\":\"");
        sink.text(self.decky);
        sink.raw(b"\",\"service\":\"");
        sink.text(self.service);
        sink.raw(b"\",\"event_type\":\"");
        sink.text(self.event_type);
        sink.raw(b"\",\"attacker_ip\":\"");
        sink.raw(self.attacker_ip);
        sink.raw(b"\",\"fields\":{");
        let mut separator: &[u8] = b"\"";
        for param in self.params.as_slice() {
            sink.raw(separator);
            sink.text(param.name);
            sink.raw(b"\":\"");
            sink.value(param.value);
            separator = b"\",\"";
        }
        if let Some(port) = self.remote_port {
            sink.raw(separator);
            sink.raw(b"remote_port\":\"");
            sink.raw(port);
            separator = b"\",\"";
        }
        // The separator was opened by the first, so the last value is still open.
        sink.raw(if separator.len() > 1 {
            b"\"},\"msg\":\""
        } else {
            b"},\"msg\":\""
        });
        sink.text(self.msg);
        sink.raw(b"\",\"raw_line\":\"");
        sink.text(self.line);
        sink.raw(b"\"");
        extras.write(sink);
        sink.raw(if lossy { b",\"lossy\":true}\n" } else { b"}\n" });
    }
}

impl Extras<'_> {
    fn texts(&self) -> impl Iterator<Item = &str> {
        let source = self
            .source
            .iter()
            .flat_map(|source| [source.worker, source.stream, source.epoch]);
        source
            .chain(self.container)
            .chain(self.stream)
            .chain(self.traceparent)
    }

    fn write(&self, sink: &mut impl Sink) {
        if let Some(source) = &self.source {
            sink.raw(b",\"source_worker\":");
            string(sink, source.worker.as_bytes());
            sink.raw(b",\"source_stream\":");
            string(sink, source.stream.as_bytes());
            sink.raw(b",\"source_epoch\":");
            string(sink, source.epoch.as_bytes());
            sink.raw(b",\"source_offset\":");
            number(sink, source.offset);
        }
        if let Some(container) = self.container {
            sink.raw(b",\"container\":");
            string(sink, container.as_bytes());
        }
        if let Some(stream) = self.stream {
            sink.raw(b",\"stream\":");
            string(sink, stream.as_bytes());
        }
        if let Some(traceparent) = self.traceparent {
            sink.raw(b",\"_trace\":{\"traceparent\":");
            string(sink, traceparent.as_bytes());
            sink.raw(b"}");
        }
    }
}

fn number(sink: &mut impl Sink, mut value: u64) {
    let mut text = [0; 20];
    let mut at = text.len();
    loop {
        at -= 1;
        text[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    sink.raw(&text[at..]);
}

/// Reads a line by DECNET's rules.
#[inline]
pub(super) fn read(line: &[u8]) -> Result<Record<'_>, NoRecord> {
    let (stamp, mut header, rest) = head(line).ok_or(NoRecord::Refused)?;
    if memchr::memchr(b'\n', rest).is_some() {
        return Err(NoRecord::Refused);
    }
    if header.msgid == wrap::MSGID && is_wrapped(rest) {
        return Err(NoRecord::Wrapped);
    }
    let mut rest = rest;
    if header.msgid == b"-"
        && let Some(inner) = inner(rest)
    {
        (header, rest) = inner;
    }
    let mut params = Params::new();
    let msg = match rest.first() {
        Some(b'-') => trim_start(&rest[1..]),
        Some(b'[') => params::read(rest, &mut params),
        _ => rest,
    };
    // The mark tells the encoding, it is no part of the text.
    let msg = msg.strip_prefix(BOM).unwrap_or(msg);
    let (attacker_ip, port) = attacker(&params, msg);
    let remote_port = port.filter(|_| params.get(b"remote_port").is_none());
    let is_command = header.msgid == b"-" && msg.starts_with(b"CMD ");
    Ok(Record {
        line,
        // Python, which reads the record, knows no year 0.
        time: Civil::parse(stamp).filter(|civil| civil.year > 0),
        decky: header.hostname,
        service: header.app_name,
        event_type: if is_command { b"command" } else { header.msgid },
        attacker_ip,
        remote_port,
        params,
        msg,
    })
}

/// The parts of a header that a record shows.
struct Header<'a> {
    hostname: &'a [u8],
    app_name: &'a [u8],
    msgid: &'a [u8],
}

/// `<digits>1 STAMP HOSTNAME APP-NAME PROCID MSGID REST`.
#[inline]
fn head(line: &[u8]) -> Option<(&[u8], Header<'_>, &[u8])> {
    let body = line.strip_prefix(b"<")?;
    let digits = body
        .iter()
        .take_while(|octet| octet.is_ascii_digit())
        .count();
    let after = body[digits..].strip_prefix(b">1 ")?;
    if digits == 0 {
        return None;
    }
    let (stamp, after) = token(after)?;
    let (header, rest) = header(after, token)?;
    Some((stamp, header, rest))
}

/// `HOSTNAME APP-NAME PROCID MSGID REST`, where REST is not empty.
#[inline]
fn header<'a>(
    text: &'a [u8],
    token: impl Fn(&'a [u8]) -> Cut<'a>,
) -> Option<(Header<'a>, &'a [u8])> {
    let (hostname, after) = token(text)?;
    let (app_name, after) = token(after)?;
    let (_procid, after) = token(after)?;
    let (msgid, rest) = token(after)?;
    (!rest.is_empty()).then_some((
        Header {
            hostname,
            app_name,
            msgid,
        },
        rest,
    ))
}

/// A field and what stands behind it.
type Cut<'a> = Option<(&'a [u8], &'a [u8])>;

/// One or more octets that are no blanks, and what stands behind the single space after them.
#[inline]
fn token(text: &[u8]) -> Cut<'_> {
    let mut len = 0;
    loop {
        // Nothing below 0x21 but a blank is usual in a line.
        len = swar::find(text, len, |word| swar::below(word, 0x21))?;
        if is_blank(text[len]) {
            break;
        }
        len += 1;
    }
    (len > 0 && text[len] == b' ').then(|| (&text[..len], &text[len + 1..]))
}

/// The message without priority that a relay put into the text of another:
/// `- STAMP HOSTNAME APP-NAME PROCID MSGID REST`, with any blanks between.
fn inner(rest: &[u8]) -> Option<(Header<'_>, &[u8])> {
    fn word(text: &[u8]) -> Cut<'_> {
        let len = text.iter().position(|octet| is_blank(*octet))?;
        (len > 0).then(|| (&text[..len], trim_start(&text[len..])))
    }
    let (stamp, after) = word(trim_start(rest.strip_prefix(b"-")?))?;
    let date = stamp.first_chunk::<11>().filter(|_| stamp.len() > 11)?;
    let is_date = date
        .iter()
        .zip(b"0000-00-00T")
        .all(|(octet, form)| match form {
            b'0' => octet.is_ascii_digit(),
            _ => octet == form,
        });
    if is_date { header(after, word) } else { None }
}

/// Whether our element is the first one, be it legal or not, or stands anywhere in legal STRUCTURED-DATA.
fn is_wrapped(rest: &[u8]) -> bool {
    let is_first = rest
        .strip_prefix(b"[")
        .and_then(|element| element.strip_prefix(wrap::SD_ID))
        .is_some_and(|after| after.starts_with(b" "));
    is_first || StructuredData::parse(rest, 0).is_ok_and(|(data, _)| wrap::has_element(data))
}

/// Address and port of the best parameter that holds an address, else the address in the text.
#[inline]
fn attacker<'a>(params: &Params<'a>, msg: &'a [u8]) -> (&'a [u8], Option<&'a [u8]>) {
    let mut best: Option<(u8, address::Found<'a>)> = None;
    for param in params.as_slice() {
        if let Some(rank) = address::rank(param.name)
            && best.as_ref().is_none_or(|(held, _)| rank < *held)
            && let Some(found) = address::whole(param.value)
        {
            best = Some((rank, found));
        }
    }
    match best {
        Some((_, found)) => (found.ip, found.port),
        None => (address::in_prose(msg).unwrap_or(UNKNOWN), None),
    }
}

/// Longer lines take the careful way, which needs no room beforehand.
const FAST_MAX: usize = 64 * 1024;

/// Keys and punctuation (240), numbers (40), address and port once more (72), slack (8), and as much
/// again.
const FIXED_MAX: usize = 720;
