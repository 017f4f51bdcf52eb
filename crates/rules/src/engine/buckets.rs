//! The token buckets of containers, bounded.

use std::{collections::HashMap, sync::Arc, time::Instant};

use ratelimit::Gcra;

use super::Limits;

/// A bucket for each container that caused an event lately. One that is not here is full.
#[derive(Debug)]
pub(super) struct Buckets {
    limits: Limits,
    buckets: HashMap<Arc<str>, Bucket>,
    /// Whether anybody asks for changes.
    tracked: bool,
    dirty: Vec<Arc<str>>,
    gone: Vec<Arc<str>>,
    /// More is gone than `gone` holds.
    overflown: bool,
}

#[derive(Debug)]
struct Bucket {
    level: Gcra,
    dirty: bool,
}

/// What is to be stored.
#[derive(Debug, Default)]
pub(super) struct Changed {
    /// The containers with when their buckets will be full.
    pub(super) changed: Vec<(Arc<str>, Instant)>,
    /// Those that have none any more.
    pub(super) gone: Vec<Arc<str>>,
}

impl Buckets {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            limits: limits.clone(),
            buckets: HashMap::new(),
            tracked: false,
            dirty: Vec::new(),
            gone: Vec::new(),
            overflown: false,
        }
    }

    /// Whether the container may cause an event.
    pub(super) fn ready(&self, now: Instant, container: &str) -> bool {
        let bucket = self.buckets.get(container);
        bucket.is_none_or(|bucket| bucket.level.ready(now))
    }

    /// Takes a token. Gives how many buckets were forgotten for it before they were full.
    pub(super) fn take(&mut self, now: Instant, container: &str) -> u64 {
        let evicted = self.room(now, container);
        let bucket = self.bucket(now, container);
        bucket.level.take(now);
        if self.tracked && !std::mem::replace(&mut self.bucket(now, container).dirty, true) {
            self.dirty.push(container.into());
        }
        evicted
    }

    /// Puts back a bucket that will be full at `full_at`.
    pub(super) fn restore(&mut self, now: Instant, container: &str, full_at: Instant) {
        self.room(now, container);
        let level = Gcra::full_at(self.limits.burst, self.limits.refill, full_at);
        self.bucket(now, container).level = level;
    }

    /// Buckets held.
    pub(super) fn len(&self) -> usize {
        self.buckets.len()
    }

    /// The longest time that a bucket takes to be full.
    pub(super) fn longest(&self) -> std::time::Duration {
        self.limits.refill.saturating_mul(self.limits.burst)
    }

    /// Whether only everything will do: nobody asked before, or more is gone than was remembered.
    pub(super) fn wants_all(&self) -> bool {
        !self.tracked || self.overflown
    }

    /// The buckets that changed since this was asked last, with when they will be full, and those that are gone since;
    /// or all that there are.
    pub(super) fn changes(&mut self, all: bool) -> Changed {
        (self.tracked, self.overflown) = (true, false);
        if all {
            self.gone.clear();
            self.dirty = self.buckets.keys().cloned().collect();
            self.dirty.sort_unstable();
        }
        let gone = std::mem::take(&mut self.gone);
        let mut changed = Vec::with_capacity(self.dirty.len());
        for container in std::mem::take(&mut self.dirty) {
            if let Some(bucket) = self.buckets.get_mut(&container) {
                bucket.dirty = false;
                changed.push((container, bucket.level.is_full_at()));
            }
        }
        Changed { changed, gone }
    }

    fn bucket(&mut self, now: Instant, container: &str) -> &mut Bucket {
        let (burst, refill) = (self.limits.burst, self.limits.refill);
        self.buckets
            .entry(container.into())
            .or_insert_with(|| Bucket {
                level: Gcra::new(burst, refill, now),
                dirty: false,
            })
    }

    /// Makes room for the container: full buckets go first, as they mean nothing; then the one that is full soonest.
    fn room(&mut self, now: Instant, container: &str) -> u64 {
        let most = self.limits.max_containers.max(1);
        if self.buckets.len() < most || self.buckets.contains_key(container) {
            return 0;
        }
        let mut order: Vec<(Instant, Arc<str>)> = self
            .buckets
            .iter()
            .map(|(container, bucket)| (bucket.level.is_full_at(), Arc::clone(container)))
            .collect();
        order.sort_unstable();
        let full = order.partition_point(|(full_at, _)| *full_at <= now);
        for (_, container) in &order[..full.max(1)] {
            self.buckets.remove(container);
            if self.gone.len() >= most {
                self.overflown = true;
                self.gone.clear();
            }
            if self.tracked && !self.overflown {
                self.gone.push(Arc::clone(container));
            }
        }
        u64::from(full == 0)
    }
}
