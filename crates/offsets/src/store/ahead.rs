//! The changes that redo slots hold durably and the table does not hold yet.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Change, Store};
use crate::appender::Tagged;

/// What redo slots hold durably and the table does not hold yet, by the appender's place. Two
/// appenders on one store use keys of their own.
pub(super) type Ahead = BTreeMap<String, Batches>;

/// One appender's part of it.
#[derive(Debug, Default, Clone)]
pub(super) struct Batches {
    /// The newest batch that the table holds.
    pub(super) applied: u64,
    /// The newest batch that a slot holds.
    pub(super) newest: u64,
    /// Key to the batch that set it and the new value (`None`: deleted).
    pub(super) changes: BTreeMap<String, (u64, Option<Vec<u8>>)>,
    /// When the oldest of `changes` came.
    pub(super) since: Option<Instant>,
}

impl Store {
    /// Takes over what the newest slot of `place` held of changes, `applied` being the newest batch in
    /// the table.
    pub(crate) fn start_ahead(&self, place: &str, applied: u64, newest: u64, changes: Vec<Tagged>) {
        let changes = changes.into_iter().filter(|change| change.batch > applied);
        let changes: BTreeMap<_, _> = changes
            .map(|change| (change.key, (change.batch, change.value)))
            .collect();
        let since = (!changes.is_empty()).then(Instant::now);
        self.ahead().insert(
            place.to_owned(),
            Batches {
                applied,
                newest,
                changes,
                since,
            },
        );
    }

    /// Takes changes that a redo slot holds durably as batch `batch`; a later commit writes them.
    pub(crate) fn put_ahead(
        &self,
        place: &str,
        batch: u64,
        changes: impl IntoIterator<Item = Change>,
    ) {
        let mut ahead = self.ahead();
        let batches = ahead.entry(place.to_owned()).or_default();
        batches.newest = batch;
        for change in changes {
            match change {
                Change::Put { key, value } => batches.changes.insert(key, (batch, Some(value))),
                Change::Delete { key } => batches.changes.insert(key, (batch, None)),
            };
        }
        if batches.since.is_none() && !batches.changes.is_empty() {
            batches.since = Some(Instant::now());
        }
    }

    /// What the next slot of `place` has to carry: the newest batch in the table, and every change
    /// after it.
    pub(crate) fn ahead_of(&self, place: &str) -> (u64, Vec<Tagged>) {
        let ahead = self.ahead();
        let Some(batches) = ahead.get(place) else {
            return (0, Vec::new());
        };
        let tagged = |(key, (batch, value)): (&String, &(u64, Option<Vec<u8>>))| Tagged {
            batch: *batch,
            key: key.clone(),
            value: value.clone(),
        };
        (
            batches.applied,
            batches.changes.iter().map(tagged).collect(),
        )
    }

    /// Bytes of the changes ahead of the table for `place`, and how long the oldest has been.
    pub(crate) fn lag(&self, place: &str) -> (usize, Duration) {
        let ahead = self.ahead();
        let Some(batches) = ahead.get(place) else {
            return (0, Duration::ZERO);
        };
        let size = |(key, (_, value)): (&String, &(u64, Option<Vec<u8>>))| {
            key.len() + value.as_ref().map_or(0, Vec::len)
        };
        let bytes = batches.changes.iter().map(size).sum();
        (
            bytes,
            batches
                .since
                .map_or(Duration::ZERO, |since| since.elapsed()),
        )
    }

    pub(super) fn ahead(&self) -> MutexGuard<'_, Ahead> {
        self.inner
            .ahead
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
