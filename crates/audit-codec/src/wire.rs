//! Protobuf's wire format, as leniently as Go's library reads it: fields one after the other, unknown ones passed over.

use std::ops::Range;

/// A payload is no message: where and why. The whole frame is refused, the connection stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{fault} at octet {at}")]
#[non_exhaustive]
pub struct DecodeError {
    /// Where, counted from the start of the payload.
    pub at: usize,
    /// What is wrong there.
    pub fault: Fault,
}

/// The kinds of [`DecodeError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The message ends inside a field.
    #[error("message ends inside a field")]
    Truncated,
    /// A varint is longer than 64 bits.
    #[error("number over 64 bits")]
    Overflow,
    /// A field number is 0 or too large.
    #[error("field number out of range")]
    FieldNumber,
    /// A wire type that does not exist.
    #[error("reserved wire type")]
    WireType,
    /// A group ends that did not begin.
    #[error("group ends that did not begin")]
    EndGroup,
    /// Groups lie inside each other too deeply.
    #[error("groups nested too deeply")]
    Depth,
    /// A text is not UTF-8.
    #[error("text is not UTF-8")]
    Utf8,
}

/// The value of a field, as far as our messages have any use for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// A number.
    Varint(u64),
    /// Where text, octets or a message lie in the payload.
    Octets(Range<usize>),
    /// Of a type that none of our fields has.
    Other,
}

/// Walks the fields of one message inside a payload.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    payload: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(payload: &'a [u8], span: Range<usize>) -> Self {
        Self {
            payload,
            at: span.start,
            end: span.end,
        }
    }

    /// The next field's number and value.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Value)>, DecodeError> {
        if self.at == self.end {
            return Ok(None);
        }
        let (number, kind) = self.tag(MAX_NUMBER)?;
        let value = match kind {
            VARINT => Value::Varint(self.varint()?),
            FIXED64 => self.skip(8).map(|_| Value::Other)?,
            LEN => {
                let len = self.varint()?;
                Value::Octets(self.skip(len)?)
            }
            START_GROUP => self.group(number).map(|()| Value::Other)?,
            FIXED32 => self.skip(4).map(|_| Value::Other)?,
            END_GROUP => return Err(self.fault(Fault::EndGroup)),
            _ => return Err(self.fault(Fault::WireType)),
        };
        Ok(Some((number, value)))
    }

    /// Passes over a group whose start was read. Numbers inside may be larger than outside, in Go.
    fn group(&mut self, number: u64) -> Result<(), DecodeError> {
        let mut open = vec![number];
        while let Some(&innermost) = open.last() {
            let (number, kind) = self.tag(MAX_NUMBER_IN_GROUP)?;
            match kind {
                VARINT => self.varint().map(drop)?,
                FIXED64 => self.skip(8).map(drop)?,
                LEN => {
                    let len = self.varint()?;
                    self.skip(len).map(drop)?;
                }
                START_GROUP if open.len() == MAX_DEPTH => return Err(self.fault(Fault::Depth)),
                START_GROUP => open.push(number),
                END_GROUP if number == innermost => drop(open.pop()),
                END_GROUP => return Err(self.fault(Fault::EndGroup)),
                FIXED32 => self.skip(4).map(drop)?,
                _ => return Err(self.fault(Fault::WireType)),
            }
        }
        Ok(())
    }

    fn tag(&mut self, max: u64) -> Result<(u64, u64), DecodeError> {
        let at = self.at;
        let tag = self.varint()?;
        let number = tag >> 3;
        if number == 0 || number > max {
            let fault = Fault::FieldNumber;
            return Err(DecodeError { at, fault });
        }
        Ok((number, tag & 7))
    }

    /// A varint in any length up to ten octets, padded or not.
    fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0;
        for (n, &octet) in self.payload[self.at..self.end].iter().enumerate() {
            // The tenth octet has room for the highest bit alone.
            if n == 9 && octet > 1 {
                return Err(self.fault(Fault::Overflow));
            }
            value |= u64::from(octet & 0x7f) << (7 * n);
            if octet < 0x80 {
                self.at += n + 1;
                return Ok(value);
            }
        }
        Err(self.fault(Fault::Truncated))
    }

    fn skip(&mut self, len: u64) -> Result<Range<usize>, DecodeError> {
        let left = self.end - self.at;
        match usize::try_from(len) {
            Ok(len) if len <= left => {
                let from = self.at;
                self.at += len;
                Ok(from..self.at)
            }
            _ => Err(self.fault(Fault::Truncated)),
        }
    }

    fn fault(&self, fault: Fault) -> DecodeError {
        DecodeError { at: self.at, fault }
    }
}

/// The text at `span`.
pub(crate) fn text(payload: &[u8], span: Range<usize>) -> Result<&str, DecodeError> {
    std::str::from_utf8(&payload[span.clone()]).map_err(|error| DecodeError {
        at: span.start + error.valid_up_to(),
        fault: Fault::Utf8,
    })
}

/// Appends a number field; a zero is not written (proto3).
pub(crate) fn put_varint(number: u64, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        varint(number << 3 | VARINT, out);
        varint(value, out);
    }
}

/// Appends a text field; an empty one is not written (proto3).
pub(crate) fn put_text(number: u64, text: &str, out: &mut Vec<u8>) {
    if !text.is_empty() {
        put_octets(number, text.as_bytes(), out);
    }
}

/// Appends a field of octets or a message, also an empty one.
pub(crate) fn put_octets(number: u64, octets: &[u8], out: &mut Vec<u8>) {
    varint(number << 3 | LEN, out);
    varint(octets.len() as u64, out);
    out.extend_from_slice(octets);
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LEN: u64 = 2;
const START_GROUP: u64 = 3;
const END_GROUP: u64 = 4;
const FIXED32: u64 = 5;

/// Protobuf's largest field number.
const MAX_NUMBER: u64 = (1 << 29) - 1;

/// What Go takes inside of a group that it passes over.
const MAX_NUMBER_IN_GROUP: u64 = i32::MAX as u64;

/// Groups that Go lets lie inside each other.
const MAX_DEPTH: usize = 10_001;
