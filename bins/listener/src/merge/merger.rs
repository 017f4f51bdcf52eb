//! The merger: takes committed bytes in order, renders them, and appends them with its place in each stream.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use archive::StreamKey;
use offsets::{AppendError, Appended, Appender, Limits, Store};
use rfc5424::Timestamp;
use service::Seldom;
use service::status::Pulse;
use tokio::sync::watch;

use crate::config::Config;
use crate::merge::feed::{Inbox, Source};
use crate::merge::gather::{Back, Batch};
use crate::merge::places;
use crate::merge::stream::Stream;
use crate::merge::text;
use crate::metrics::{Metrics, count};

/// The files that are on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outputs {
    pub(crate) log: Option<PathBuf>,
    pub(crate) json: Option<PathBuf>,
}

impl Outputs {
    pub(crate) fn of(config: &Config) -> Outputs {
        Outputs {
            log: config.merged_log.clone(),
            json: config.merged_json.clone(),
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.log.is_some() || self.json.is_some()
    }

    fn targets(&self) -> Vec<PathBuf> {
        self.log.iter().chain(&self.json).cloned().collect()
    }
}

/// What the merger is given.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    pub(crate) inbox: Inbox,
    pub(crate) metrics: Metrics,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) stop: watch::Receiver<bool>,
}

/// Keeps the merged outputs written until the stop; runs on a thread of its own. Whatever is wrong with their files
/// is tried again, from what they hold then: the archive does not wait for it.
///
/// # Errors
/// What was still wrong at the stop. The next start goes on from there.
pub(crate) async fn keep(config: &Config, tools: Tools) -> anyhow::Result<()> {
    loop {
        let result = match Merger::open(config, tools.clone()).await {
            Ok(merger) => merger.run().await,
            Err(e) => Err(e),
        };
        let Err(error) = result else { return Ok(()) };
        if *tools.stop.borrow() || tools.inbox.is_over() {
            return Err(error);
        }
        tools.metrics.merged_failures.inc();
        tracing::error!(
            error = format!("{error:#}"),
            retry_s = REOPEN.as_secs(),
            "merged outputs failed"
        );
        tools.pulse.beat();
        let mut stop = tools.stop.clone();
        // Either way the next round looks for itself.
        let _ = tokio::time::timeout(REOPEN, stop.wait_for(|stop| *stop)).await;
    }
}

/// Writes the merged outputs.
pub(super) struct Merger {
    pub(super) data: PathBuf,
    pub(super) inbox: Inbox,
    appender: Appender,
    pub(super) metrics: Metrics,
    pulse: Arc<Pulse>,
    stop: watch::Receiver<bool>,
    drain: Duration,
    pub(super) streams: HashMap<StreamKey, Stream>,
    pub(super) back: Option<Back>,
    /// Since when there are streams that wait because they could not be read.
    pub(super) parked: Option<Instant>,
    /// Whose turn it is.
    pub(super) turn: bool,
    pub(super) batch: Batch,
    complaints: Seldom,
}

impl Merger {
    /// Opens the files and finishes what a crash left behind.
    async fn open(config: &Config, tools: Tools) -> anyhow::Result<Merger> {
        let Tools {
            inbox,
            metrics,
            pulse,
            stop,
        } = tools;
        let outputs = Outputs::of(config);
        let dir = config.data.join("merged");
        let store = Store::open(dir.join("places.sqlite"))
            .await
            .context("open the places of the merged outputs")?;
        let mut limits = Limits::default();
        // A record has its message three times (raw line, fields, text), and an octet may take six in JSON.
        let record = text::RECORD_BYTES.max(config.max_frame as usize);
        limits.batch_bytes = limits
            .batch_bytes
            .max(8 * BATCH_BYTES + 2 * text::LONG + 20 * record);
        let (appender, recovered) = Appender::open(store, &dir, &outputs.targets(), limits)
            .await
            .context("open the merged outputs")?;
        for what in recovered {
            tracing::info!(?what, "merged output finished after a crash");
        }
        // After the recovery, which may have moved them.
        let streams = places::stored(appender.store())
            .await?
            .into_iter()
            .map(|(key, stored)| (key.clone(), Stream::new(key, stored)))
            .collect();
        Ok(Merger {
            data: config.data.clone(),
            batch: Batch::new(&outputs),
            inbox,
            appender,
            metrics,
            pulse,
            stop,
            drain: config.limits.drain,
            streams,
            back: None,
            parked: None,
            turn: false,
            complaints: Seldom::new(Duration::from_secs(60)),
        })
    }

