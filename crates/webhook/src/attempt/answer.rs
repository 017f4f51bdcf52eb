//! What an answer means for the message.

use std::time::Duration;

use hyper::StatusCode;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// What to do after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It arrived (2xx).
    Delivered,
    /// Try again as often as the schedule says: network errors, timeouts, 408, 425, 429, 5xx.
    Retry {
        /// What the receiver asked for on 429 or 503, at most an hour.
        after: Option<Duration>,
    },
    /// The receiver does not take it; a few attempts will do: redirects, other 4xx, what is no final status.
    Rejected,
    /// The receiver is no more (410): send nothing else to it.
    Gone,
    /// The guard refused; another attempt needs an operator.
    Dead,
}

/// Longest wait that a receiver may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// 3xx is no delivery: it is not followed, and the place that it names was not checked.
pub(super) fn verdict(status: StatusCode, after: Option<Duration>) -> Outcome {
    match status.as_u16() {
        200..=299 => Outcome::Delivered,
        410 => Outcome::Gone,
        408 | 425 | 429 | 500..=599 => Outcome::Retry { after },
        _ => Outcome::Rejected,
    }
}

/// `Retry-After` (RFC 9110 §10.2.3): seconds, or a date in one of the three forms of §5.6.7. `now` in seconds since
/// 1970. A date that has passed means now.
pub(super) fn retry_after(value: &[u8], now: u64) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let seconds = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than a u64 holds are more than the cap.
        text.parse().unwrap_or(u64::MAX)
    } else {
        u64::try_from(http_date(text)?.saturating_sub_unsigned(now)).unwrap_or(0)
    };
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

/// Seconds since 1970.
fn http_date(text: &str) -> Option<i64> {
    let forms = [
        "%a, %d %b %Y %H:%M:%S GMT",
        "%A, %d-%b-%y %H:%M:%S GMT",
        "%a %b %e %H:%M:%S %Y",
    ];
    let time = forms
        .into_iter()
        .find_map(|form| DateTime::strptime(form, text).ok())?;
    Some(TimeZone::UTC.to_timestamp(time).ok()?.as_second())
}

#[cfg(test)]
mod tests;
