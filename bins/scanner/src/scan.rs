//! The loop: lines from the input, decisions by rules, and one transaction for both.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use rules::{Engine, Event, Stats};
use service::status::{Component, Pulse};
use tokio::sync::{Notify, watch};
use tracing::{debug, warn};

use crate::board::Board;
use crate::config::{Config, Retention};
use crate::event::{self, Moment};
use crate::line::Reader;
use crate::metrics::Metrics;
use crate::rulefiles::Snapshot;
use crate::source::{Chunk, Met, Source, Turn};
use crate::store::{Batch, Store};

mod retain;

/// What the loop works with.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) source: Source,
    pub(crate) rules: watch::Receiver<Snapshot>,
    pub(crate) metrics: Metrics,
    pub(crate) board: Arc<Board>,
    pub(crate) input: Component,
    pub(crate) disk: Component,
    pub(crate) pulse: Pulse,
    /// Told after each transaction with events.
    pub(crate) wake: Arc<Notify>,
    /// Events up to this number are read by everybody.
    pub(crate) needed: Arc<AtomicI64>,
}

/// The owner of everything that scanning moves.
#[derive(Debug)]
pub(crate) struct Scan {
    parts: Parts,
    engine: Engine,
    reader: Reader,
    retention: Retention,
    chunk: Chunk,
    hits: Vec<Event>,
    batch: Batch,
    /// Octets handed out since the last transaction.
    octets: u64,
    /// When the batch got its first part, and its first event.
    since: Option<Instant>,
    told: Stats,
    retained: Instant,
    shown: Instant,
}

impl Scan {
    /// Puts the engine back to what was stored.
    ///
    /// # Errors
    /// The state can't be read.
    pub(crate) async fn new(config: &Config, mut parts: Parts) -> anyhow::Result<Self> {
        let limits = rules::Limits {
            max_line: config.matched,
            burst: config.rate.burst,
            refill: config.rate.refill,
            ..rules::Limits::default()
        };
        let rows = parts
            .store
            .engine()
            .await
            .context("read the state of decisions")?;
        let set = Arc::clone(&parts.rules.borrow_and_update().set);
        let now = Instant::now();
        let mut engine = Engine::new(set, limits);
        let mut hits = Vec::new();
        let rows = rows
            .iter()
            .filter_map(|row| Some((&*row.key, row.value.as_deref()?)));
        engine.restore(now, wall_ms(), rows, &mut hits);
        let mut scan = Self {
            engine,
            reader: Reader::new("", config.strip_leading_time),
            retention: config.retention,
            chunk: Chunk::default(),
            hits,
            batch: Batch::default(),
            octets: 0,
            since: None,
            told: Stats::default(),
            retained: now,
            shown: now,
            parts,
        };
        scan.keep_rules();
        scan.summarise();
        scan.show();
        Ok(scan)
    }

