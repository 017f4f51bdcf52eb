//! The bounded table of cooldowns and of what was held back.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::Rule;

/// What a key counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Hits held back by a cooldown; the key is what shares it.
    Cooldown,
    /// Hits held back by a bucket; the key is the container.
    Rate,
}

/// A rule as keys know it.
#[derive(Debug)]
pub(super) struct Known {
    /// Stays the same as long as the rule's keys mean the same.
    pub(super) uid: u64,
    pub(super) id: String,
    pub(super) fingerprint: u64,
    /// Unknown if the rule is gone since its keys were stored.
    pub(super) rule: Option<Arc<Rule>>,
}

/// Where a hit happened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) rule: &'a Arc<Known>,
    pub(super) workload: &'a str,
    pub(super) container: &'a str,
}

/// One key.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) rule: Arc<Known>,
    pub(super) scope: Arc<[u8]>,
    pub(super) workload: Arc<str>,
    pub(super) container: Arc<str>,
    /// When the cooldown ends; for a bucket's key, when it was made.
    pub(super) until: Instant,
    pub(super) last: Instant,
    pub(super) quiet: Duration,
    pub(super) suppressed: u64,
    /// When it is looked at next.
    timer: Instant,
    /// Whether it changed since changes were asked for.
    dirty: bool,
}

impl Entry {
    /// A key as it was stored; `[until, last]` are its times, `[workload, container]` its places.
    pub(super) fn stored(
        kind: Kind,
        rule: Arc<Known>,
        scope: Arc<[u8]>,
        [workload, container]: [Arc<str>; 2],
        [until, last]: [Instant; 2],
        quiet: Duration,
        suppressed: u64,
    ) -> Self {
        Self {
            kind,
            rule,
            scope,
            workload,
            container,
            until,
            last,
            quiet,
            suppressed,
            timer: until,
            dirty: false,
        }
    }

    /// When there is nothing left to remember.
    fn ends(&self) -> Instant {
        match self.suppressed {
            0 => self.until,
            _ => later(self.last, self.quiet).max(self.until),
        }
    }
}

/// Keys by what shares them.
type Places = HashMap<Arc<[u8]>, u32>;

/// All keys of all rules.
#[derive(Debug, Default)]
pub(super) struct Keys {
    most: usize,
    slots: Vec<Option<Entry>>,
    free: Vec<u32>,
    /// The keys of each rule, so that one can be found without making an owned key.
    known: HashMap<(u64, Kind), Places>,
    timers: BTreeSet<(Instant, u32)>,
    /// Whether anybody asks for changes.
    tracked: bool,
    dirty: Vec<u32>,
    gone: Vec<Entry>,
    /// More is gone than `gone` holds: whoever asks next is given everything.
    overflown: bool,
}

