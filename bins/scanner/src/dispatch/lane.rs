//! One trigger's queue as the loop keeps it in mind, and what an attempt does to it. Pure.

use std::time::Duration;

use webhook::Outcome;

use super::flood::Flood;
use super::queue::{Attempt, Health, Verdict, Waiting};
use super::schedule::{Next, Schedule};
use super::sender::Sent;

/// A trigger's queue.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) flood: Flood,
    pub(crate) health: Health,
    pub(crate) waiting: u64,
    pub(crate) head: Head,
    /// The webhook that is being sent.
    pub(crate) flying: Option<i64>,
    /// The task that does so.
    pub(crate) task: Option<tokio::task::Id>,
    /// Why its filter cannot be asked.
    pub(crate) broken: Option<String>,
}

/// The webhook whose turn it is; those behind it wait for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Head {
    Unknown,
    Nobody,
    Known(Waiting),
}

/// What an attempt led to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settled {
    pub(crate) attempt: Attempt,
    pub(crate) health: Health,
}

/// Says what becomes of a webhook and its trigger. `unit` is random within 0 and 1.
pub(crate) fn settle(
    waiting: &Waiting,
    sent: &Sent,
    health: &Health,
    schedule: &Schedule,
    now_ms: i64,
    unit: f64,
) -> Settled {
    let rejected = sent.outcome == Outcome::Rejected;
    let next = schedule.next(
        sent.outcome,
        waiting.attempts.saturating_add(1),
        waiting.rejected.saturating_add(rejected.into()),
        unit,
    );
    let said = match (&sent.error, sent.status) {
        (Some(error), _) => Some(error.clone()),
        (None, Some(status)) if next != Next::Delivered => Some(format!("answered {status}")),
        (None, _) => None,
    };
    let (verdict, error) = match next {
        Next::Delivered => (Verdict::Delivered, None),
        Next::Again(wait) => (
            Verdict::Again(now_ms.saturating_add(millis(wait))),
            said.clone(),
        ),
        Next::Gone => (Verdict::Dead, said.clone()),
        Next::Dead("refused") => (Verdict::Dead, said.clone()),
        Next::Dead(why) => {
            let said = said.as_deref().unwrap_or("no answer");
            (Verdict::Dead, Some(format!("{why}: {said}")))
        }
    };
    let mut health = Health {
        last_ms: Some(now_ms),
        last_status: sent.status,
        last_error: said,
        ..health.clone()
    };
    if next == Next::Delivered {
        health.failing_since_ms = None;
        health.failures = 0;
        health.disabled = None;
    } else {
        let since_ms = *health.failing_since_ms.get_or_insert(now_ms);
        health.failures = health.failures.saturating_add(1);
        if next == Next::Gone {
            health.disabled = Some("the receiver answered 410, it is gone".to_owned());
        } else if health.disabled.is_none() && now_ms.saturating_sub(since_ms) >= millis(PATIENCE) {
            let days = PATIENCE.as_secs() / (24 * 3600);
            health.disabled = Some(format!("nothing arrived for {days} days"));
        }
    }
    let attempt = Attempt {
        id: waiting.id,
        at_ms: now_ms,
        rejected,
        verdict,
        status: sent.status,
        error,
    };
    Settled { attempt, health }
}

/// How long a trigger may have nothing but failures before it is disabled.
const PATIENCE: Duration = Duration::from_secs(5 * 24 * 3600);

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// A mark by which a changed URL is known again (FNV-1a); it does not show the URL.
pub(crate) fn url_mark(url: &str) -> i64 {
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    url.bytes().fold(0xcbf2_9ce4_8422_2325, step) as i64
}

#[cfg(test)]
mod tests;
