//! `google.protobuf.Timestamp`, which may hold times that do not exist.

use rfc5424::Timestamp;

/// A time as it came. Nothing about it is checked on the way in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Time {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub seconds: i64,
    /// Nanoseconds on top; legal are 0 to 999,999,999.
    pub nanos: i32,
}

impl Time {
    /// The instant, nanoseconds outside of a second carried over as Go does; `None` outside of the years 0 to 9999,
    /// which RFC 3339 can't write.
    #[must_use]
    pub fn instant(self) -> Option<Timestamp> {
        let carried = i64::from(self.nanos.div_euclid(SECOND));
        let seconds = self.seconds.checked_add(carried)?;
        let nanos = u32::try_from(self.nanos.rem_euclid(SECOND)).ok()?;
        YEARS
            .contains(&seconds)
            .then(|| Timestamp::new(seconds, nanos))
    }
}

/// Appends `YYYY-MM-DDTHH:MM:SS[.f…]Z` with as many digits as are needed: Go's `time.RFC3339Nano`.
pub(crate) fn write_nano(time: Timestamp, out: &mut Vec<u8>) {
    let start = out.len();
    time.write_rfc3339(out);
    out.truncate(start + "YYYY-MM-DDTHH:MM:SS".len());
    if time.nanos() > 0 {
        let digits = format!("{:09}", time.nanos());
        out.push(b'.');
        out.extend_from_slice(digits.trim_end_matches('0').as_bytes());
    }
    out.push(b'Z');
}

const SECOND: i32 = 1_000_000_000;

/// 0000-01-01T00:00:00Z to 9999-12-31T23:59:59Z.
const YEARS: std::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

#[cfg(test)]
mod tests;
