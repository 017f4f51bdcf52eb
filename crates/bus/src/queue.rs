//! What waits to be published: bounded, the oldest given up first, and shut while nobody would take it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::{
    batch::{Batch, Chunk, Ids},
    metrics::Metrics,
};

/// Most events that wait. DECNET's own client and server keep 1024 a connection; a batch of a busy collector is larger.
pub const MAX_QUEUED_EVENTS: usize = 8192;

/// Most octets that wait: a few events of the largest size.
pub const MAX_QUEUED_OCTETS: usize = 4 << 20;

/// Why an event was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// There is no connection to a bus.
    Absent,
    /// The bus takes nothing.
    Stalled,
    /// The bus takes less than there is: newer events pushed it out.
    Full,
    /// The connection ended in the middle of it, or before it was written.
    Lost,
    /// It is larger than a frame may be.
    Oversize,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Absent,
        Self::Stalled,
        Self::Full,
        Self::Lost,
        Self::Oversize,
    ];

    /// The metric's label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Stalled => "stalled",
            Self::Full => "full",
            Self::Lost => "lost",
            Self::Oversize => "oversize",
        }
    }
}

/// Publishes without waiting; clones publish to the same bus.
#[derive(Clone, Debug)]
pub struct Publisher(pub(crate) Arc<Queue>);

impl Publisher {
    /// A batch for the topic, still empty. A topic is a metric's label too, so there are few of them.
    #[must_use]
    pub fn batch(&self, topic: &'static str) -> Batch {
        Batch::new(topic, topic, self.0.ids())
    }

    /// Whether what is published now has somewhere to go; while it has not, a batch need not be made, only
    /// [counted](Publisher::forgo).
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.state().shut.is_none()
    }

    /// Hands a batch over. Waits for nothing: what has no room is dropped, the oldest first, and counted.
    pub fn publish(&self, batch: Batch) {
        self.0.push(batch);
    }

    /// Counts events that were not even made into a batch: those that [`Publisher::is_open`] or
    /// [`MAX_QUEUED_EVENTS`] speaks against.
    pub fn forgo(&self, topic: &'static str, events: u64) {
        let reason = self.0.state().shut.unwrap_or(Reason::Full);
        self.0.metrics.dropped(topic, reason.as_str(), events);
    }
}

/// The queue between whoever publishes and the one task that writes.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Notify,
    pub(crate) metrics: Metrics,
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<(&'static str, Chunk)>,
    events: usize,
    octets: usize,
    /// Why nothing is taken in, if nothing is.
    shut: Option<Reason>,
    ids: Ids,
}

impl Queue {
    /// An open queue: the first connection is still to be tried.
    pub(crate) fn new(process: u64, metrics: Metrics) -> Self {
        Self {
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                events: 0,
                octets: 0,
                shut: None,
                ids: Ids::new(process),
            }),
            filled: Notify::new(),
            metrics,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ids for one batch.
    pub(crate) fn ids(&self) -> Ids {
        self.state().ids.batch()
    }

    fn push(&self, batch: Batch) {
        let oversize = Reason::Oversize.as_str();
        self.metrics.dropped(batch.label, oversize, batch.refused);
        let mut state = self.state();
        if let Some(reason) = state.shut {
            let events = batch.len() as u64;
            self.metrics.dropped(batch.label, reason.as_str(), events);
            return;
        }
        for chunk in batch.chunks {
            state.events += chunk.ends.len();
            state.octets += chunk.octets.len();
            state.waiting.push_back((batch.label, chunk));
        }
        while state.events > MAX_QUEUED_EVENTS || state.octets > MAX_QUEUED_OCTETS {
            self.drop_oldest(&mut state, Reason::Full);
        }
        self.metrics.queued.set(as_gauge(state.events));
        drop(state);
        self.filled.notify_one();
    }

    fn drop_oldest(&self, state: &mut State, reason: Reason) {
        let Some((topic, chunk)) = state.pop() else {
            // Nothing waits, so nothing is counted as waiting.
            (state.events, state.octets) = (0, 0);
            return;
        };
        let events = chunk.ends.len() as u64;
        self.metrics.dropped(topic, reason.as_str(), events);
    }

    /// Waits for the oldest chunk.
    pub(crate) async fn next(&self) -> (&'static str, Chunk) {
        loop {
            if let Some(chunk) = self.take() {
                return chunk;
            }
            self.filled.notified().await;
        }
    }

    /// Takes the oldest chunk, if there is one.
    pub(crate) fn take(&self) -> Option<(&'static str, Chunk)> {
        let mut state = self.state();
        let chunk = state.pop();
        self.metrics.queued.set(as_gauge(state.events));
        chunk
    }

    /// Takes nothing in from now on, and gives up what waits.
    pub(crate) fn shut(&self, reason: Reason) {
        let mut state = self.state();
        state.shut = Some(reason);
        while !state.waiting.is_empty() {
            self.drop_oldest(&mut state, reason);
        }
        self.metrics.queued.set(0);
    }

    /// Takes in again.
    pub(crate) fn open(&self) {
        self.state().shut = None;
    }
}

impl State {
    fn pop(&mut self) -> Option<(&'static str, Chunk)> {
        let (topic, chunk) = self.waiting.pop_front()?;
        self.events -= chunk.ends.len();
        self.octets -= chunk.octets.len();
        Some((topic, chunk))
    }
}

fn as_gauge(events: usize) -> i64 {
    i64::try_from(events).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
