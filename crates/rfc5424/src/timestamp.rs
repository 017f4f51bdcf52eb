//! Instants and their texts: RFC 3339 in its stricter and looser forms, without a calendar library
//! and without a clock.

use std::fmt;

/// An instant: whole seconds since 1970-01-01T00:00:00Z and nanoseconds within the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Timestamp {
    secs: i64,
    nanos: u32,
}

impl Timestamp {
    /// The instant `nanos` nanoseconds after `secs` seconds since 1970; `nanos` is held below
    /// one second.
    #[must_use]
    pub const fn new(secs: i64, nanos: u32) -> Self {
        Self {
            secs,
            nanos: if nanos > 999_999_999 {
                999_999_999
            } else {
                nanos
            },
        }
    }

    /// The instant that many nanoseconds after (or, negative, before) 1970.
    #[must_use]
    pub const fn from_unix_ns(ns: i64) -> Self {
        Self {
            secs: ns.div_euclid(1_000_000_000),
            nanos: ns.rem_euclid(1_000_000_000) as u32,
        }
    }

    /// Whole seconds since 1970, rounded down.
    #[must_use]
    pub const fn secs(self) -> i64 {
        self.secs
    }

    /// Nanoseconds since the whole second.
    #[must_use]
    pub const fn nanos(self) -> u32 {
        self.nanos
    }

    /// Microseconds since 1970, rounded down, held at the limits of the type.
    #[must_use]
    pub const fn unix_us(self) -> i64 {
        self.secs
            .saturating_mul(1_000_000)
            .saturating_add(self.nanos as i64 / 1000)
    }

    /// Nanoseconds since 1970, held at the limits of the type (the years 1677 and 2262).
    #[must_use]
    pub const fn unix_ns(self) -> i64 {
        self.secs
            .saturating_mul(1_000_000_000)
            .saturating_add(self.nanos as i64)
    }

    /// Appends `YYYY-MM-DD HH:MM:SS` in UTC: the form of a DECNET record. Years outside of
    /// 0000 to 9999 are held at those.
    pub fn write_record(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&Civil::from(self).record());
    }

    /// Appends `YYYY-MM-DDTHH:MM:SS.ffffffZ`: what RFC 5424 §6.2.3 can hold of it, the fraction cut
    /// at six digits. Years outside of 0000 to 9999 are held at those.
    pub fn write_rfc3339(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&Civil::from(self).rfc3339());
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for octet in Civil::from(*self).rfc3339() {
            fmt::Write::write_char(f, char::from(octet))?;
        }
        Ok(())
    }
}

/// Reads a time stamp in any of the forms that RFC 3339 or Python's `datetime.fromisoformat`
/// takes: `T`, a blank or any other single octet between date and time; extended, basic and week
/// dates; a date alone; seconds and minutes may be missing; any number of fraction digits, after
/// `.` or `,`; `Z`, `z`, an offset, or none, which means UTC.
///
/// `None` for everything else: `-`, second 60, hour 24, dates that do not exist.
#[must_use]
pub fn parse(text: &[u8]) -> Option<Timestamp> {
    Civil::parse(text).map(Timestamp::from)
}

/// Reads exactly the TIMESTAMP of RFC 5424 §6.2.3, but for its NILVALUE.
#[must_use]
pub fn parse_strict(text: &[u8]) -> Option<Timestamp> {
    match strict(text, 0) {
        Ok((timestamp, end)) if end == text.len() => Some(timestamp),
        _ => None,
    }
}

/// A TIMESTAMP at `at`, and where it ends; else the first octet that can't be right and why.
pub(crate) fn strict(buf: &[u8], at: usize) -> Result<(Timestamp, usize), (usize, &'static str)> {
    let mut scan = Scan { buf, at };
    let year = scan.number(4, 0, 9999)?;
    scan.literal(b'-')?;
    let month = scan.number(2, 1, 12)?;
    scan.literal(b'-')?;
    let day = scan.number(2, 1, days_in_month(year, month))?;
    scan.literal(b'T')?;
    let hour = scan.number(2, 0, 23)?;
    scan.literal(b':')?;
    let minute = scan.number(2, 0, 59)?;
    scan.literal(b':')?;
    // RFC 5424 §6.2.3: leap seconds must not be used.
    let second = scan.number(2, 0, 59)?;
    let mut nanos = 0;
    if scan.peek() == Some(b'.') {
        scan.at += 1;
        nanos = scan.fraction(6)?;
    }
    let offset = match scan.peek() {
        Some(b'Z') => {
            scan.at += 1;
            0
        }
        Some(sign @ (b'+' | b'-')) => {
            scan.at += 1;
            let hours = scan.number(2, 0, 23)?;
            scan.literal(b':')?;
            let minutes = scan.number(2, 0, 59)?;
            let offset = i64::from(hours * 3600 + minutes * 60);
            if sign == b'-' { -offset } else { offset }
        }
        _ => return Err((scan.at, "time zone expected")),
    };
    let civil = Civil {
        year,
        month,
        day,
        hour,
        minute,
        second,
        nanos,
    };
    let local = Timestamp::from(civil);
    Ok((Timestamp::new(local.secs - offset, nanos), scan.at))
}

/// A place in a text, for the strict grammar.
struct Scan<'a> {
    buf: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.buf.get(self.at).copied()
    }

    fn literal(&mut self, octet: u8) -> Result<(), (usize, &'static str)> {
        if self.peek() != Some(octet) {
            return Err((self.at, "not of the form YYYY-MM-DDThh:mm:ss"));
        }
        self.at += 1;
        Ok(())
    }

    fn number(&mut self, width: usize, low: u32, high: u32) -> Result<u32, (usize, &'static str)> {
        let start = self.at;
        let mut value = 0;
        while self.at < start + width {
            match self.peek() {
                Some(octet @ b'0'..=b'9') => value = value * 10 + u32::from(octet - b'0'),
                _ => return Err((self.at, "digit expected")),
            }
            self.at += 1;
        }
        if value < low || value > high {
            Err((start, "number out of range"))
        } else {
            Ok(value)
        }
    }

    /// 1 to `most` digits as nanoseconds.
    fn fraction(&mut self, most: usize) -> Result<u32, (usize, &'static str)> {
        let start = self.at;
        let (mut nanos, mut unit) = (0, 100_000_000);
        while let Some(octet @ b'0'..=b'9') = self.peek() {
            if self.at - start == most {
                return Err((self.at, "more than 6 fraction digits"));
            }
            nanos += u32::from(octet - b'0') * unit;
            unit /= 10;
            self.at += 1;
        }
        if self.at == start {
            Err((self.at, "digit expected"))
        } else {
            Ok(nanos)
        }
    }
}

pub(crate) use civil::Civil;
use civil::days_in_month;

mod civil;

#[cfg(test)]
mod tests;
