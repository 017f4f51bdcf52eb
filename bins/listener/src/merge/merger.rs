//! The merger: takes committed bytes in order, renders them, and appends them with its place in each stream.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use archive::{Chunk, ReadError, Reader};
use framing::Decoder;
use offsets::{AppendError, Appended, Appender, Limits, Store};
use rfc5424::Timestamp;
use service::Seldom;
use service::status::Pulse;
use tokio::sync::watch;

use crate::config::Config;
use crate::merge::feed::{Inbox, Mail, Piece, Source};
use crate::merge::lines;
use crate::merge::places::{self, Places};
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
    let mut fresh = true;
    loop {
        let result = match Merger::open(config, tools.clone(), fresh).await {
            Ok(merger) => {
                fresh = false;
                merger.run().await
            }
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
struct Merger {
    data: PathBuf,
    outputs: Outputs,
    inbox: Inbox,
    appender: Appender,
    metrics: Metrics,
    pulse: Arc<Pulse>,
    stop: watch::Receiver<bool>,
    drain: Duration,
    /// How far each epoch is in the files.
    cursors: HashMap<Arc<Source>, u64>,
    /// Places that no epoch was seen for yet.
    stored: Places,
    /// Whether the archive was opened just now, so that nothing merged can be beyond where it stood then.
    fresh: bool,
    reader: Option<(Arc<Source>, Reader)>,
    batch: Batch,
    complaints: Seldom,
}

/// Lines that go into the files together.
#[derive(Debug, Default)]
struct Batch {
    log: Vec<u8>,
    json: Vec<u8>,
    /// Places after these lines.
    cursors: Vec<(Arc<Source>, u64)>,
    lines: u64,
    records: u64,
}

impl Merger {
    /// Opens the files and finishes what a crash left behind.
    async fn open(config: &Config, tools: Tools, fresh: bool) -> anyhow::Result<Merger> {
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
        limits.batch_bytes = limits
            .batch_bytes
            .max(8 * BATCH_BYTES + 20 * config.max_frame as usize);
        let (appender, recovered) = Appender::open(store, &dir, &outputs.targets(), limits)
            .await
            .context("open the merged outputs")?;
        for what in recovered {
            tracing::info!(?what, "merged output finished after a crash");
        }
        // After the recovery, which may have moved them.
        let stored = places::stored(appender.store()).await?;
        Ok(Merger {
            data: config.data.clone(),
            outputs,
            inbox,
            appender,
            metrics,
            pulse,
            stop,
            drain: config.limits.drain,
            cursors: HashMap::new(),
            stored,
            fresh,
            reader: None,
            batch: Batch::default(),
            complaints: Seldom::new(Duration::from_secs(60)),
        })
    }

    /// Works until the archive's owner is done and everything is merged, or a stop has lasted long enough.
    async fn run(mut self) -> anyhow::Result<()> {
        let mut give_up = None;
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
            if self.gather()? {
                if !self.append().await? {
                    break;
                }
                continue;
            }
            self.metrics.merged_lag_bytes.set(0);
            if over {
                break;
            }
            let period = self.pulse.period();
            // Late or not, the next round looks for itself.
            let _ = tokio::time::timeout(period, self.inbox.wait()).await;
        }
        self.appender
            .flush()
            .await
            .context("flush the merged outputs")
    }

    /// Renders what comes next into the batch; `false` when everything is merged.
    fn gather(&mut self) -> anyhow::Result<bool> {
        while self.batch.log.len().max(self.batch.json.len()) < BATCH_BYTES {
            match self.inbox.next() {
                Mail::Piece(piece) => self.piece(piece)?,
                Mail::Ends(ends) => {
                    // The one that is furthest behind first, so that none starves.
                    let lags = ends.into_iter().map(|(source, end)| {
                        (end.saturating_sub(self.cursor(&source)), source, end)
                    });
                    let Some((_, source, end)) = lags
                        .filter(|(lag, ..)| *lag > 0)
                        .max_by_key(|(lag, ..)| *lag)
                    else {
                        break;
                    };
                    self.read_archive(&source, end)?;
                }
            }
        }
        Ok(!self.batch.cursors.is_empty())
    }

    fn piece(&mut self, piece: Piece) -> anyhow::Result<()> {
        let cursor = self.cursor(&piece.source);
        if piece.to() <= cursor {
            return Ok(());
        }
        if piece.from > cursor {
            // The queue had no room for what comes before.
            let (source, end) = (Arc::clone(&piece.source), piece.from);
            self.inbox.put_back(piece);
            return self.read_archive(&source, end);
        }
        let known = usize::try_from(cursor - piece.from).unwrap_or(usize::MAX);
        self.render(&piece.source, cursor, &piece.bytes[known..], piece.at);
        Ok(())
    }

    /// Renders the next frames below `end` from the archive.
    fn read_archive(&mut self, source: &Arc<Source>, end: u64) -> anyhow::Result<()> {
        let cursor = self.cursor(source);
        let mut reader = match self.reader.take() {
            Some((of, mut reader)) if of == *source => {
                reader.seek(cursor);
                reader
            }
            _ => Reader::open(&self.data, &source.key, source.epoch, source.form, cursor)
                .with_context(|| format!("read {} back", source.key))?,
        };
        let mut bytes = Vec::new();
        let mut want = READ_BYTES;
        loop {
            match reader.read(end, want, &mut bytes) {
                Ok(Chunk::Bytes(_)) => {}
                Ok(Chunk::Gap(to)) => {
                    self.advance(source, to);
                    return Ok(());
                }
                Ok(Chunk::End) => break,
                Err(ReadError::Missing(at)) => {
                    tracing::error!(stream = %source.key, offset = at, to = end, "archived bytes are gone, not merged");
                    self.advance(source, end);
                    return Ok(());
                }
                Err(e) => return Err(e).with_context(|| format!("read {} back", source.key)),
            }
            if matches!(Decoder::new(archive::MAX_FRAME).whole(&bytes), Ok(batch) if batch.frames == 0)
            {
                // A frame larger than was read: the rest of it.
                want = (want * 2).min(archive::MAX_FRAME as usize * 2);
                continue;
            }
            break;
        }
        let taken = self.render(source, cursor, &bytes, now());
        if taken == 0 {
            tracing::error!(stream = %source.key, offset = cursor, to = end, "archived bytes are no frames, not merged");
            self.advance(source, end);
        }
        self.reader = Some((Arc::clone(source), reader));
        Ok(())
    }

    /// Renders frames that start at `from`, and moves the place; gives how many octets were whole frames.
    fn render(&mut self, source: &Arc<Source>, from: u64, frames: &[u8], at: Timestamp) -> usize {
        let log = self.outputs.log.is_some().then_some(&mut self.batch.log);
        let json = self.outputs.json.is_some().then_some(&mut self.batch.json);
        let written = lines::write(frames, from, source, at, log, json);
        self.batch.lines += written.lines;
        self.batch.records += written.records;
        self.advance(source, from + written.taken as u64);
        written.taken
    }

    fn advance(&mut self, source: &Arc<Source>, to: u64) {
        self.cursors.insert(Arc::clone(source), to);
        match self.batch.cursors.iter_mut().find(|(of, _)| of == source) {
            Some((_, at)) => *at = to,
            None => self.batch.cursors.push((Arc::clone(source), to)),
        }
    }

    fn cursor(&mut self, source: &Arc<Source>) -> u64 {
        if let Some(&at) = self.cursors.get(source) {
            return at;
        }
        let key = (source.key.to_string(), source.epoch.to_string());
        let stored = self.stored.remove(&key).unwrap_or(source.base);
        let most = if self.fresh { source.stood } else { u64::MAX };
        if stored > most {
            tracing::error!(stream = %source.key, offset = most, to = stored, "merged lines are gone from the archive");
        }
        let at = stored.max(source.base).min(most);
        self.cursors.insert(Arc::clone(source), at);
        at
    }

    /// Appends the batch, however long the disk makes it wait; `false` when a stop has lasted long enough.
    async fn append(&mut self) -> anyhow::Result<bool> {
        let changes = self
            .batch
            .cursors
            .drain(..)
            .map(places::change)
            .collect::<Result<Vec<_>, _>>()?;
        let (log, json) = (&mut self.batch.log, &mut self.batch.json);
        let mut parts = Vec::with_capacity(2);
        if self.outputs.log.is_some() {
            parts.push(std::mem::take(log));
        }
        if self.outputs.json.is_some() {
            parts.push(std::mem::take(json));
        }
        let mut result = self.appender.append(parts, changes).await;
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
        self.appended(appended);
        Ok(true)
    }

    /// Waits before a blocked append is tried again; `false` when a stop has lasted long enough.
    async fn wait(&mut self, left: &mut Duration) -> bool {
        self.metrics.merged_failures.inc();
        self.pulse.beat();
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

    /// Counts what stands and takes the buffers back.
    fn appended(&mut self, appended: Appended) {
        let mut buffers = appended.parts.into_iter().map(|mut buffer| {
            buffer.shrink_to(2 * BATCH_BYTES);
            buffer
        });
        if self.outputs.log.is_some() {
            self.batch.log = buffers.next().unwrap_or_default();
        }
        if self.outputs.json.is_some() {
            self.batch.json = buffers.next().unwrap_or_default();
        }
        count(
            &self.metrics.merged_lines,
            "file",
            "log",
            std::mem::take(&mut self.batch.lines),
        );
        count(
            &self.metrics.merged_lines,
            "file",
            "json",
            std::mem::take(&mut self.batch.records),
        );
        self.lag();
    }

    fn lag(&mut self) {
        let ends = self.inbox.ends();
        let behind = |(source, end): (Arc<Source>, u64)| end.saturating_sub(self.cursor(&source));
        let lag: u64 = ends.into_iter().map(behind).sum();
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
const BATCH_BYTES: usize = 1 << 20;
/// How much is read from the archive at a time.
const READ_BYTES: usize = 256 << 10;
/// The pause before a blocked append is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// The pause before failed outputs are opened again.
const REOPEN: Duration = Duration::from_secs(5);