    /// Works until the archive's owner is done and everything is merged, or a stop has lasted long enough.
    async fn run(mut self) -> anyhow::Result<()> {
        let mut give_up = None;
        if !self.begin().await {
            return Ok(());
        }
        loop {
            self.pulse.beat();
            let over = self.inbox.is_over();
            if *self.stop.borrow() || over {
                let since = *give_up.get_or_insert_with(Instant::now);
                if since.elapsed() > self.drain * 2 {
                    tracing::warn!("merged outputs are behind at the stop, the next start goes on");
                    break;
                }
            }
            if self.gather() {
                if !self.append().await? {
                    return self.flush().await;
                }
                continue;
            }
            self.lag();
            if over {
                break;
            }
            self.publish();
            let period = match self.parked {
                Some(_) => self.pulse.period().min(REOPEN),
                None => self.pulse.period(),
            };
            // Late or not, the next round looks for itself.
            let _ = tokio::time::timeout(period, self.inbox.wait()).await;
        }
        // What was learned of epochs and came with no line of theirs.
        if self.append().await? {
            self.publish();
        }
        self.flush().await
    }

    /// Waits until the archive is open and it is known which epochs are not over; `false` when that will not come.
    async fn begin(&mut self) -> bool {
        loop {
            if let Some(opened) = self.inbox.again() {
                for (key, ledger) in opened {
                    self.stream(&key).opened(ledger);
                }
                return true;
            }
            if *self.stop.borrow() || self.inbox.is_over() {
                return false;
            }
            self.pulse.beat();
            // Late or not, the next round looks for itself.
            let _ = tokio::time::timeout(self.pulse.period(), self.inbox.wait()).await;
        }
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        let flushed = self.appender.flush().await;
        flushed.context("flush the merged outputs")
    }

    /// Appends the batch, however long the disk makes it wait; `false` when a stop has lasted long enough.
    async fn append(&mut self) -> anyhow::Result<bool> {
        let (mut changes, mut dropped) = (Vec::new(), Vec::new());
        for stream in self.streams.values_mut() {
            stream.store(&mut changes, &mut dropped)?;
        }
        if changes.is_empty() && self.batch.is_empty() {
            return Ok(true);
        }
        let mut result = self.appender.append(self.batch.take(), changes).await;
        let mut left = self.drain;
        let appended = loop {
            match result {
                Ok(appended) => break appended,
                Err(AppendError::Blocked { path, source }) => {
                    if self.complaints.allow((), Instant::now()).is_some() {
                        tracing::error!(path = %path.display(), error = %source, "merged output can't be written, it waits");
                    }
                    if !self.wait(&mut left).await {
                        return Ok(false);
                    }
                }
                Err(e) => return Err(e).context("append to the merged outputs"),
            }
            result = self.appender.resume().await;
        };
        self.appended(appended, &dropped);
        Ok(true)
    }

    /// Waits before a blocked append is tried again; `false` when a stop has lasted long enough.
    async fn wait(&mut self, left: &mut Duration) -> bool {
        self.metrics.merged_failures.inc();
        self.pulse.beat();
        let news = self.inbox.news();
        self.told(&news);
        self.lag();
        if *self.stop.borrow() || self.inbox.is_over() {
            let Some(rest) = left.checked_sub(RETRY) else {
                return false;
            };
            *left = rest;
        }
        tokio::time::sleep(RETRY).await;
        true
    }

    /// Counts what stands, takes the buffers back, and tells who waits for it.
    fn appended(&mut self, appended: Appended, dropped: &[Arc<Source>]) {
        let (lines, records, invalid) = self.batch.give_back(appended.parts);
        self.metrics.invalid_frames.inc_by(invalid);
        count(&self.metrics.merged_lines, "file", "log", lines);
        count(&self.metrics.merged_lines, "file", "json", records);
        for source in dropped {
            self.inbox.forget(source);
        }
        self.publish();
        self.lag();
    }

    /// Tells how far the files are; what is told stands.
    fn publish(&mut self) {
        for (key, stream) in &mut self.streams {
            if let Some(merged) = stream.publish() {
                self.inbox.publish(key, merged);
            }
        }
    }

    fn lag(&self) {
        let lag: u64 = self.streams.values().map(Stream::lag).sum();
        self.metrics
            .merged_lag_bytes
            .set(i64::try_from(lag).unwrap_or(i64::MAX));
    }
}

pub(super) fn now() -> Timestamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::new(
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        since.subsec_nanos(),
    )
}

/// A batch is appended when one of its files has so many bytes.
pub(super) const BATCH_BYTES: usize = 1 << 20;
/// The pause before a blocked append is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// The pause before failed outputs are opened again, or streams read that could not be.
pub(super) const REOPEN: Duration = Duration::from_secs(5);
