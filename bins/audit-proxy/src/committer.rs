//! Makes groups durable, one after the other: lines and states by planned append, then what the ledger must know.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use offsets::{AppendError, Appended, Appender, Change, Fact, Ledger, LedgerError, Recovered};
use serde_json::Map;
use service::status::Component;
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use crate::event::raised;
use crate::group::{Group, Output};
use crate::metrics::{FORWARD_FAILED, Metrics};
use crate::report::GAP;
use crate::run::LEDGER;

/// The owner of the files that others read.
#[derive(Debug)]
pub(crate) struct Committer {
    appender: Appender,
    ledger: Book,
    metrics: Metrics,
    disk_ok: Component,
    /// Announced gaps that stand in the ledger: struck off with the next group.
    struck: Vec<Change>,
}

/// What the process before left to be told.
#[derive(Debug)]
pub(crate) struct Leftovers {
    /// What the planned append found.
    pub(crate) recovered: Vec<Recovered>,
    /// Gaps that were announced, with their keys.
    pub(crate) announced: Vec<(String, Fact)>,
}

/// How the committer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Everything handed over is durable.
    Durable,
    /// The disk did not take the last group in time.
    GivenUp,
}

impl Committer {
    /// Takes over the files, and the ledger in `state`, which is told first what was `left`.
    ///
    /// # Errors
    /// A ledger that can't be written.
    pub(crate) async fn new(
        appender: Appender,
        state: &Path,
        left: Leftovers,
        metrics: Metrics,
        disk_ok: Component,
    ) -> anyhow::Result<Self> {
        let mut facts: Vec<Fact> = left.recovered.iter().filter_map(Recovered::tell).collect();
        let mut struck = Vec::new();
        for (key, fact) in left.announced {
            facts.push(fact);
            struck.push(Change::Delete { key });
        }
        let mut ledger = Book::new(state.join(LEDGER));
        ledger.record(&mut facts).await?;
        disk_ok.ok();
        Ok(Self {
            appender,
            ledger,
            metrics,
            disk_ok,
            struck,
        })
    }

    /// Works until `full` is closed, or until `give_up` while the disk takes nothing.
    ///
    /// # Errors
    /// What can't be repaired in this process: a failed sync, a damaged store.
    pub(crate) async fn run(
        mut self,
        mut full: mpsc::Receiver<Group>,
        empty: mpsc::Sender<Output>,
        mut give_up: watch::Receiver<bool>,
    ) -> anyhow::Result<End> {
        // The second output: the gatherer fills one while the other is here.
        let _ = empty.try_send(Output::default());
        while let Some(group) = full.recv().await {
            let began = Instant::now();
            let Group {
                output,
                batches,
                records,
                mut changes,
                gaps,
                mut facts,
            } = group;
            changes.append(&mut self.struck);
            let parts = vec![output.log, output.json];
            let appended = self
                .append(parts, changes, batches, records, &mut give_up)
                .await?;
            let Some(done) = appended else {
                return Ok(End::GivenUp);
            };
            self.metrics.forwarded.inc_by(batches);
            self.metrics.records.inc_by(records);
            self.metrics.bytes.inc_by(done.bytes);
            self.metrics.commits.inc();
            self.metrics
                .commit_seconds
                .observe(began.elapsed().as_secs_f64());
            for (key, fact) in gaps {
                facts.push(fact);
                self.struck.push(Change::Delete { key });
            }
            if !self.told(facts, &mut give_up).await? {
                // Gaps stay announced; the next start tells them.
                return Ok(End::GivenUp);
            }
            let mut parts = done.parts.into_iter();
            let spare = Output {
                log: parts.next().unwrap_or_default(),
                json: parts.next().unwrap_or_default(),
            };
            let _ = empty.try_send(spare);
        }
        self.appender.flush().await.context("store the state")?;
        Ok(End::Durable)
    }

