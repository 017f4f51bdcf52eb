//! What was lost on the way in, gathered until it is told to the ledger: bad senders can't fill it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::source::{Cause, Gap};

/// The losses of one transport; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Losses {
    causes: Arc<Mutex<BTreeMap<Cause, Account>>>,
}

#[derive(Debug, Default)]
struct Account {
    /// Not told yet.
    pending: Option<Gap>,
    told: Option<Instant>,
}

impl Losses {
    /// Enters a loss that was noticed at `now_ns`.
    pub(super) fn add(&self, cause: Cause, lines: u64, bytes: Option<u64>, now_ns: i64) {
        let mut causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
        let gap = causes.entry(cause).or_default().pending.get_or_insert(Gap {
            stream: None,
            from_ns: Some(now_ns),
            to_ns: None,
            bytes: bytes.map(|_| 0),
            lines: Some(0),
            cause,
        });
        gap.to_ns = Some(now_ns);
        gap.lines = gap.lines.map(|known| known + lines);
        gap.bytes = gap.bytes.zip(bytes).map(|(known, more)| known + more);
    }

    /// Takes what is to be told: each cause at once, and then at most once a minute, or what there is if it is the end.
    pub(super) fn due(&self, now: Instant, end: bool) -> Vec<Gap> {
        let mut causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
        let due = causes.values_mut().filter_map(|account| {
            let rests = account.told.is_some_and(|told| now < told + EVERY);
            if rests && !end {
                return None;
            }
            let gap = account.pending.take()?;
            account.told = Some(now);
            Some(gap)
        });
        due.collect()
    }

    /// Takes back what could not be told.
    pub(super) fn again(&self, gaps: Vec<Gap>) {
        let mut causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
        for gap in gaps {
            let account = causes.entry(gap.cause).or_default();
            account.told = None;
            let newer = account.pending.replace(gap);
            if let (Some(newer), Some(held)) = (newer, &mut account.pending) {
                held.to_ns = newer.to_ns;
                held.lines = held.lines.zip(newer.lines).map(|(a, b)| a + b);
                held.bytes = held.bytes.zip(newer.bytes).map(|(a, b)| a + b);
            }
        }
    }
}

/// Time between two ledger lines of one cause.
const EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
