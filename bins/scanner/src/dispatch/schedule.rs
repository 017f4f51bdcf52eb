//! When a webhook is tried again, and when it is given up. Pure: randomness comes in as an argument.

use std::time::Duration;

use webhook::Outcome;

/// The waits before the attempts of one webhook, the first included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schedule(Vec<Duration>);

/// What happens to a webhook after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// It arrived.
    Delivered,
    /// It is tried again after so long.
    Again(Duration),
    /// It is given up, for this reason.
    Dead(&'static str),
    /// So is everything else for this receiver.
    Gone,
}

impl Schedule {
    /// Makes a schedule of the waits before the second attempt and those after it.
    pub(crate) fn new(waits: Vec<Duration>) -> Self {
        Self(waits)
    }

    /// What to do when `attempts` were made, of which `rejected` were answered by a refusal; `unit` is random within
    /// 0 and 1.
    pub(crate) fn next(&self, outcome: Outcome, attempts: u32, rejected: u32, unit: f64) -> Next {
        let asked = match outcome {
            Outcome::Delivered => return Next::Delivered,
            Outcome::Gone => return Next::Gone,
            Outcome::Dead => return Next::Dead("refused"),
            Outcome::Rejected if rejected >= MAX_REJECTED => {
                return Next::Dead("rejected by the receiver");
            }
            Outcome::Rejected => None,
            Outcome::Retry { after } => after,
        };
        let at = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        let Some(wait) = self.0.get(at) else {
            return Next::Dead("no attempt is left");
        };
        let jittered = wait.mul_f64(1.0 - JITTER + 2.0 * JITTER * unit.clamp(0.0, 1.0));
        Next::Again(jittered.max(asked.unwrap_or_default()))
    }

    /// The longest wait that can come out of it, or out of a receiver's wish.
    pub(crate) fn longest(&self) -> Duration {
        let own = self.0.iter().max().copied().unwrap_or_default();
        own.mul_f64(1.0 + JITTER).max(Duration::from_secs(3600))
    }
}

impl Default for Schedule {
    /// That of Standard Webhooks: ten attempts in about three days.
    fn default() -> Self {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        let waits = [
            5,
            5 * MINUTE,
            30 * MINUTE,
            2 * HOUR,
            5 * HOUR,
            10 * HOUR,
            14 * HOUR,
            20 * HOUR,
            24 * HOUR,
        ];
        Self(waits.map(Duration::from_secs).to_vec())
    }
}

/// Attempts that a receiver may refuse before a webhook is given up: it will not change its mind about a 404.
const MAX_REJECTED: u32 = 3;

/// Waits vary by a fifth, so that what failed together does not come back together.
const JITTER: f64 = 0.2;

#[cfg(test)]
mod tests;
