//! RFC 3339 time stamps as Docker and Podman write them, to unix nanoseconds.

/// Parses stamps and remembers the last day, which a log seldom changes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stamps {
    date: [u8; 10],
    seconds: i64,
}

impl Stamps {
    /// Parses `YYYY-MM-DDTHH:MM:SS[.fraction](Z|±HH:MM)` into unix nanoseconds; digits after the ninth are dropped.
    ///
    /// `None` for anything else, and for years outside 1678 … 2261, which 64 bits can't hold. A second 60 counts as
    /// the next minute's first.
    pub fn parse(&mut self, text: &[u8]) -> Option<i64> {
        let (date, rest) = text.split_first_chunk::<10>()?;
        let (clock, mut rest) = rest.split_first_chunk::<9>()?;
        if *date != self.date {
            self.seconds = day_seconds(date)?;
            self.date = *date;
        }
        if !matches!(clock[0], b'T' | b't' | b' ') || clock[3] != b':' || clock[6] != b':' {
            return None;
        }
        let (hour, minute, second) = (two(clock, 1)?, two(clock, 4)?, two(clock, 7)?);
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let mut nanos = 0;
        if let [b'.' | b',', fraction @ ..] = rest {
            let digits = fraction
                .iter()
                .take_while(|octet| octet.is_ascii_digit())
                .count();
            if digits == 0 {
                return None;
            }
            let mut unit = 100_000_000;
            for digit in &fraction[..digits.min(9)] {
                nanos += i64::from(digit - b'0') * unit;
                unit /= 10;
            }
            rest = &fraction[digits..];
        }
        let offset = offset_seconds(rest)?;
        let seconds = self.seconds + hour * 3600 + minute * 60 + second - offset;
        seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
    }
}

/// Parses one stamp; see [`Stamps::parse`].
pub fn parse_stamp(text: &[u8]) -> Option<i64> {
    Stamps::default().parse(text)
}

fn two(text: &[u8], at: usize) -> Option<i64> {
    let (tens, ones) = (text[at].wrapping_sub(b'0'), text[at + 1].wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| i64::from(tens * 10 + ones))
}

/// Seconds from 1970 to the start of a proleptic Gregorian day.
fn day_seconds(date: &[u8; 10]) -> Option<i64> {
    if date[4] != b'-' || date[7] != b'-' {
        return None;
    }
    let year = two(date, 0)? * 100 + two(date, 2)?;
    let (month, day) = (two(date, 5)?, two(date, 8)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    if day < 1 || day > longest {
        return None;
    }
    // Years begin in March here, so that the leap day is the last of its year.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let of_era = shifted.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * 86_400)
}

fn offset_seconds(text: &[u8]) -> Option<i64> {
    match text {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), zone @ ..] if zone.len() == 5 && zone[2] == b':' => {
            let (hour, minute) = (two(zone, 0)?, two(zone, 3)?);
            if hour > 23 || minute > 59 {
                return None;
            }
            let seconds = hour * 3600 + minute * 60;
            Some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
