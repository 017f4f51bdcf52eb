//! What a boundary client writes: frames of protobuf, made here by hand, so that no code of the proxy's judges itself.

/// A session's records, which are a function of the session and their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    /// Its id, as a client draws it.
    pub(crate) id: String,
}

impl Session {
    /// The session of client `n`.
    pub(crate) fn new(n: usize) -> Session {
        Session {
            id: format!("5f0c2f8e-6d3b-4b7e-9a51-{n:012x}"),
        }
    }

    /// The frame with the records `from` up to `to`: an envelope (tag 2) with session and sequence numbers, header and
    /// payload apart, since that is how clients write them.
    pub(crate) fn frame(&self, from: u32, to: u32) -> ([u8; 4], Vec<u8>) {
        let mut request = Vec::new();
        for n in from..to {
            bytes_field(&mut request, 1, &self.record(n));
        }
        bytes_field(&mut request, 2, self.id.as_bytes());
        let mut payload = Vec::new();
        bytes_field(&mut payload, 1, &request);
        let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        debug_assert!(len <= 1 << 15, "a frame of at most ten short records");
        ((2 << 24 | len).to_be_bytes(), payload)
    }

    fn record(&self, n: u32) -> Vec<u8> {
        let mut http = Vec::new();
        bytes_field(&mut http, 1, method(n).as_bytes());
        bytes_field(&mut http, 2, self.url(n).as_bytes());
        let mut record = Vec::new();
        if allowed(n) {
            bytes_field(&mut http, 3, RULE.as_bytes());
            number_field(&mut record, 1, 1);
        }
        let mut time = Vec::new();
        number_field(&mut time, 1, SECONDS);
        bytes_field(&mut record, 2, &time);
        bytes_field(&mut record, 3, &http);
        if n > 0 {
            number_field(&mut record, 4, u64::from(n));
        }
        record
    }

    /// How a line of record `n` begins, up to the host's name, and what it says from there to the facts of its
    /// connection.
    pub(crate) fn line(&self, n: u32) -> (&'static str, String) {
        let (decision, rule) = if allowed(n) {
            ("allow", format!(" matched_rule=\"{RULE}\""))
        } else {
            ("deny", String::new())
        };
        let said = format!(
            " boundary - boundary_request [boundary@32473 decision=\"{decision}\" session_id=\"{}\" \
             sequence_number=\"{n}\" http_method=\"{}\" http_url=\"{}\" event_time=\"{TIME}\"{rule} pid=\"",
            self.id,
            method(n),
            self.url(n)
        );
        (BEGIN, said)
    }

    fn url(&self, n: u32) -> String {
        format!("https://{n}.example.com/{}", &self.id[24..])
    }
}

fn allowed(n: u32) -> bool {
    !n.is_multiple_of(3)
}

fn method(n: u32) -> &'static str {
    if n.is_multiple_of(2) { "GET" } else { "POST" }
}

/// All records' time: in Unix seconds, in a line's header, and as a parameter.
const SECONDS: u64 = 1_767_225_602;
const BEGIN: &str = "<134>1 2026-01-01T00:00:02.000000Z ";
const TIME: &str = "2026-01-01T00:00:02Z";

const RULE: &str = "domain=*.example.com";

fn number_field(out: &mut Vec<u8>, field: u8, value: u64) {
    out.push(field << 3);
    varint(out, value);
}

fn bytes_field(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
