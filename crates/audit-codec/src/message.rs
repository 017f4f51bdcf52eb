//! The messages, borrowed from their payload: requests with records, and the client's own counts of drops.

use std::ops::Range;

use crate::Tag;
use crate::time::Time;
use crate::wire::{self, DecodeError, Fields, Value};

/// What a frame's payload says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message<'a> {
    /// Records, possibly none.
    Logs(Request<'a>),
    /// What the client itself had to drop since the last such message.
    Status(Status),
    /// An envelope without a variant that is known. Not an error.
    Unknown,
}

/// `ReportBoundaryLogsRequest`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request<'a> {
    /// The records in order.
    pub logs: Vec<Log<'a>>,
    /// Names one run of the client, a UUID in text; empty from clients before agent API 2.9.
    pub session_id: &'a str,
    /// The process that was confined, if the client says.
    pub process: &'a str,
}

/// `BoundaryLog`: one request that was let through or refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Log<'a> {
    /// Let through.
    pub allowed: bool,
    /// When, by the client's clock.
    pub time: Option<Time>,
    /// The request, if it was one of HTTP: there is no other kind yet.
    pub http: Option<Http<'a>>,
    /// Counts the records of a session from 0, and wraps. Means something only beside a session id.
    pub sequence: i32,
}

/// `HttpRequest`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Http<'a> {
    /// The method.
    pub method: &'a str,
    /// The whole URL; from older clients the path alone.
    pub url: &'a str,
    /// The rule that let it through; empty for what was refused.
    pub matched_rule: &'a str,
}

/// `BoundaryStatus`: counts since the last one; the original ignores those that are not positive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Status {
    /// Records dropped because the client's queue was full.
    pub channel_full: i64,
    /// Records dropped because the client's batch was full.
    pub batch_full: i64,
}

impl<'a> Message<'a> {
    /// Reads a payload. Of the variants of an envelope the last one stands; the same one twice is merged.
    ///
    /// # Errors
    /// [`DecodeError`]: the whole payload is refused.
    pub fn decode(tag: Tag, payload: &'a [u8]) -> Result<Self, DecodeError> {
        let whole = 0..payload.len();
        if tag == Tag::Logs {
            let mut request = Request::default();
            request.merge(payload, whole)?;
            return Ok(Self::Logs(request));
        }
        let mut message = Self::Unknown;
        let mut fields = Fields::new(payload, whole);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Octets(span)) => {
                    let mut request = match message {
                        Self::Logs(request) => request,
                        _ => Request::default(),
                    };
                    request.merge(payload, span)?;
                    message = Self::Logs(request);
                }
                (2, Value::Octets(span)) => {
                    let mut status = match message {
                        Self::Status(status) => status,
                        _ => Status::default(),
                    };
                    status.merge(payload, span)?;
                    message = Self::Status(status);
                }
                _ => {}
            }
        }
        Ok(message)
    }

    /// The payload of a frame with `tag`, fields in the order of their numbers. A status has no form of its own
    /// under [`Tag::Logs`]: it gives an empty request.
    #[must_use]
    pub fn encode(&self, tag: Tag) -> Vec<u8> {
        let mut inner = Vec::new();
        match self {
            Self::Logs(request) => request.encode(&mut inner),
            Self::Status(status) if tag == Tag::Envelope => status.encode(&mut inner),
            Self::Status(_) | Self::Unknown => return inner,
        }
        if tag == Tag::Logs {
            return inner;
        }
        let mut out = Vec::with_capacity(inner.len() + 4);
        let variant = if matches!(self, Self::Logs(_)) { 1 } else { 2 };
        wire::put_octets(variant, &inner, &mut out);
        out
    }
}

impl<'a> Request<'a> {
    fn merge(&mut self, payload: &'a [u8], span: Range<usize>) -> Result<(), DecodeError> {
        let mut fields = Fields::new(payload, span);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Octets(span)) => {
                    let mut log = Log::default();
                    log.merge(payload, span)?;
                    self.logs.push(log);
                }
                (2, Value::Octets(span)) => self.session_id = wire::text(payload, span)?,
                (3, Value::Octets(span)) => self.process = wire::text(payload, span)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let mut inner = Vec::new();
        for log in &self.logs {
            inner.clear();
            log.encode(&mut inner);
            wire::put_octets(1, &inner, out);
        }
        wire::put_text(2, self.session_id, out);
        wire::put_text(3, self.process, out);
    }
}

impl<'a> Log<'a> {
    fn merge(&mut self, payload: &'a [u8], span: Range<usize>) -> Result<(), DecodeError> {
        let mut fields = Fields::new(payload, span);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Varint(number)) => self.allowed = number != 0,
                (2, Value::Octets(span)) => {
                    let time = self.time.get_or_insert_default();
                    let mut fields = Fields::new(payload, span);
                    while let Some(field) = fields.next()? {
                        match field {
                            (1, Value::Varint(number)) => time.seconds = number.cast_signed(),
                            (2, Value::Varint(number)) => time.nanos = int32(number),
                            _ => {}
                        }
                    }
                }
                (3, Value::Octets(span)) => {
                    self.http.get_or_insert_default().merge(payload, span)?;
                }
                (4, Value::Varint(number)) => self.sequence = int32(number),
                _ => {}
            }
        }
        Ok(())
    }

    fn encode(&self, out: &mut Vec<u8>) {
        wire::put_varint(1, self.allowed.into(), out);
        let mut inner = Vec::new();
        if let Some(time) = self.time {
            wire::put_varint(1, time.seconds.cast_unsigned(), &mut inner);
            wire::put_varint(2, sign_extended(time.nanos), &mut inner);
            wire::put_octets(2, &inner, out);
        }
        if let Some(http) = &self.http {
            inner.clear();
            for (number, text) in [(1, http.method), (2, http.url), (3, http.matched_rule)] {
                wire::put_text(number, text, &mut inner);
            }
            wire::put_octets(3, &inner, out);
        }
        wire::put_varint(4, sign_extended(self.sequence), out);
    }
}

impl<'a> Http<'a> {
    fn merge(&mut self, payload: &'a [u8], span: Range<usize>) -> Result<(), DecodeError> {
        let mut fields = Fields::new(payload, span);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Octets(span)) => self.method = wire::text(payload, span)?,
                (2, Value::Octets(span)) => self.url = wire::text(payload, span)?,
                (3, Value::Octets(span)) => self.matched_rule = wire::text(payload, span)?,
                _ => {}
            }
        }
        Ok(())
    }
}

impl Status {
    fn merge(&mut self, payload: &[u8], span: Range<usize>) -> Result<(), DecodeError> {
        let mut fields = Fields::new(payload, span);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Varint(number)) => self.channel_full = number.cast_signed(),
                (2, Value::Varint(number)) => self.batch_full = number.cast_signed(),
                _ => {}
            }
        }
        Ok(())
    }

    fn encode(self, out: &mut Vec<u8>) {
        wire::put_varint(1, self.channel_full.cast_unsigned(), out);
        wire::put_varint(2, self.batch_full.cast_unsigned(), out);
    }
}

/// An int32 is written as 64 bits, and what is over 32 is cut off when read.
#[expect(clippy::cast_possible_truncation, reason = "that is the rule")]
fn int32(number: u64) -> i32 {
    number as i32
}

fn sign_extended(number: i32) -> u64 {
    i64::from(number).cast_unsigned()
}