impl Keys {
    /// A table of at most so many keys; at least one.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: most.clamp(1, u32::MAX as usize),
            ..Self::default()
        }
    }

    /// Counts a hit of a key whose cooldown runs; false if none does.
    pub(super) fn hold_cooldown(&mut self, now: Instant, rule: u64, scope: &[u8]) -> bool {
        match self.find(Kind::Cooldown, rule, scope) {
            Some(at) => {
                let running = self.entry(at).is_some_and(|entry| now < entry.until);
                if running {
                    self.count(at, now);
                }
                running
            }
            None => false,
        }
    }

    /// Counts a hit for which the container's bucket had no token. Gives what had to be forgotten for it.
    pub(super) fn hold_rate(
        &mut self,
        now: Instant,
        place: Place<'_>,
        quiet: Duration,
    ) -> Option<Entry> {
        let scope = place.container.as_bytes();
        let (at, lost) = match self.find(Kind::Rate, place.rule.uid, scope) {
            Some(at) => (at, None),
            None => self.insert(Kind::Rate, place, scope, now, quiet),
        };
        self.count(at, now);
        lost
    }

    /// Starts the cooldown of a key. Gives how many hits its last one held back, and what had to be forgotten for it.
    pub(super) fn arm(
        &mut self,
        now: Instant,
        place: Place<'_>,
        scope: &[u8],
        cooldown: Duration,
    ) -> (u64, Option<Entry>) {
        let known = self.find(Kind::Cooldown, place.rule.uid, scope);
        if cooldown.is_zero() {
            return (known.map_or(0, |at| self.remove(at)), None);
        }
        let (at, lost) = match known {
            Some(at) => (at, None),
            None => self.insert(Kind::Cooldown, place, scope, now, cooldown),
        };
        let (until, mut suppressed) = (later(now, cooldown), 0);
        if let Some(entry) = self.entry_mut(at) {
            suppressed = std::mem::take(&mut entry.suppressed);
            (entry.until, entry.last) = (until, now);
            if &*entry.workload != place.workload {
                entry.workload = place.workload.into();
            }
            if &*entry.container != place.container {
                entry.container = place.container.into();
            }
        }
        self.touch(at);
        (suppressed, lost)
    }

    /// Forgets a key, and gives how many hits were held back.
    pub(super) fn release(&mut self, kind: Kind, rule: u64, scope: &[u8]) -> u64 {
        let known = self.find(kind, rule, scope);
        known.map_or(0, |at| self.remove(at))
    }

    /// Keys held.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// When the table is to be looked at next.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Takes out one key that has come to its end.
    pub(super) fn expired(&mut self, now: Instant) -> Option<Entry> {
        while let Some(&(timer, at)) = self.timers.first()
            && timer <= now
        {
            let ends = self.entry(at).map_or(timer, Entry::ends);
            if ends <= now {
                return self.take(at);
            }
            self.schedule(at, ends);
        }
        None
    }

    /// Takes out every key of a rule.
    pub(super) fn forget_rule(&mut self, rule: u64) -> Vec<Entry> {
        let mut places: Vec<u32> = [Kind::Cooldown, Kind::Rate]
            .into_iter()
            .filter_map(|kind| self.known.remove(&(rule, kind)))
            .flat_map(HashMap::into_values)
            .collect();
        places.sort_unstable();
        places.into_iter().filter_map(|at| self.take(at)).collect()
    }

    /// Puts back a key that was stored. Gives what had to be forgotten for it.
    pub(super) fn restore(&mut self, entry: &Entry) -> Option<Entry> {
        let place = Place {
            rule: &entry.rule,
            workload: &entry.workload,
            container: &entry.container,
        };
        let (at, lost) = match self.find(entry.kind, entry.rule.uid, &entry.scope) {
            Some(at) => (at, None),
            None => self.insert(entry.kind, place, &entry.scope, entry.last, entry.quiet),
        };
        if let Some(known) = self.entry_mut(at) {
            (known.until, known.last) = (entry.until, entry.last);
            known.suppressed = entry.suppressed;
            let ends = known.ends();
            self.schedule(at, ends);
        }
        lost
    }

    /// Whether only everything will do: nobody asked before, or more is gone than was remembered.
    pub(super) fn wants_all(&self) -> bool {
        !self.tracked || self.overflown
    }

    /// The keys that changed since this was asked last, and those that are gone since; or all that there are.
    pub(super) fn changes(&mut self, all: bool) -> (Vec<Entry>, Vec<Entry>) {
        (self.tracked, self.overflown) = (true, false);
        let dirty = std::mem::take(&mut self.dirty);
        let gone = std::mem::take(&mut self.gone);
        if all {
            let entries = self.slots.iter_mut().flatten();
            let changed = entries.map(|entry| {
                entry.dirty = false;
                entry.clone()
            });
            return (changed.collect(), Vec::new());
        }
        let mut changed = Vec::with_capacity(dirty.len());
        for at in dirty {
            if let Some(entry) = self.entry_mut(at)
                && std::mem::take(&mut entry.dirty)
            {
                changed.push(entry.clone());
            }
        }
        (changed, gone)
    }

    fn find(&self, kind: Kind, rule: u64, scope: &[u8]) -> Option<u32> {
        self.known.get(&(rule, kind))?.get(scope).copied()
    }

    fn entry(&self, at: u32) -> Option<&Entry> {
        self.slots.get(at as usize)?.as_ref()
    }

    fn entry_mut(&mut self, at: u32) -> Option<&mut Entry> {
        self.slots.get_mut(at as usize)?.as_mut()
    }

    fn count(&mut self, at: u32, now: Instant) {
        if let Some(entry) = self.entry_mut(at) {
            entry.suppressed += 1;
            entry.last = entry.last.max(now);
        }
        self.touch(at);
    }

    fn touch(&mut self, at: u32) {
        if self.tracked
            && let Some(entry) = self.entry_mut(at)
            && !std::mem::replace(&mut entry.dirty, true)
        {
            self.dirty.push(at);
        }
    }

    fn insert(
        &mut self,
        kind: Kind,
        place: Place<'_>,
        scope: &[u8],
        now: Instant,
        quiet: Duration,
    ) -> (u32, Option<Entry>) {
        let full = self.len() >= self.most;
        // The one that would be forgotten first anyway.
        let first = self.timers.first().map(|(_, at)| *at);
        let lost = first.filter(|_| full).and_then(|at| self.take(at));
        let scope: Arc<[u8]> = scope.into();
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            // Not more than `most`, which fits.
            (self.slots.len() - 1) as u32
        });
        let timer = later(now, quiet);
        self.slots[at as usize] = Some(Entry {
            kind,
            rule: Arc::clone(place.rule),
            scope: Arc::clone(&scope),
            workload: place.workload.into(),
            container: place.container.into(),
            until: now,
            last: now,
            quiet,
            suppressed: 0,
            timer,
            dirty: false,
        });
        self.timers.insert((timer, at));
        self.known
            .entry((place.rule.uid, kind))
            .or_default()
            .insert(scope, at);
        (at, lost)
    }

    fn schedule(&mut self, at: u32, when: Instant) {
        if let Some(entry) = self.slots.get_mut(at as usize).and_then(Option::as_mut) {
            self.timers.remove(&(entry.timer, at));
            entry.timer = when;
            self.timers.insert((when, at));
        }
    }

    fn remove(&mut self, at: u32) -> u64 {
        self.take(at).map_or(0, |entry| entry.suppressed)
    }

    fn take(&mut self, at: u32) -> Option<Entry> {
        let entry = self.slots.get_mut(at as usize)?.take()?;
        self.timers.remove(&(entry.timer, at));
        if let Some(keys) = self.known.get_mut(&(entry.rule.uid, entry.kind)) {
            keys.remove(&entry.scope);
            if keys.is_empty() {
                self.known.remove(&(entry.rule.uid, entry.kind));
            }
        }
        self.free.push(at);
        if self.gone.len() >= self.most {
            self.overflown = true;
            self.gone.clear();
        }
        if self.tracked && !self.overflown {
            self.gone.push(entry.clone());
        }
        Some(entry)
    }
}

fn later(now: Instant, by: Duration) -> Instant {
    now.checked_add(by).unwrap_or(now)
}
