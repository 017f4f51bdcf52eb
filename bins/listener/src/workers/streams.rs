//! What is known of a worker's acknowledged streams while the program runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use delivery::control::Beat;
use delivery::{EpochId, Offset};
use serde_json::{Map, Value, json};

use crate::metrics::{Metrics, Of};

/// The streams of one worker; a limited number, the rest forgotten in the order of their last connection.
#[derive(Debug, Default)]
pub(super) struct Streams(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    by_name: BTreeMap<String, Arc<Stream>>,
    turns: u64,
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Stream {
    of: Of,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    connections: usize,
    /// When it was last connected, among the worker's streams.
    turn: u64,
    at: Option<(EpochId, Offset)>,
    beat: Option<(Beat, i64)>,
}

impl Streams {
    /// A connection wants this stream.
    pub(super) fn join(&self, worker: &str, name: &str, metrics: &Metrics) -> Arc<Stream> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.turns += 1;
        let turn = table.turns;
        if !table.by_name.contains_key(name) {
            table.make_room(metrics);
        }
        let stream = table.by_name.entry(name.to_owned()).or_insert_with(|| {
            let of = [("worker", worker.to_owned()), ("stream", name.to_owned())];
            let state = Mutex::default();
            Arc::new(Stream { of, state })
        });
        let mut state = stream.state();
        state.connections += 1;
        state.turn = turn;
        drop(state);
        Arc::clone(stream)
    }

    /// For `/status`: at most so many of them, and how many were left out.
    pub(super) fn status(&self, room: usize) -> (Map<String, Value>, usize) {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = |(name, stream): (&String, &Arc<Stream>)| (name.clone(), stream.status());
        let shown = table.by_name.iter().take(room).map(stream).collect();
        (shown, table.by_name.len().saturating_sub(room))
    }
}

impl Table {
    fn make_room(&mut self, metrics: &Metrics) {
        if self.by_name.len() < MAX_STREAMS {
            return;
        }
        let left = self.by_name.iter().filter_map(|(name, stream)| {
            let state = stream.state();
            (state.connections == 0).then(|| (state.turn, name.clone()))
        });
        let Some((_, oldest)) = left.min() else {
            return;
        };
        if let Some(stream) = self.by_name.remove(&oldest) {
            metrics.backlog_bytes.remove(&stream.of);
            metrics.oldest_seconds.remove(&stream.of);
            metrics.clock_difference_seconds.remove(&stream.of);
        }
    }
}

impl Stream {
    /// Everything below is durable.
    pub(crate) fn stands(&self, epoch: EpochId, offset: Offset) {
        self.state().at = Some((epoch, offset));
    }

    /// The forwarder lives, and stands so.
    pub(crate) fn beat(&self, beat: &Beat, now_ms: i64, metrics: &Metrics) {
        self.state().beat = Some((*beat, now_ms));
        let backlog = i64::try_from(beat.backlog_bytes).unwrap_or(i64::MAX);
        metrics.backlog_bytes.get_or_create(&self.of).set(backlog);
        let oldest = beat.oldest_ms as f64 / 1000.0;
        metrics.oldest_seconds.get_or_create(&self.of).set(oldest);
        let difference = beat.clock_ms.saturating_sub(now_ms) as f64 / 1000.0;
        let clock = metrics.clock_difference_seconds.get_or_create(&self.of);
        clock.set(difference);
    }

    /// A connection of it is over.
    pub(crate) fn left(&self) {
        let mut state = self.state();
        state.connections = state.connections.saturating_sub(1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self) -> Value {
        let state = self.state();
        let at = state.at.as_ref();
        let beat = state.beat.as_ref().map(|(beat, at_ms)| {
            let at = jiff::Timestamp::from_millisecond(*at_ms).ok();
            json!({
                "at": at.map(|at| at.to_string()),
                "backlog_bytes": beat.backlog_bytes,
                "oldest_ms": beat.oldest_ms,
                "clock_difference_ms": beat.clock_ms.saturating_sub(*at_ms),
            })
        });
        json!({
            "mode": "acknowledged",
            "connections": state.connections,
            "epoch": at.map(|(epoch, _)| epoch.to_string()),
            "offset": at.map(|(_, offset)| offset.get()),
            "beat": beat,
        })
    }
}

/// Most streams of a worker that are remembered: four times as many as may be connected.
const MAX_STREAMS: usize = 64;

#[cfg(test)]
mod tests;