    /// Scans until `stop`, and commits what it has then.
    ///
    /// # Errors
    /// What no further try would mend.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
        while !*stop.borrow() {
            self.parts.pulse.beat();
            self.take_rules();
            self.time_out();
            let wait = match self.parts.source.next(&mut self.chunk).await {
                Ok(Turn::Chunk) => {
                    self.parts.input.ok();
                    self.scan();
                    None
                }
                Ok(Turn::Idle(wait)) => {
                    self.parts.input.ok();
                    Some(wait)
                }
                Err(error) => {
                    self.failed(&error);
                    Some(RETRY)
                }
            };
            if self.is_due(wait.is_some()) && !self.commit(&mut stop).await {
                break;
            }
            self.retain().await;
            if self.shown.elapsed() >= SHOW {
                self.show();
            }
            match wait {
                Some(wait) if !wait.is_zero() => self.idle(wait, &mut stop).await,
                // The status and the stop have their turn too.
                _ => tokio::task::yield_now().await,
            }
        }
        self.end().await
    }

    /// The last transaction; one try.
    async fn end(mut self) -> anyhow::Result<()> {
        self.collect();
        if !self.batch.is_empty() {
            self.parts
                .store
                .commit(&self.batch)
                .await
                .context("commit the last batch")?;
        }
        self.parts.store.close().await.context("close the state")
    }

    /// Takes over rules that changed. Between two chunks, so that a line sees one set.
    fn take_rules(&mut self) {
        if !self.parts.rules.has_changed().unwrap_or(false) {
            return;
        }
        let set = Arc::clone(&self.parts.rules.borrow_and_update().set);
        if !Arc::ptr_eq(&set, self.engine.set()) {
            self.engine.swap(set, &mut self.hits);
            self.parts.metrics.swaps.inc();
            self.summarise();
        }
        self.keep_rules();
        self.show();
    }

    /// Stores the files as they were last good, for a start at which one is bad.
    fn keep_rules(&mut self) {
        let snapshot = self.parts.rules.borrow();
        self.parts
            .metrics
            .rules
            .set(snapshot.set.rules().len() as i64);
        self.parts
            .metrics
            .rule_problems
            .set(snapshot.problems.len() as i64);
        let files = serde_json::to_vec(&*snapshot.last_good).unwrap_or_default();
        drop(snapshot);
        self.batch.values.insert(RULES, files);
        self.since.get_or_insert_with(Instant::now);
    }

    /// Keys that went quiet.
    fn time_out(&mut self) {
        let now = Instant::now();
        if self.engine.poll_timeout().is_some_and(|at| at <= now) {
            self.engine.handle_timeout(now, &mut self.hits);
            self.summarise();
        }
    }

    /// Scans the chunk.
    fn scan(&mut self) {
        let chunk = std::mem::take(&mut self.chunk);
        let now = Instant::now();
        let mut moment = None;
        let reader = self.reader.of(&chunk.whence.worker);
        for range in &chunk.lines {
            let octets = &chunk.octets[range.clone()];
            if octets.is_empty() {
                continue;
            }
            let line = reader.read(octets);
            self.engine.scan(now, &line.facts(), &mut self.hits);
            for found in self.hits.drain(..) {
                let moment = moment.get_or_insert_with(Moment::now);
                let whence = event::Whence {
                    worker: &chunk.whence.worker,
                    stream: &chunk.whence.stream,
                    epoch: &chunk.whence.epoch,
                    offset: chunk.from + range.start as u64,
                };
                self.batch.events.push(match &found {
                    Event::Hit(hit) => event::of_hit(hit, &line, whence, moment),
                    Event::Summary(summary) => event::of_summary(summary, moment),
                });
            }
        }
        self.octets += chunk.octets.len() as u64;
        self.since.get_or_insert(now);
        self.chunk = chunk;
        self.parts.source.mark(&mut self.batch);
    }

    /// Summaries that no line led to.
    fn summarise(&mut self) {
        if self.hits.is_empty() {
            return;
        }
        let moment = Moment::now();
        for found in self.hits.drain(..) {
            if let Event::Summary(summary) = &found {
                self.batch.events.push(event::of_summary(summary, &moment));
            }
        }
        self.since.get_or_insert_with(Instant::now);
    }

    /// Whether it is time for a transaction: events should not wait, places may.
    fn is_due(&self, idle: bool) -> bool {
        let Some(since) = self.since else {
            return false;
        };
        let events = self.batch.events.len();
        let age = since.elapsed();
        (events > 0 && (idle || age >= EVENT_DELAY))
            || events >= MAX_EVENTS
            || age >= PLACE_DELAY
            || self.octets >= MAX_OCTETS
    }

    /// Adds what belongs to the batch as it ends.
    fn collect(&mut self) {
        self.parts.source.mark(&mut self.batch);
        let changes = self.engine.changes(Instant::now(), wall_ms());
        if changes.all {
            self.batch.engine = changes;
        } else {
            self.batch.engine.rows.extend(changes.rows);
        }
    }

    /// Commits the batch, again and again until it stands; nothing is read meanwhile. False: told to stop before.
    async fn commit(&mut self, stop: &mut watch::Receiver<bool>) -> bool {
        self.collect();
        let began = Instant::now();
        let newest = loop {
            match self.parts.store.commit(&self.batch).await {
                Ok(newest) => break newest,
                Err(error) => {
                    let why = format!("{:#}", anyhow::Error::new(error));
                    self.parts.metrics.commit_errors.inc();
                    warn!(error = why, "events can't be written, trying again");
                    self.parts.disk.failed(why);
                }
            }
            self.parts.pulse.beat();
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return false,
                () = tokio::time::sleep(RETRY) => {}
            }
        };
        self.parts.disk.ok();
        self.parts.metrics.commits.inc();
        self.parts
            .metrics
            .commit_seconds
            .observe(began.elapsed().as_secs_f64());
        self.parts
            .metrics
            .events
            .inc_by(self.batch.events.len() as u64);
        debug!(events = self.batch.events.len(), "committed");
        if newest.is_some() {
            self.parts.wake.notify_one();
        }
        self.batch = Batch::default();
        (self.octets, self.since) = (0, None);
        self.count();
        true
    }

    /// Metrics since the last time.
    fn count(&mut self) {
        let stats = *self.engine.stats();
        self.parts.metrics.engine(&self.told, &stats);
        self.told = stats;
        let met: Met = self.parts.source.met();
        self.parts.metrics.met(met);
    }

    /// Shows the status page where it stands.
    fn show(&mut self) {
        self.shown = Instant::now();
        self.count();
        let standing = self.parts.source.standing();
        self.parts.metrics.standing(standing);
        let snapshot = self.parts.rules.borrow().clone();
        self.parts.board.show(&self.engine, standing, snapshot);
    }

    /// Waits for something new: in the input, in the rules, or that time has come.
    async fn idle(&mut self, wait: Duration, stop: &mut watch::Receiver<bool>) {
        let mut until = Instant::now() + wait.min(self.parts.pulse.period());
        if let Some(at) = self.engine.poll_timeout() {
            until = until.min(at);
        }
        if let Some(since) = self.since {
            until = until.min(since + PLACE_DELAY);
        }
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => {}
            () = changed(&mut self.parts.rules) => {}
            () = self.parts.source.changed() => {}
            () = tokio::time::sleep_until(until.into()) => {}
        }
    }

    fn failed(&mut self, error: &anyhow::Error) {
        let why = format!("{error:#}");
        self.parts.metrics.tail_errors.inc();
        debug!(error = why, "the input can't be read");
        self.parts.input.failed(why);
    }
}

/// Waits for other rules; for ever once nobody looks after them any more.
async fn changed(rules: &mut watch::Receiver<Snapshot>) {
    if rules.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
    // Seen here, and taken over in the loop.
    rules.mark_changed();
}

/// This host's clock, in Unix milliseconds.
fn wall_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The name of the stored value: rule files as they were last good.
pub(crate) const RULES: &str = "rules";

/// How long an event waits for others, while there is more to read.
const EVENT_DELAY: Duration = Duration::from_millis(50);

/// How long places wait: what is scanned again after a crash makes no event twice.
const PLACE_DELAY: Duration = Duration::from_secs(1);

/// Most events in a transaction, but for those of one chunk.
const MAX_EVENTS: usize = 1000;

/// Most octets that are scanned again after a crash.
const MAX_OCTETS: u64 = 64 << 20;

/// Time between two tries.
const RETRY: Duration = Duration::from_secs(1);

/// How often the status is made anew.
const SHOW: Duration = Duration::from_millis(500);
