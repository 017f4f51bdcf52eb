//! Makes batches durable, one after the other: lines, cursors and books by planned append, then gaps
//! into the ledger, then the news to everybody who waits for it.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context as _;
use offsets::{
    AppendError, Appended, Appender, Change, Fact, Ledger, LedgerError, Recovered, UNCERTAIN,
};
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use crate::{
    books::Books,
    checkpoint::Checkpoint,
    feed::Feed,
    fleet::Finished,
    gap::Notice,
    metrics::{CauseLabel, Metrics},
    otlp::Queue,
    render::Output,
    roster::Roster,
    source::Cause,
    writer::Work,
};

/// The owner of the files that others read.
#[derive(Debug)]
pub struct Committer {
    appender: Appender,
    ledger_path: PathBuf,
    /// Away while a blocking thread writes it, and after a write that failed.
    ledger: Option<Ledger>,
    roster: Arc<Roster>,
    metrics: Metrics,
    disk_ok: service::status::Component,
    suppressed: Suppressed,
    /// The bus, if it is on.
    feed: Option<Feed>,
    /// Announced gaps that stand in the ledger: struck off with the next batch.
    struck: Vec<Change>,
    tracing: Option<Queue>,
}

/// Records left out since the last log line about them.
#[derive(Debug, Default)]
struct Suppressed {
    said: Option<Instant>,
    repeated: u64,
    service: u64,
}

impl Committer {
    /// Takes over files and ledger. `left` are gaps that an earlier process announced and `recovered`
    /// what the planned append found; both go into the ledger first.
    ///
    /// # Errors
    /// A ledger that can't be written; an announcement that can't be read.
    pub async fn new(
        appender: Appender,
        ledger_path: PathBuf,
        left: Vec<(String, Vec<u8>)>,
        recovered: &[Recovered],
        roster: Arc<Roster>,
        metrics: Metrics,
        disk_ok: service::status::Component,
    ) -> anyhow::Result<Committer> {
        let mut committer = Committer {
            appender,
            ledger_path,
            ledger: None,
            suppressed: Suppressed::default(),
            feed: None,
            roster,
            metrics,
            disk_ok,
            struck: Vec::new(),
            tracing: None,
        };
        let mut facts = Vec::new();
        for found in recovered {
            if let Some(fact) = found.tell() {
                committer.count_gap(UNCERTAIN, None);
                facts.push(fact);
            }
        }
        for (key, value) in left {
            let notice: Notice = serde_json::from_slice(&value)
                .with_context(|| format!("read the announced gap {key}"))?;
            facts.push(notice.fact());
            committer.struck.push(Change::Delete { key });
        }
        committer.record(&facts).await?;
        committer.disk_ok.ok();
        Ok(committer)
    }

    /// Tells the bus of what is durable.
    pub fn set_feed(&mut self, feed: Option<Feed>) {
        self.feed = feed;
    }

    /// The same committer, which hands over the spans of what is durable.
    #[must_use]
    pub fn traced(mut self, tracing: Option<Queue>) -> Committer {
        self.tracing = tracing;
        self
    }

    /// Works until `full` is closed, or until `stop` while the disk is full: what is pending then is
    /// finished by the next start.
    ///
    /// # Errors
    /// What can't be repaired in this process: a failed sync, a damaged store.
    pub async fn run(
        mut self,
        mut full: mpsc::Receiver<Work>,
        empty: mpsc::Sender<Output>,
        finished: mpsc::UnboundedSender<Finished>,
        mut stop: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        // The second output: the writer fills one while the other is here.
        let _ = empty.try_send(Output::default());
        while let Some(mut work) = full.recv().await {
            let began = Instant::now();
            let mut changes = std::mem::take(&mut work.changes);
            changes.append(&mut self.struck);
            let prepare = |feed: &Feed| feed.prepare(&work.output.json);
            let news = self.feed.as_ref().map(prepare);
            let parts = vec![work.output.log, work.output.json];
            let Some(done) = self.append(parts, changes, &mut stop).await? else {
                return self.left(&work.books).await;
            };
            if let (Some(feed), Some(news)) = (&self.feed, news) {
                feed.publish(news);
            }
            let mut parts = done.parts.into_iter();
            let output = Output {
                log: parts.next().unwrap_or_default(),
                json: parts.next().unwrap_or_default(),
                ..Output::default()
            };
            if let Some(queue) = &self.tracing {
                queue.offer_ended(work.output.spans);
                queue.over(work.output.spans_over);
            }
            self.metrics.commits.inc();
            self.metrics
                .commit_seconds
                .observe(began.elapsed().as_secs_f64());
            self.metrics.corrupt.inc_by(work.corrupt);
            for (id, checkpoint) in &work.books {
                let before = self.roster.durable(id, &checkpoint.books);
                self.metrics
                    .add(&checkpoint.name, &before, &checkpoint.books);
                self.suppressed.add(&before, &checkpoint.books);
            }
            self.suppressed.say(began);
            if !self.gaps(work.gaps, &mut stop).await? {
                return Ok(());
            }
            for ended in work.finished {
                // Only fails while the program stops.
                let _ = finished.send(ended);
            }
            let _ = empty.try_send(output);
        }
        self.appender.flush().await.context("store cursors")?;
        Ok(())
    }

    /// Enters a batch that the next start writes into the books, as what they do not have is lost where nothing can be
    /// read again.
    async fn left(&mut self, books: &[(String, Checkpoint)]) -> anyhow::Result<()> {
        let kept = self.appender.is_kept().await;
        if kept.context("ask what becomes of the last batch")? {
            for (id, checkpoint) in books {
                self.roster.durable(id, &checkpoint.books);
            }
        }
        Ok(())
    }

