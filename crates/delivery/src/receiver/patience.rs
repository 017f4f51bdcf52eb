//! How long a peer may take, not counting the time in which nothing is read from it.

use std::time::{Duration, Instant};

/// One deadline that stands still while nothing is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    what: &'static str,
    end: Instant,
    paused: Option<Instant>,
}

impl Patience {
    pub(super) fn new(what: &'static str, limit: Duration, now: Instant) -> Self {
        Self {
            what,
            end: now + limit,
            paused: None,
        }
    }

    /// From now on, something else.
    pub(super) fn arm(&mut self, what: &'static str, limit: Duration, now: Instant) {
        self.what = what;
        self.end = self.paused.unwrap_or(now) + limit;
    }

    pub(super) fn pause(&mut self, now: Instant) {
        self.paused.get_or_insert(now);
    }

    pub(super) fn go_on(&mut self, now: Instant) {
        if let Some(since) = self.paused.take() {
            self.end += now.saturating_duration_since(since);
        }
    }

    pub(super) fn end(&self) -> Option<Instant> {
        self.paused.is_none().then_some(self.end)
    }

    /// What took too long.
    pub(super) fn late(&self, now: Instant) -> Option<&'static str> {
        (self.paused.is_none() && now >= self.end).then_some(self.what)
    }
}
