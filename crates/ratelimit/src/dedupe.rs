//! Lets one event of a kind pass per window.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

/// Kinds remembered at once, unless told otherwise: DECNET's limit.
pub const MAX_KEYS: usize = 10_000;

/// Lets one event per window pass for each (address, decky, service, event type), for the event types it is told.
///
/// The window starts at the last event that *passed*, so that an endless burst still shows once per window. Memory is
/// bounded: when all remembered kinds are within their windows and a new one comes, the oldest is forgotten (and
/// counted), which can only let an event pass too early.
#[derive(Debug)]
pub struct Dedupe {
    window: Duration,
    max_keys: usize,
    events: Vec<Box<str>>,
    suppressed: Vec<u64>,
    evicted: u64,
    /// When the last event of a kind passed. A kind is known by 128 bits under keys that nobody outside knows.
    passed: HashMap<u128, Instant>,
    /// The same in order of time; every kind is in it once.
    order: VecDeque<(Instant, u128)>,
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
            window,
            max_keys: max_keys.max(1),
            suppressed: vec![0; events.len()],
            events,
            evicted: 0,
            passed: HashMap::new(),
            order: VecDeque::new(),
            seeds: [RandomState::new(), RandomState::new()],
        }
    }

    /// Tells whether this event passes, and counts it if it does not. `now` must not go back.
    pub fn allow(
        &mut self,
        now: Instant,
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
        if self.window.is_zero() {
            return true;
        }
        self.expire(now);
        let seen = (ip, decky, service, event);
        let [high, low] = [0, 1].map(|seed: usize| u128::from(self.seeds[seed].hash_one(seen)));
        let key = high << 64 | low;
        if self.passed.contains_key(&key) {
            self.suppressed[kind] += 1;
            return false;
        }
        if self.passed.len() >= self.max_keys
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.passed.remove(&oldest);
            self.evicted += 1;
        }
        self.passed.insert(key, now);
        self.order.push_back((now, key));
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

    /// Counts the kinds forgotten within their window for want of room.
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

    /// Forgets the kinds whose window is over: each is looked at once, so this costs nothing per event.
    fn expire(&mut self, now: Instant) {
        while let Some((at, key)) = self.order.front()
            && now.saturating_duration_since(*at) >= self.window
        {
            self.passed.remove(key);
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
