//! The archive's one owner: takes batches, fills commit windows, and goes on by itself after a full or failing disk.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use archive::{AppendError, Archive, CommitError, Committed, Handle, Recovered, VoidError};
use service::Seldom;
use service::status::{Component, Pulse};
use tokio::sync::{mpsc, watch};

use crate::config::Config;
use crate::intake::Batch;
use crate::merge::{self, Feed};
use crate::metrics::{Metrics, count};

/// Owns the archive; runs on a thread of its own, because it waits for the disk.
pub(crate) struct Keeper {
    archive: Archive,
    batches: mpsc::Receiver<Batch>,
    feed: Feed,
    metrics: Metrics,
    disk: Component,
    pulse: Pulse,
    stop: watch::Receiver<bool>,
    delay: Duration,
    max_bytes: u64,
    drain: Duration,
    retry: Duration,
    handles: HashMap<Arc<str>, Handle>,
    window: Window,
    complaints: Seldom,
}

/// What was taken and does not stand yet: kept in memory, because a plain sender does not send it again.
#[derive(Default)]
struct Window {
    batches: Vec<(Handle, Batch)>,
    bytes: u64,
    /// So many of the batches are in segments.
    appended: usize,
    /// The archive voided the window and was not cut yet.
    void: bool,
}

/// Why a window does not stand yet.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Void(#[from] VoidError),
}

impl Trouble {
    fn reason(&self) -> &'static str {
        match self {
            Trouble::Append(AppendError::Full(_)) => "full",
            Trouble::Commit(e) if e.is_full() => "full",
            _ => "failed",
        }
    }
}

/// What the keeper is given besides archive and queue.
pub(crate) struct Tools {
    pub(crate) feed: Feed,
    pub(crate) metrics: Metrics,
    pub(crate) disk: Component,
    pub(crate) pulse: Pulse,
    pub(crate) stop: watch::Receiver<bool>,
}

impl Keeper {
    pub(crate) fn new(
        archive: Archive,
        batches: mpsc::Receiver<Batch>,
        config: &Config,
        tools: Tools,
    ) -> Keeper {
        let Tools {
            feed,
            metrics,
            disk,
            pulse,
            stop,
        } = tools;
        report_recovery(&archive, &metrics);
        feed.standing(archive.standing());
        disk.ok();
        Keeper {
            archive,
            batches,
            feed,
            metrics,
            disk,
            pulse,
            stop,
            delay: config.commit_delay,
            max_bytes: config.commit_bytes,
            drain: config.limits.drain,
            retry: RETRY,
            handles: HashMap::new(),
            window: Window::default(),
            complaints: Seldom::new(Duration::from_secs(60)),
        }
    }