    /// Appends, waiting out a full disk; `None` when told to stop meanwhile.
    async fn append(
        &mut self,
        parts: Vec<Vec<u8>>,
        changes: Vec<Change>,
        stop: &mut watch::Receiver<bool>,
    ) -> anyhow::Result<Option<Appended>> {
        let mut result = self.appender.append(parts, changes).await;
        let mut blocked: Option<(PathBuf, Instant)> = None;
        loop {
            match result {
                Ok(done) => {
                    if let Some((path, since)) = blocked {
                        self.metrics.blocked.set(0);
                        self.disk_ok.ok();
                        let elapsed_ms =
                            u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
                        info!(path = %path.display(), elapsed_ms, "writing goes on");
                    }
                    return Ok(Some(done));
                }
                Err(AppendError::Blocked { path, source }) => {
                    self.metrics.blocked.set(1);
                    self.disk_ok.failed(format!("{}: {source}", path.display()));
                    if blocked.as_ref().is_none_or(|(known, _)| *known != path) {
                        error!(path = %path.display(), error = %source, "can't write, waiting until it works again");
                        blocked =
                            Some((path, blocked.map_or_else(Instant::now, |(_, since)| since)));
                    }
                    tokio::select! {
                        () = tokio::time::sleep(BLOCKED_PAUSE) => {}
                        _ = stop.wait_for(|stop| *stop) => return Ok(None),
                    }
                    result = self.appender.resume().await;
                }
                Err(error) => return Err(error).context("append a batch"),
            }
        }
    }

    /// Writes gaps into the ledger, waiting out a full disk; false when told to stop meanwhile: they are
    /// announced, and the next start writes them.
    async fn gaps(
        &mut self,
        gaps: Vec<(String, Notice)>,
        stop: &mut watch::Receiver<bool>,
    ) -> anyhow::Result<bool> {
        if gaps.is_empty() {
            return Ok(true);
        }
        let facts: Vec<Fact> = gaps.iter().map(|(_, notice)| notice.fact()).collect();
        let mut said = false;
        while let Err(error) = self.record(&facts).await {
            let error = format!("{error:#}");
            if !std::mem::replace(&mut said, true) {
                error!(
                    error,
                    "can't write the ledger, waiting until it works again"
                );
            }
            self.metrics.blocked.set(1);
            self.disk_ok.failed(error);
            tokio::select! {
                () = tokio::time::sleep(BLOCKED_PAUSE) => {}
                _ = stop.wait_for(|stop| *stop) => return Ok(false),
            }
        }
        self.metrics.blocked.set(0);
        self.disk_ok.ok();
        for (key, notice) in gaps {
            warn!(
                container = notice.container,
                output = notice.stream,
                bytes = notice.bytes,
                cause = notice.cause,
                "lines are missing"
            );
            self.count_gap(cause(&notice.cause), notice.bytes);
            self.struck.push(Change::Delete { key });
        }
        Ok(true)
    }

    /// Appends to the ledger, which is opened (again) if it is not at hand: after a failed write its end
    /// is unknown until then. Repeating a fact is harmless.
    async fn record(&mut self, facts: &[Fact]) -> anyhow::Result<()> {
        let (path, open) = (self.ledger_path.clone(), self.ledger.take());
        let facts = facts.to_vec();
        let write = tokio::task::spawn_blocking(move || {
            let mut ledger = match open {
                Some(ledger) => ledger,
                None => open_ledger(path)?,
            };
            if !facts.is_empty() {
                ledger.append(&facts, SystemTime::now())?;
            }
            Ok::<_, LedgerError>(ledger)
        });
        let ledger = write.await.context("write the ledger")?;
        self.ledger = Some(ledger.context("write the ledger")?);
        Ok(())
    }

    fn count_gap(&self, cause: &'static str, bytes: Option<u64>) {
        let label = CauseLabel { cause };
        self.metrics.gaps.get_or_create(&label).inc();
        self.metrics
            .gap_bytes
            .get_or_create(&label)
            .inc_by(bytes.unwrap_or(0));
    }
}

impl Suppressed {
    fn add(&mut self, before: &Books, after: &Books) {
        self.repeated += after.records.repeated - before.records.repeated;
        self.service += after.records.service - before.records.service;
    }

    fn say(&mut self, now: Instant) {
        let due = self.said.is_none_or(|said| now >= said + SUPPRESSED_EVERY);
        if due && self.repeated + self.service > 0 {
            let Suppressed {
                repeated, service, ..
            } = *self;
            info!(repeated, service, "records left out of the json file");
            *self = Suppressed {
                said: Some(now),
                ..Suppressed::default()
            };
        }
    }
}

fn open_ledger(path: PathBuf) -> Result<Ledger, LedgerError> {
    let opened = Ledger::open(path)?;
    if let Some(torn) = opened.torn {
        warn!(path = %torn.quarantine.display(), bytes = torn.len, "ledger's torn end set aside");
    }
    Ok(opened.ledger)
}

/// A cause as a metric label, of which there is a fixed set.
fn cause(text: &str) -> &'static str {
    Cause::ALL
        .map(Cause::as_str)
        .into_iter()
        .chain(["removed"])
        .find(|known| *known == text)
        .unwrap_or("other")
}

/// Time between two log lines about suppressed records.
const SUPPRESSED_EVERY: Duration = Duration::from_secs(60);
/// Time between two tries to write while the disk is full.
const BLOCKED_PAUSE: Duration = Duration::from_millis(250);