    /// Appends, waiting out a full disk; `None` when it has to give up.
    async fn append(
        &mut self,
        parts: Vec<Vec<u8>>,
        changes: Vec<Change>,
        batches: u64,
        records: u64,
        give_up: &mut watch::Receiver<bool>,
    ) -> anyhow::Result<Option<Appended>> {
        let mut result = self.appender.append(parts, changes).await;
        let mut blocked: Option<(PathBuf, Instant)> = None;
        loop {
            let (path, source) = match result {
                Ok(done) => {
                    if let Some((path, since)) = blocked {
                        self.works(&path, since);
                    }
                    return Ok(Some(done));
                }
                Err(AppendError::Blocked { path, source }) => (path, source),
                Err(error) => return Err(error).context("append a batch"),
            };
            self.metrics.blocked.set(1);
            self.disk_ok.failed(format!("{}: {source}", path.display()));
            if blocked.as_ref().is_none_or(|(known, _)| *known != path) {
                error!(path = %path.display(), error = %source, "can't write, waiting until it works again");
                let since = blocked.map_or_else(Instant::now, |(_, since)| since);
                blocked = Some((path, since));
            }
            tokio::select! {
                () = tokio::time::sleep(BLOCKED_PAUSE) => {}
                () = raised(give_up) => {
                    let kept = self.appender.is_kept().await;
                    if kept.context("ask what becomes of the last batch")? {
                        info!(batches, records, "the next start writes what the disk did not take");
                    } else {
                        self.lost(batches, records).await;
                    }
                    return Ok(None);
                }
            }
            result = self.appender.resume().await;
        }
    }

    /// Tells the ledger, waiting out a full disk; false when it has to give up.
    async fn told(
        &mut self,
        mut facts: Vec<Fact>,
        give_up: &mut watch::Receiver<bool>,
    ) -> anyhow::Result<bool> {
        if facts.is_empty() {
            return Ok(true);
        }
        let mut since = None;
        while let Err(error) = self.ledger.record(&mut facts).await {
            let error = format!("{error:#}");
            if since.is_none() {
                error!(
                    error,
                    "can't write the ledger, waiting until it works again"
                );
                since = Some(Instant::now());
            }
            self.metrics.blocked.set(1);
            self.disk_ok.failed(error);
            tokio::select! {
                () = tokio::time::sleep(BLOCKED_PAUSE) => {}
                () = raised(give_up) => return Ok(false),
            }
        }
        if let Some(since) = since {
            self.works(&self.ledger.path.clone(), since);
        }
        Ok(true)
    }

    fn works(&self, path: &Path, since: Instant) {
        self.metrics.blocked.set(0);
        self.disk_ok.ok();
        let elapsed_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        info!(path = %path.display(), elapsed_ms, "writing goes on");
    }

    /// A group is given up: counts it, and tells the ledger if that can still be written.
    async fn lost(&mut self, batches: u64, records: u64) {
        self.metrics.dropped(FORWARD_FAILED, batches, records);
        error!(
            batches,
            records, "records given up, they could not be written"
        );
        let mut more = Map::new();
        more.insert("cause".to_owned(), FORWARD_FAILED.into());
        more.insert("times".to_owned(), batches.into());
        more.insert("records".to_owned(), records.into());
        let fact = Fact {
            kind: GAP.to_owned(),
            more,
            ..Fact::default()
        };
        if let Err(error) = self.ledger.record(&mut vec![fact]).await {
            error!(
                error = format!("{error:#}"),
                "the ledger can't be told either"
            );
        }
    }
}

/// The ledger, opened (again) when it is not at hand: after a failed write its end is unknown until then.
#[derive(Debug)]
struct Book {
    path: PathBuf,
    open: Arc<Mutex<Option<Ledger>>>,
}

impl Book {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            open: Arc::default(),
        }
    }

    /// Writes the facts, and leaves of them what does not stand. Repeating a gap is harmless, as it has a base that names
    /// it; a tally has none.
    async fn record(&mut self, facts: &mut Vec<Fact>) -> anyhow::Result<()> {
        let (path, open, told) = (self.path.clone(), Arc::clone(&self.open), facts.clone());
        let write = tokio::task::spawn_blocking(move || {
            let mut held = open.lock().unwrap_or_else(PoisonError::into_inner);
            let mut ledger = match held.take() {
                Some(ledger) => ledger,
                None => {
                    let opened = Ledger::open(path).map_err(|error| (error, 0))?;
                    if let Some(torn) = opened.torn {
                        warn!(path = %torn.quarantine.display(), bytes = torn.len, "ledger's torn end set aside");
                    }
                    opened.ledger
                }
            };
            if let Err(error) = ledger.append(&told, SystemTime::now()) {
                return Err((error, ledger.stood()));
            }
            *held = Some(ledger);
            Ok::<_, (LedgerError, usize)>(told.len())
        });
        let (stood, written) = match write.await.context("write the ledger")? {
            Ok(all) => (all, Ok(())),
            Err((error, stood)) => (stood, Err(error)),
        };
        facts.drain(..stood);
        written.context("write the ledger")
    }
}

/// Time between two tries to write while the disk is full.
const BLOCKED_PAUSE: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests;