    /// Works until every sender of the queue is gone and what they sent stands.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        let mut idle = tokio::time::interval(self.pulse.period());
        let mut aged = Instant::now();
        loop {
            self.pulse.beat();
            let batch = tokio::select! {
                batch = self.batches.recv() => batch,
                _ = idle.tick() => {
                    if aged.elapsed() >= CLOSE_AGED {
                        aged = Instant::now();
                        // What fails here voids the window, and the next settle finds out.
                        self.window.void |= self.archive.close_aged().is_err();
                        self.settle().await;
                    }
                    continue;
                }
            };
            let Some(batch) = batch else { break };
            let more = self.fill(batch).await;
            self.settle().await;
            if !more {
                break;
            }
        }
        self.settle().await;
        anyhow::ensure!(
            self.window.batches.is_empty(),
            "{} bytes taken from plain senders could not be archived before the stop",
            self.window.bytes
        );
        self.archive.close().await?;
        Ok(())
    }

    /// Takes batches until the window is full or old; whether more may come after it.
    async fn fill(&mut self, first: Batch) -> bool {
        let end = tokio::time::Instant::now() + self.delay;
        self.take(first).await;
        while self.window.bytes < self.max_bytes {
            match tokio::time::timeout_at(end, self.batches.recv()).await {
                Ok(Some(batch)) => self.take(batch).await,
                Ok(None) => return false,
                Err(_) => break,
            }
        }
        true
    }

    async fn take(&mut self, batch: Batch) {
        let Some(handle) = self.handle(&batch).await else {
            return;
        };
        self.window.bytes += batch.bytes.len() as u64;
        self.window.batches.push((handle, batch));
        // While the bytes are hot, and while others are being read. What fails is told by settle.
        let _ = self.append();
    }

    /// The epoch of a batch's stream, opened at its first frame; retried until that works.
    async fn handle(&mut self, batch: &Batch) -> Option<Handle> {
        if let Some(&handle) = self.handles.get(batch.worker.name()) {
            return Some(handle);
        }
        loop {
            let trouble = match self.archive.plain(&batch.worker.stream).await {
                Ok(handle) => {
                    self.handles.insert(batch.worker.name().into(), handle);
                    return Some(handle);
                }
                Err(CommitError::Void) => {
                    self.settle().await;
                    if self.window.void {
                        Trouble::from(CommitError::Void)
                    } else {
                        continue;
                    }
                }
                Err(e) => e.into(),
            };
            if !self.wait(&trouble).await {
                tracing::error!(
                    bytes = batch.bytes.len(),
                    worker = batch.worker.name(),
                    "frames lost at stop"
                );
                return None;
            }
        }
    }

    /// Writes what is not in segments yet.
    fn append(&mut self) -> Result<(), Trouble> {
        let Window {
            batches,
            appended,
            void,
            ..
        } = &mut self.window;
        if *void {
            return Err(AppendError::Void.into());
        }
        while let Some((handle, batch)) = batches.get_mut(*appended) {
            if let Err(e) = self.archive.append(*handle, &batch.bytes) {
                *void = !matches!(e, AppendError::Full(_));
                return Err(e.into());
            }
            batch.room = None;
            *appended += 1;
        }
        Ok(())
    }

    /// Makes the window stand, however long that takes; only a stop makes it give up.
    async fn settle(&mut self) {
        let mut since = None;
        loop {
            let Err(trouble) = self.try_settle().await else {
                break;
            };
            since.get_or_insert_with(Instant::now);
            if !self.wait(&trouble).await {
                return;
            }
        }
        self.disk.ok();
        if let Some(since) = since {
            tracing::info!(
                elapsed_ms = since.elapsed().as_millis() as u64,
                "archive goes on"
            );
        }
    }

    async fn try_settle(&mut self) -> Result<(), Trouble> {
        if self.window.void {
            let stands = self.archive.void().await?;
            self.window.void = false;
            if stands.is_empty() {
                self.window.appended = 0;
            } else {
                self.stands(&stands);
            }
        }
        let appended = self.append();
        if !matches!(
            appended,
            Ok(()) | Err(Trouble::Append(AppendError::Full(_)))
        ) {
            return appended;
        }
        let begun = Instant::now();
        match self.archive.commit().await {
            Ok(stands) if stands.is_empty() => {}
            Ok(stands) => {
                self.metrics
                    .commit_seconds
                    .observe(begun.elapsed().as_secs_f64());
                self.stands(&stands);
            }
            Err(e) => {
                self.window.void = true;
                return Err(e.into());
            }
        }
        appended
    }

    /// The appended batches stand: they leave the window and go to the merged outputs.
    fn stands(&mut self, reports: &[Committed]) {
        let batches: Vec<_> = self.window.batches.drain(..self.window.appended).collect();
        self.window.appended = 0;
        let bytes: u64 = batches
            .iter()
            .map(|(_, batch)| batch.bytes.len() as u64)
            .sum();
        self.window.bytes -= bytes;
        self.metrics.commits.inc();
        self.metrics.committed_bytes.inc_by(bytes);
        self.feed.committed(
            reports,
            batches
                .into_iter()
                .map(|(handle, batch)| (handle, merge::Step::Bytes(batch.bytes))),
        );
    }

    /// Waits a while before the next try; `false` when the program stops and has waited long enough.
    async fn wait(&mut self, trouble: &Trouble) -> bool {
        let error = anyhow::format_err!("{:#}", Chain(trouble));
        count(&self.metrics.commit_failures, "reason", trouble.reason(), 1);
        self.disk.failed(format!("{error:#}"));
        if self.complaints.allow((), Instant::now()).is_some() {
            tracing::error!(
                error = format!("{error:#}"),
                "archive can't be written, reading is paused"
            );
        }
        if *self.stop.borrow() {
            let Some(rest) = self.drain.checked_sub(self.retry) else {
                return false;
            };
            self.drain = rest;
        }
        self.pulse.beat();
        tokio::time::sleep(self.retry).await;
        true
    }
}

/// An error with its sources, on one line.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

fn report_recovery(archive: &Archive, metrics: &Metrics) {
    for what in archive.recovered() {
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
            Recovered::StreamRebuilt { key, .. } => {
                tracing::warn!(stream = %key, "index did not know the stream, made again from its segments");
            }
            other => tracing::warn!(what = ?other, "archive recovered"),
        }
    }
}

/// The pause before the next try after trouble.
const RETRY: Duration = Duration::from_millis(500);
/// How often segments of idle streams are looked at for their age.
const CLOSE_AGED: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
