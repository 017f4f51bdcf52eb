//! Log lines that would repeat: one a period, with the number of those left out.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Lets one event per key and period through. Bounded: when more than its limit of keys are live, those whose
/// period is over are forgotten, and if that is not enough a new key is not told from the rest.
#[derive(Debug)]
pub struct Seldom<K = ()> {
    period: Duration,
    seen: Mutex<HashMap<K, (Instant, u64)>>,
    overflow: Mutex<Option<(Instant, u64)>>,
}

/// Most keys that are told apart.
const MAX_KEYS: usize = 1024;

impl<K: Eq + Hash> Seldom<K> {
    /// One event per key every `period`.
    pub fn new(period: Duration) -> Self {
        Self {
            period,
            seen: Mutex::default(),
            overflow: Mutex::default(),
        }
    }

    /// `Some(left out since the last time)` when the event should be logged.
    pub fn allow(&self, key: K, now: Instant) -> Option<u64> {
        let mut seen = self.seen.lock().unwrap_or_else(|held| held.into_inner());
        if seen.len() >= MAX_KEYS && !seen.contains_key(&key) {
            seen.retain(|_, (at, _)| now.saturating_duration_since(*at) < self.period);
        }
        if seen.len() >= MAX_KEYS && !seen.contains_key(&key) {
            drop(seen);
            let mut overflow = self
                .overflow
                .lock()
                .unwrap_or_else(|held| held.into_inner());
            let slot = overflow.get_or_insert((now, 0));
            return self.slot(slot, now);
        }
        match seen.get_mut(&key) {
            Some(slot) => self.slot(slot, now),
            None => {
                seen.insert(key, (now, 0));
                Some(0)
            }
        }
    }

    fn slot(&self, slot: &mut (Instant, u64), now: Instant) -> Option<u64> {
        if now.saturating_duration_since(slot.0) < self.period {
            slot.1 += 1;
            return None;
        }
        slot.0 = now;
        Some(std::mem::take(&mut slot.1))
    }
}

#[cfg(test)]
mod tests;
