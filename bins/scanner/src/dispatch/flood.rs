//! How many webhooks a trigger sends: events that come too fast are folded into one that still waits. Timed state:
//! every call is told the time, in Unix milliseconds.

use std::time::Duration;

/// A trigger's token bucket, and the webhook that takes further events in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Flood {
    tokens: f64,
    filled_ms: i64,
    open: Option<Open>,
}

/// A webhook that is not sent yet and takes further events in until then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Open {
    /// Its event.
    pub(crate) event: String,
    /// When it is due.
    pub(crate) until_ms: i64,
}

/// What an event becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A webhook of its own, due at this time.
    New(i64),
    /// One more in the webhook of this event.
    Fold(String),
}

/// What an operator allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Webhooks a minute, and at once after a quiet minute.
    pub(crate) per_minute: u32,
    /// How long an event waits for others.
    pub(crate) group_wait: Duration,
}

impl Flood {
    /// A full bucket, and the webhook that was open when the program ended.
    pub(crate) fn new(open: Option<Open>) -> Self {
        Self {
            tokens: f64::INFINITY,
            filled_ms: 0,
            open,
        }
    }

    /// Finds the place of an event.
    pub(crate) fn place(&mut self, event: &str, pace: Pace, now_ms: i64) -> Place {
        // A clock that was set back far would keep it open for long: then it is closed.
        let longest = millis(pace.group_wait).saturating_add(MINUTE_MS);
        if let Some(open) = &self.open
            && now_ms < open.until_ms
            && open.until_ms - now_ms <= longest
        {
            return Place::Fold(open.event.clone());
        }
        let due_ms = now_ms
            + self
                .take(pace.per_minute, now_ms)
                .max(millis(pace.group_wait));
        self.open = (due_ms > now_ms).then(|| Open {
            event: event.to_owned(),
            until_ms: due_ms,
        });
        Place::New(due_ms)
    }

    /// Takes a token, in advance if there is none, and tells how long until it is really there.
    fn take(&mut self, per_minute: u32, now_ms: i64) -> i64 {
        let burst = f64::from(per_minute.max(1));
        let per_ms = burst / MINUTE_MS as f64;
        let elapsed = now_ms.saturating_sub(self.filled_ms).max(0);
        self.filled_ms = now_ms;
        self.tokens = (self.tokens + elapsed as f64 * per_ms).min(burst) - 1.0;
        (-self.tokens / per_ms).ceil().max(0.0) as i64
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

const MINUTE_MS: i64 = 60_000;

#[cfg(test)]
mod tests;
