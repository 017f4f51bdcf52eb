//! What DECNET's services print: taken leniently, and made into a record.
//!
//! The rules are those of the pipeline that this one replaces, so that its readers see the same
//! `.json`. Where it was wrong, this is right; `tests/data/decnet_differs.json` lists the golden
//! rows concerned, and these are the reasons:
//!
//! - a value ends at its quote, whatever `]` or escape it holds, and an element at its own `]`;
//!   text behind STRUCTURED-DATA is text, even if it looks like an element;
//! - an address is IPv4 or IPv6, with a port or without; what is neither (an empty value, a name,
//!   a word) does not end the search for one;
//! - an offset is converted to UTC, and a stamp that is none becomes the caller's time;
//! - a BOM is no part of the text.

mod address;
mod params;
mod record;

pub use record::{Extras, Record, Source, UNKNOWN};

use crate::wrap;

/// What a line is to the collector and the listener.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "lives on the stack for one line; boxing would cost an allocation each"
)]
pub enum Class<'a> {
    /// Goes into the `.log` as it came, and this into the `.json`.
    Record(Record<'a>),
    /// Goes into the `.log` as it came; there is no record of it: legal RFC 5424 that DECNET's
    /// rules pass over (an LF inside, a VERSION other than 1).
    Strict,
    /// Carries a collector's wrapper, or what a reader could take for it: our MSGID and our element, with any VERSION,
    /// wherever the element stands. In a `.log` it is what a collector wrote, and there is no record of it; from a
    /// container it is a forgery, which would speak for another container.
    Wrapped,
    /// No syslog message: wrapped before it goes into the `.log`.
    Raw,
}

/// Decides in one pass whether a line (without its LF) is acceptable and what record it makes.
#[inline]
#[must_use]
pub fn classify(line: &[u8]) -> Class<'_> {
    match record::read(line) {
        Ok(record) => Class::Record(record),
        Err(record::NoRecord::Wrapped) => Class::Wrapped,
        Err(record::NoRecord::Refused) => refused(line),
    }
}

/// What a line is that DECNET's rules pass over.
fn refused(line: &[u8]) -> Class<'_> {
    match crate::parse(line) {
        Ok(message)
            if message.msgid.map(str::as_bytes) == Some(wrap::MSGID)
                && wrap::has_element(message.structured_data) =>
        {
            Class::Wrapped
        }
        Ok(_) => Class::Strict,
        Err(_) => Class::Raw,
    }
}

/// Whether a line goes into a `.log` as it came: legal RFC 5424, or what DECNET takes for it.
#[must_use]
pub fn accepts(line: &[u8]) -> bool {
    !matches!(classify(line), Class::Raw)
}

/// Octets that separate words to the Python that wrote the rules: ASCII blanks and the four
/// information separators.
#[inline]
const fn is_blank(octet: u8) -> bool {
    const BLANKS: u64 = 1 << b' ' | 0x1F << 0x09 | 0xF << 0x1C;
    octet <= b' ' && BLANKS >> octet & 1 != 0
}

fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [octet, rest @ ..] = text
        && is_blank(*octet)
    {
        text = rest;
    }
    text
}

fn trim_end(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., octet] = text
        && is_blank(*octet)
    {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests;
