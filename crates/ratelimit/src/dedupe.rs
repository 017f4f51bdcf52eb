//! Lets one event of a kind pass per window.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// Kinds remembered at once, unless told otherwise: DECNET's limit.
pub const MAX_KEYS: usize = 10_000;

/// Lets one event per window pass for each (address, decky, service, event type), for the event types it is told.
///
/// The window starts at the last event that *passed*, so that an endless burst still shows once per window. The clock
/// is the caller's and only differences count, in either direction: with the time of the event itself a backlog is
/// judged as it would have been live, whatever order the sources are read in. Memory is bounded: when a new kind comes
/// and all places are taken, the kind that has not passed for longest is forgotten.
#[derive(Debug)]
pub struct Dedupe {
    window_ns: u64,
    max_keys: usize,
    events: Vec<Box<str>>,
    suppressed: Vec<u64>,
    evicted: u64,
    /// When an event of a kind passed last, and its place in `order`. A kind is known by 128 bits of two hashes whose
    /// keys nobody outside knows.
    passed: HashMap<u128, (i64, u64)>,
    /// The kinds in the order in which they passed.
    order: BTreeMap<u64, u128>,
    turn: u64,
    seeds: [RandomState; 2],
}

impl Dedupe {
    /// Makes a filter for these event types. A zero window lets everything pass; at least one key is remembered.
    pub fn new<E: Into<Box<str>>>(
        window: Duration,
        events: impl IntoIterator<Item = E>,
        max_keys: usize,
    ) -> Self {
        let events: Vec<Box<str>> = events.into_iter().map(Into::into).collect();
        Self {
            window_ns: u64::try_from(window.as_nanos()).unwrap_or(u64::MAX),
            max_keys: max_keys.max(1),
            suppressed: vec![0; events.len()],
            events,
            evicted: 0,
            passed: HashMap::new(),
            order: BTreeMap::new(),
            turn: 0,
            seeds: [RandomState::new(), RandomState::new()],
        }
    }

    /// Tells whether this event passes, and counts it if it does not. `now_ns` is in nanoseconds of any one clock.
    pub fn allow(
        &mut self,
        now_ns: i64,
        ip: &[u8],
        decky: &[u8],
        service: &[u8],
        event: &[u8],
    ) -> bool {
        let Some(kind) = self
            .events
            .iter()
            .position(|known| known.as_bytes() == event)
        else {
            return true;
        };
        if self.window_ns == 0 {
            return true;
        }
        let seen = (ip, decky, service, event);
        let [high, low] = [0, 1].map(|seed: usize| u128::from(self.seeds[seed].hash_one(seen)));
        let key = high << 64 | low;
        if let Some((last_ns, turn)) = self.passed.get(&key).copied() {
            if now_ns.abs_diff(last_ns) < self.window_ns {
                self.suppressed[kind] += 1;
                return false;
            }
            self.order.remove(&turn);
        } else if self.passed.len() >= self.max_keys {
            self.forget(now_ns);
        }
        self.turn += 1;
        self.passed.insert(key, (now_ns, self.turn));
        self.order.insert(self.turn, key);
        true
    }

    /// Goes over the event types with how many of each were suppressed.
    pub fn suppressed(&self) -> impl Iterator<Item = (&str, u64)> {
        self.events
            .iter()
            .map(|event| &**event)
            .zip(self.suppressed.iter().copied())
    }

    /// Counts all suppressed events.
    pub fn suppressed_total(&self) -> u64 {
        self.suppressed.iter().sum()
    }

    /// Counts the kinds forgotten within their window for want of room: their next event passes too early.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Counts the kinds remembered.
    pub fn len(&self) -> usize {
        self.passed.len()
    }

    /// Tells whether no kind is remembered.
    pub fn is_empty(&self) -> bool {
        self.passed.is_empty()
    }

    fn forget(&mut self, now_ns: i64) {
        if let Some((_, oldest)) = self.order.pop_first()
            && let Some((last_ns, _)) = self.passed.remove(&oldest)
        {
            self.evicted += u64::from(now_ns.abs_diff(last_ns) < self.window_ns);
        }
    }
}

#[cfg(test)]
mod tests;
