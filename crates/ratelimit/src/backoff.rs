//! Waits that double up to a cap, each cut by chance so that many clients do not come back together.

use std::time::Duration;

use rand::{Rng, RngExt};

/// A wait that doubles with every failure.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    next: Duration,
}

impl Backoff {
    /// Makes a back-off whose first wait is at most `base` and whose longest is `cap`.
    pub fn new(base: Duration, cap: Duration) -> Self {
        let base = base.min(cap);
        Self {
            base,
            cap,
            next: base,
        }
    }

    /// Gives the wait after one more failure: between half and all of base, 2·base, 4·base, … up to the cap.
    pub fn next(&mut self, rng: &mut impl Rng) -> Duration {
        let full = self.next;
        self.next = full.saturating_mul(2).min(self.cap);
        full.mul_f64(rng.random_range(0.5..=1.0))
    }

    /// Starts again from the base: what was tried has worked.
    pub fn reset(&mut self) {
        self.next = self.base;
    }
}

#[cfg(test)]
mod tests;
