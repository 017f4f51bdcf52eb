//! Files of the archive that are not what was committed: it is said, and the others go on.

use std::sync::Arc;

use archive::{CommitError, Handle, Recovered};

use super::Keeper;
use super::window::What;
use crate::metrics::{Metrics, count};
use crate::workers::Worker;

impl Keeper {
    /// Takes down what the archive found out about its files.
    pub(super) fn hear(&mut self) {
        for what in self.archive.take_found() {
            report(&what, &self.metrics);
            if let Recovered::Missing {
                key, epoch, found, ..
            } = &what
            {
                self.feed.lost(key, *epoch, *found);
            }
        }
    }

    /// Opens the epoch of a worker's plain stream.
    pub(super) async fn open_plain(&mut self, worker: &Arc<Worker>) -> Result<Handle, CommitError> {
        let handle = self.archive.plain(&worker.stream).await?;
        self.hear();
        self.handles.insert(worker.name().into(), handle);
        self.plain.insert(handle, Arc::clone(worker));
        Ok(handle)
    }

    /// Opens the epoch of a plain stream again whose handle is gone, for what is still to be appended to it: nobody sends
    /// that again.
    pub(super) async fn open_lost(&mut self) -> Result<(), CommitError> {
        let Some(lost) = self.window.lost else {
            return Ok(());
        };
        match self.plain.get(&lost).cloned() {
            Some(worker) => {
                let handle = self.open_plain(&worker).await?;
                self.plain.remove(&lost);
                self.window.moved(lost, handle);
            }
            None => {
                tracing::error!("frames of no known stream are dropped");
                self.window.remove_next();
            }
        }
        self.window.lost = None;
        Ok(())
    }

    /// The epoch of the first step that is not appended is gone, with its files. Its connection begins again, and finds
    /// what is left of it; `false`: it has to be opened again for the step.
    pub(super) fn step_lost(&mut self) -> bool {
        self.hear();
        let Some(entry) = self.window.next() else {
            return true;
        };
        let (handle, by) = (entry.handle, entry.by);
        let is_plain = by.is_none() && matches!(entry.what, What::Bytes { .. });
        if let Some(handle) = handle.filter(|_| is_plain) {
            self.window.lost = Some(handle);
            self.window.urgent = true;
            return false;
        }
        self.window.remove_next();
        if let Some(link) = by.and_then(|id| self.links.live(id)) {
            link.void();
        }
        true
    }
}

/// Says what the archive found and did, in log and metrics.
pub(super) fn report(what: &Recovered, metrics: &Metrics) {
    match what {
        Recovered::Beyond {
            key,
            epoch,
            indexed,
            kept,
            cut,
            ..
        } => {
            count(&metrics.recovered_bytes, "what", "kept", *kept);
            count(&metrics.recovered_bytes, "what", "cut", *cut);
            tracing::info!(stream = %key, %epoch, offset = indexed, kept, cut, "bytes beyond the index recovered");
        }
        Recovered::Missing {
            key,
            epoch,
            indexed,
            found,
            ..
        } => {
            count(&metrics.recovered_bytes, "what", "missing", indexed - found);
            tracing::error!(stream = %key, %epoch, offset = found, bytes = indexed - found, "archived bytes are gone");
        }
        Recovered::Damaged {
            key,
            epoch,
            committed,
            what,
            ..
        } => {
            metrics.damaged_epochs.inc();
            tracing::error!(stream = %key, %epoch, offset = committed, error = what, "an epoch's files are damaged, other streams go on");
        }
        Recovered::StreamRebuilt { key, .. } => {
            tracing::warn!(stream = %key, "index did not know the stream, made again from its segments");
        }
        other => tracing::warn!(what = ?other, "archive recovered"),
    }
}
