//! A burst, and one more per period: the generic cell rate algorithm.

use std::time::{Duration, Instant};

/// Grants `burst` tokens at once and one more each `period`.
///
/// Counts in whole periods instead of fractions of tokens, so rates below one a second are exact, and the whole state
/// is one point in time, which can be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gcra {
    burst: u32,
    period: Duration,
    full_at: Instant,
}

impl Gcra {
    /// A full bucket. A burst of 0 counts as 1.
    pub fn new(burst: u32, period: Duration, now: Instant) -> Self {
        Self::full_at(burst, period, now)
    }

    /// A bucket that will be full at `full_at`, as [`Gcra::is_full_at`] told of an earlier one. It lacks at most its
    /// burst, however late that is.
    pub fn full_at(burst: u32, period: Duration, full_at: Instant) -> Self {
        Self {
            burst: burst.max(1),
            period,
            full_at,
        }
    }

    /// When the bucket is full if nothing more is taken.
    pub fn is_full_at(&self) -> Instant {
        self.full_at
    }

    /// Whether there is a token.
    pub fn ready(&self, now: Instant) -> bool {
        let missing = self.full_at.saturating_duration_since(now);
        missing <= self.period.saturating_mul(self.burst - 1)
    }

    /// Takes a token, or tells that there is none.
    pub fn take(&mut self, now: Instant) -> bool {
        let ready = self.ready(now);
        if ready {
            let from = self.full_at.max(now);
            self.full_at = from.checked_add(self.period).unwrap_or(from);
        }
        ready
    }
}

#[cfg(test)]
mod tests;
