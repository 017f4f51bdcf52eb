//! The archive's one owner: takes what connections bring, fills commit windows, tells who has to know that they stand,
//! and goes on by itself after a full or failing disk.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use archive::{Archive, CommitError, Handle, StreamKey};
use delivery::AdmissionLimits;
use service::Seldom;
use service::status::{Component, Pulse};
use tokio::sync::{mpsc, watch};

use crate::config::Config;
use crate::intake::{Batch, Item, Said};
use crate::merge::Feed;
use crate::metrics::Metrics;
use crate::upkeep::Upkeep;
use crate::workers::Worker;

mod answers;
mod damage;
mod links;
mod stands;
mod trouble;
mod window;

use links::Links;
use trouble::Trouble;
use window::{Entry, What, Window};

/// Owns the archive; runs on a thread of its own, because it waits for the disk.
pub(crate) struct Keeper {
    archive: Archive,
    items: mpsc::Receiver<Item>,
    feed: Feed,
    upkeep: Upkeep,
    metrics: Metrics,
    disk: Component,
    pulse: Pulse,
    stop: watch::Receiver<bool>,
    delay: Duration,
    max_bytes: u64,
    drain: Duration,
    retry: Duration,
    /// The epochs of plain streams, by worker.
    handles: HashMap<Arc<str>, Handle>,
    plain: HashMap<Handle, Arc<Worker>>,
    window: Window,
    /// The index is damaged: nothing more is taken, so that the next start can make it again.
    damage: Option<Trouble>,
    links: Links,
    complaints: Seldom,
    /// One log line of a kind, stream and second.
    gaps: Seldom<(StreamKey, &'static str)>,
    /// One ledger line of a stream and minute.
    conflicts: Seldom<StreamKey>,
}

/// What the keeper is given besides archive and queue.
pub(crate) struct Tools {
    pub(crate) feed: Feed,
    pub(crate) upkeep: Upkeep,
    pub(crate) metrics: Metrics,
    pub(crate) disk: Component,
    pub(crate) pulse: Pulse,
    pub(crate) stop: watch::Receiver<bool>,
}

impl Keeper {
    pub(crate) fn new(
        archive: Archive,
        items: mpsc::Receiver<Item>,
        config: &Config,
        tools: Tools,
    ) -> Keeper {
        let Tools {
            feed,
            upkeep,
            metrics,
            disk,
            pulse,
            stop,
        } = tools;
        archive
            .recovered()
            .iter()
            .for_each(|what| damage::report(what, &metrics));
        feed.standing(&config.data, archive.standing());
        disk.ok();
        Keeper {
            archive,
            items,
            feed,
            upkeep,
            metrics,
            disk,
            pulse,
            stop,
            delay: config.commit_delay,
            max_bytes: config.commit_bytes,
            drain: config.limits.drain,
            retry: RETRY,
            handles: HashMap::new(),
            plain: HashMap::new(),
            window: Window::default(),
            damage: None,
            links: Links::new(admission(config)),
            complaints: Seldom::new(Duration::from_secs(60)),
            gaps: Seldom::new(Duration::from_secs(1)),
            conflicts: Seldom::new(Duration::from_secs(60)),
        }
    }

    /// Works until every sender of the queue is gone and what they sent stands.
    ///
    /// # Errors
    /// What was still wrong at the stop; or the index is damaged, which the next start mends.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        let mut idle = tokio::time::interval(self.pulse.period());
        let mut tidied = Instant::now();
        while self.damage.is_none() {
            self.pulse.beat();
            let upkeep = self.window.is_empty().then(|| self.upkeep.due());
            let item = tokio::select! {
                item = self.items.recv() => item,
                () = until(upkeep) => {
                    if !self.upkeep.turn(&mut self.archive).await {
                        self.window.void = true;
                        self.settle().await;
                    }
                    continue;
                }
                _ = idle.tick() => {
                    if tidied.elapsed() >= TIDY {
                        tidied = Instant::now();
                        self.tidy().await;
                    }
                    continue;
                }
            };
            let Some(item) = item else { break };
            let more = self.fill(item).await;
            self.settle().await;
            if !more {
                break;
            }
        }
        self.take_rest().await;
        self.settle().await;
        if let Some(damage) = self.damage {
            return Err(damage).context("the index is damaged, the next start makes it again");
        }
        let left = self.window.plain_bytes();
        anyhow::ensure!(
            left == 0,
            "{left} bytes taken from plain senders could not be archived before the stop"
        );
        self.archive.close().await?;
        Ok(())
    }

