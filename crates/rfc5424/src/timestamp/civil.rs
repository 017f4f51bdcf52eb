//! Calendar arithmetic (proleptic Gregorian, UTC), the lenient reader, and the fixed-width forms.

use super::Timestamp;

/// A moment by the calendar, in UTC once it is read. Every part is within its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: u32,
    pub(crate) month: u32,
    pub(crate) day: u32,
    pub(crate) hour: u32,
    pub(crate) minute: u32,
    pub(crate) second: u32,
    pub(crate) nanos: u32,
}

impl Civil {
    /// Reads what [`super::parse`] promises, moved to UTC.
    #[inline]
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        // `YYYY-MM-DDThh:mm:ss` is what nearly every line carries.
        if let Some(head) = text.first_chunk::<19>()
            && head[4] == b'-'
            && head[7] == b'-'
            && head[13] == b':'
            && head[16] == b':'
        {
            let (year_high, year_low) = (pair(head, 0)?, pair(head, 2)?);
            let date = (year_high * 100 + year_low, pair(head, 5)?, pair(head, 8)?);
            let time = (pair(head, 11)?, pair(head, 14)?, pair(head, 17)?);
            return Self::checked(date, time)?.with_tail(&text[19..]);
        }
        Self::parse_rare(text)
    }

    /// Dates in basic or week form, and times without minutes or seconds.
    #[cold]
    fn parse_rare(text: &[u8]) -> Option<Self> {
        let (date, rest) = split_date(text)?;
        let Some((_separator, rest)) = rest.split_first() else {
            return Self::checked(date, (0, 0, 0));
        };
        let zone = rest
            .iter()
            .position(|octet| matches!(octet, b'+' | b'-' | b'Z' | b'z'));
        let (clock, zone) = rest.split_at(zone.unwrap_or(rest.len()));
        let fraction = clock.iter().position(|octet| matches!(octet, b'.' | b','));
        let (clock, fraction) = clock.split_at(fraction.unwrap_or(clock.len()));
        let (time, parts) = split_clock(clock)?;
        if !fraction.is_empty() && parts < 3 {
            return None;
        }
        let civil = Self::checked(date, time)?;
        let nanos = fraction_nanos(fraction)?;
        Self { nanos, ..civil }.at_offset(zone)
    }

    fn checked(
        (year, month, day): (u32, u32, u32),
        (hour, minute, second): (u32, u32, u32),
    ) -> Option<Self> {
        let legal = (1..=12).contains(&month)
            && day >= 1
            && (day <= 28 || day <= days_in_month(year, month))
            && hour < 24
            && minute < 60
            && second < 60;
        legal.then_some(Self {
            year,
            month,
            day,
            hour,
            minute,
            second,
            nanos: 0,
        })
    }

    /// Fraction and zone after the seconds.
    #[inline]
    fn with_tail(self, tail: &[u8]) -> Option<Self> {
        // Six digits are what Python and rsyslog write.
        if let Some((nanos, zone)) = six_digits(tail) {
            return Self { nanos, ..self }.at_offset(zone);
        }
        let digits = match tail.first() {
            Some(b'.' | b',') => {
                let digits = tail[1..].iter().take_while(|octet| octet.is_ascii_digit());
                1 + digits.count()
            }
            _ => 0,
        };
        let (fraction, zone) = tail.split_at(digits);
        let nanos = fraction_nanos(fraction)?;
        Self { nanos, ..self }.at_offset(zone)
    }

    /// The moment in UTC, given its zone's text.
    #[inline]
    fn at_offset(self, zone: &[u8]) -> Option<Self> {
        match zone {
            b"" | b"Z" | b"z" | b"+00:00" | b"-00:00" => Some(self),
            _ => self.moved(zone),
        }
    }

    /// The moment in UTC, for an offset that is not zero.
    fn moved(self, zone: &[u8]) -> Option<Self> {
        let (&sign, clock) = zone.split_first()?;
        let fraction = clock.iter().position(|octet| matches!(octet, b'.' | b','));
        let (clock, fraction) = clock.split_at(fraction.unwrap_or(clock.len()));
        let ((hours, minutes, seconds), parts) = split_clock(clock)?;
        if hours > 23 || minutes > 59 || seconds > 59 || (!fraction.is_empty() && parts < 3) {
            return None;
        }
        fraction_nanos(fraction)?;
        let offset = i64::from(hours * 3600 + minutes * 60 + seconds);
        let local = Timestamp::from(self);
        let secs = match sign {
            b'+' => local.secs() - offset,
            b'-' => local.secs() + offset,
            _ => return None,
        };
        (FIRST_SECOND..=LAST_SECOND)
            .contains(&secs)
            .then(|| Self::from(Timestamp::new(secs, local.nanos())))
    }

    /// `YYYY-MM-DD HH:MM:SS`.
    pub(crate) fn record(self) -> [u8; 19] {
        let mut text = *b"0000-00-00 00:00:00";
        put(&mut text, 0, self.year / 100);
        put(&mut text, 2, self.year % 100);
        put(&mut text, 5, self.month);
        put(&mut text, 8, self.day);
        put(&mut text, 11, self.hour);
        put(&mut text, 14, self.minute);
        put(&mut text, 17, self.second);
        text
    }

    /// `YYYY-MM-DDTHH:MM:SS.ffffffZ`.
    pub(crate) fn rfc3339(self) -> [u8; 27] {
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        text[..10].copy_from_slice(&self.record()[..10]);
        text[11..19].copy_from_slice(&self.record()[11..]);
        let micros = self.nanos / 1000;
        put(&mut text, 20, micros / 10_000);
        put(&mut text, 22, micros / 100 % 100);
        put(&mut text, 24, micros % 100);
        text
    }
}

