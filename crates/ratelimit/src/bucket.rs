//! A token bucket: a rate, and a burst that may be saved up.

use std::time::{Duration, Instant};

/// Grants `rate` tokens a second and saves up at most `burst` of them.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    rate: f64,
    burst: f64,
    tokens: f64,
    filled: Instant,
}

impl TokenBucket {
    /// Makes a full bucket. Both figures are taken as at least 1.
    pub fn new(rate: u64, burst: u64, now: Instant) -> Self {
        let burst = burst.max(1) as f64;
        Self {
            rate: rate.max(1) as f64,
            burst,
            tokens: burst,
            filled: now,
        }
    }

    /// Takes `count` tokens, or takes none and tells how long to wait before asking again.
    ///
    /// More than a burst at once is granted when the bucket is full and leaves it in debt, so that one item larger
    /// than the burst is delayed, not refused for ever.
    ///
    /// # Errors
    ///
    /// The wait until the bucket will hold what is needed. `now` may be anything: time that goes back counts as none.
    pub fn take(&mut self, count: u64, now: Instant) -> Result<(), Duration> {
        let elapsed = now.saturating_duration_since(self.filled);
        self.filled = self.filled.max(now);
        self.tokens = (self.tokens + elapsed.as_secs_f64() * self.rate).min(self.burst);
        let needed = (count as f64).min(self.burst);
        if self.tokens >= needed {
            self.tokens -= count as f64;
            return Ok(());
        }
        // A microsecond more than computed, so that rounding does not ask for another turn.
        let wait = (needed - self.tokens) / self.rate;
        Err(Duration::try_from_secs_f64(wait)
            .unwrap_or(Duration::MAX)
            .saturating_add(Duration::from_micros(1)))
    }
}

#[cfg(test)]
mod tests;