    /// What is still in the queue when the owner has to end: plain senders do not send it again.
    async fn take_rest(&mut self) {
        self.items.close();
        while let Ok(item) = self.items.try_recv() {
            self.fill(item).await;
            self.settle().await;
        }
    }

    /// Takes items until the window is full, old, or nobody has more to say for a while.
    async fn fill(&mut self, first: Item) -> bool {
        let end = tokio::time::Instant::now() + self.delay;
        self.take(first).await;
        while !self.window.is_due(self.max_bytes) {
            let item = match self.items.try_recv() {
                Ok(item) => Some(item),
                Err(mpsc::error::TryRecvError::Disconnected) => None,
                Err(mpsc::error::TryRecvError::Empty) if self.window.is_empty() => return true,
                Err(mpsc::error::TryRecvError::Empty) => {
                    let quiet = tokio::time::Instant::now() + self.delay / QUIET;
                    match tokio::time::timeout_at(end.min(quiet), self.items.recv()).await {
                        Ok(item) => item,
                        Err(_) => break,
                    }
                }
            };
            match item {
                Some(item) => self.take(item).await,
                None => return false,
            }
            if tokio::time::Instant::now() >= end {
                break;
            }
        }
        true
    }

    async fn take(&mut self, item: Item) {
        match item {
            Item::Frames(batch) => self.frames(batch).await,
            Item::Said(
                connection,
                Said::Enter {
                    worker,
                    full,
                    mailbox,
                },
            ) => {
                let now = Instant::now();
                if self.links.enter(connection, worker, mailbox, full, now) {
                    self.metrics.displaced.inc();
                }
            }
            Item::Said(connection, Said::Over) => self.over(connection),
            Item::Said(connection, said) => self.said(connection, said).await,
        }
    }

    async fn frames(&mut self, batch: Batch) {
        let Some(handle) = self.plain(&batch).await else {
            return;
        };
        let Batch { bytes, room, .. } = batch;
        let len = bytes.len() as u64;
        let to = None;
        self.window.push(Entry {
            handle: Some(handle),
            by: None,
            what: What::Bytes { bytes, len, to },
            room: Some(room),
        });
        // While the bytes are hot, and while others are being read. What fails is told by settle.
        let _ = self.append();
    }

    /// The epoch of a batch's stream, opened at its first frame; retried until that works.
    async fn plain(&mut self, batch: &Batch) -> Option<Handle> {
        if let Some(&handle) = self.handles.get(batch.worker.name()) {
            return Some(handle);
        }
        loop {
            let trouble = match self.open_plain(&batch.worker).await {
                Ok(handle) => return Some(handle),
                Err(e) => e,
            };
            if !self.overcome(trouble).await {
                tracing::error!(
                    bytes = batch.bytes.len(),
                    worker = batch.worker.name(),
                    "frames lost at stop"
                );
                return None;
            }
        }
    }

    /// Does what has to be done before something that failed can be tried again; `false` when the program stops and
    /// has waited long enough, or the index is damaged.
    async fn overcome(&mut self, error: CommitError) -> bool {
        if matches!(error, CommitError::Void) {
            self.window.void = true;
            self.settle().await;
            if !self.window.void {
                return true;
            }
        }
        if self.damage.is_some() {
            return false;
        }
        let trouble = Trouble::from(error);
        if trouble.is_damage() {
            self.damage = Some(trouble);
            return false;
        }
        self.wait(&trouble).await
    }

    /// What is done now and then.
    async fn tidy(&mut self) {
        self.links.tidy(Instant::now());
        // What fails here voids the window, and the next settle finds out.
        self.window.void |= self.archive.close_aged().is_err();
        self.settle().await;
    }
}

/// docs/wire.md, "Limits".
fn admission(config: &Config) -> AdmissionLimits {
    AdmissionLimits {
        connections: config.limits.connections_per_worker,
        silent: config.limits.idle_link() / 4,
        ..AdmissionLimits::default()
    }
}

/// Waits for a moment; for ever without one.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

/// The pause before the next try after trouble.
const RETRY: Duration = Duration::from_millis(500);
/// A window ends early when nobody has said anything for this part of its longest delay: a quiet stream's lines stand
/// soon, and a busy one's windows are full before.
const QUIET: u32 = 10;
/// How often segments of idle streams are looked at for their age, and what is over is forgotten.
const TIDY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