impl From<Civil> for Timestamp {
    fn from(civil: Civil) -> Self {
        let days = days_from_civil(civil.year, civil.month, civil.day);
        let clock = civil.hour * 3600 + civil.minute * 60 + civil.second;
        Self::new(days * 86_400 + i64::from(clock), civil.nanos)
    }
}

impl From<Timestamp> for Civil {
    fn from(timestamp: Timestamp) -> Self {
        let secs = timestamp.secs().clamp(FIRST_SECOND, LAST_SECOND);
        let (days, clock) = (secs.div_euclid(86_400), secs.rem_euclid(86_400) as u32);
        // Days are counted from 1 March of year 0, so that the leap day is the last of its year.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097) as u32;
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        let year = era * 400 + i64::from(year_of_era) + i64::from(month <= 2);
        Self {
            year: year as u32,
            month,
            day,
            hour: clock / 3600,
            minute: clock / 60 % 60,
            second: clock % 60,
            nanos: timestamp.nanos(),
        }
    }
}

/// The last day of the month, 28 to 31.
pub(crate) const fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01.
fn days_from_civil(year: u32, month: u32, day: u32) -> i64 {
    let shifted_year = i64::from(year) - i64::from(month <= 2);
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year.rem_euclid(400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = i64::from((153 * shifted_month + 2) / 5 + day - 1);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month, day.
type Date = (u32, u32, u32);

/// The date at the front of a text that is not in the usual form, and the rest.
fn split_date(text: &[u8]) -> Option<(Date, &[u8])> {
    let year = pair(text, 0)? * 100 + pair(text, 2)?;
    let dash = usize::from(text.get(4) == Some(&b'-'));
    if text.get(4 + dash) == Some(&b'W') {
        return split_week_date(text, year, dash == 1);
    }
    let day = 6 + 2 * dash;
    if dash == 1 && text.get(7) != Some(&b'-') {
        return None;
    }
    Some((
        (year, pair(text, 4 + dash)?, pair(text, day)?),
        &text[day + 2..],
    ))
}

/// ISO 8601 week dates: `2026-W25`, `2026-W25-6`, `2026W25`, `2026W256`; Monday if no day is given.
fn split_week_date(text: &[u8], year: u32, dashed: bool) -> Option<(Date, &[u8])> {
    let at = if dashed { 6 } else { 5 };
    let week = pair(text, at)?;
    let after = &text[at + 2..];
    let (weekday, rest) = match (dashed, after) {
        (true, [b'-', day @ b'1'..=b'7', rest @ ..])
            if !rest.first().is_some_and(u8::is_ascii_digit) =>
        {
            (u32::from(day - b'0'), rest)
        }
        (false, [day @ b'1'..=b'7', rest @ ..]) => (u32::from(day - b'0'), rest),
        _ => (1, after),
    };
    // Week 1 is the one with 4 January in it; 1970-01-01 was a Thursday.
    let fourth = days_from_civil(year, 1, 4);
    let monday = fourth - (fourth + 3).rem_euclid(7);
    let next_fourth = days_from_civil(year + 1, 1, 4);
    let next_monday = next_fourth - (next_fourth + 3).rem_euclid(7);
    let day = monday + i64::from(week) * 7 - 7 + i64::from(weekday) - 1;
    if week == 0 || day >= next_monday {
        return None;
    }
    let civil = Civil::from(Timestamp::new(day * 86_400, 0));
    Some(((civil.year, civil.month, civil.day), rest))
}

/// `hh`, `hh:mm`, `hhmm`, `hh:mm:ss` or `hhmmss`, and how many parts there were.
fn split_clock(text: &[u8]) -> Option<((u32, u32, u32), u8)> {
    let colon = |at: usize| text.get(at) == Some(&b':');
    match text.len() {
        2 => Some(((pair(text, 0)?, 0, 0), 1)),
        4 => Some(((pair(text, 0)?, pair(text, 2)?, 0), 2)),
        5 if colon(2) => Some(((pair(text, 0)?, pair(text, 3)?, 0), 2)),
        6 => Some(((pair(text, 0)?, pair(text, 2)?, pair(text, 4)?), 3)),
        8 if colon(2) && colon(5) => Some(((pair(text, 0)?, pair(text, 3)?, pair(text, 6)?), 3)),
        _ => None,
    }
}

/// `.` or `,` and digits (none will do), as nanoseconds, cut at the ninth; nothing at all is zero.
#[inline]
fn fraction_nanos(text: &[u8]) -> Option<u32> {
    let Some((_point, digits)) = text.split_first() else {
        return Some(0);
    };
    let (mut nanos, mut unit) = (0, 100_000_000);
    for octet in digits {
        if !octet.is_ascii_digit() {
            return None;
        }
        nanos += u32::from(octet - b'0') * unit;
        unit /= 10;
    }
    Some(nanos)
}

/// `.` and exactly six digits as nanoseconds, and what follows.
#[inline]
fn six_digits(text: &[u8]) -> Option<(u32, &[u8])> {
    let after = text.strip_prefix(b".")?;
    let micros = pair(after, 0)? * 10_000 + pair(after, 2)? * 100 + pair(after, 4)?;
    let rest = &after[6..];
    let ends = !rest.first().is_some_and(u8::is_ascii_digit);
    ends.then_some((micros * 1000, rest))
}

/// Two digits.
#[inline]
fn pair(text: &[u8], at: usize) -> Option<u32> {
    let [high, low] = *text.get(at..)?.first_chunk()?;
    let (high, low) = (high.wrapping_sub(b'0'), low.wrapping_sub(b'0'));
    (high < 10 && low < 10).then(|| u32::from(high) * 10 + u32::from(low))
}

fn put(text: &mut [u8], at: usize, value: u32) {
    text[at] = b'0' + (value / 10) as u8;
    text[at + 1] = b'0' + (value % 10) as u8;
}

/// 0000-01-01T00:00:00Z and 9999-12-31T23:59:59Z: what four digits of a year can show.
const FIRST_SECOND: i64 = -62_167_219_200;
const LAST_SECOND: i64 = 253_402_300_799;
