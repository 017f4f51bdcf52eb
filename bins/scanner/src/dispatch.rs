//! From events to webhooks: a loop that reads events by a cursor, queues a webhook for every trigger that an event is
//! for, and sends each trigger's in order.
//!
//! It can't write events: it has a reader of them, and a database of its own. So what a webhook leads to never becomes
//! an event, whatever a trigger matches.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use rules::PatternCache;
use service::Seldom;
use service::config::Problem;
use service::status::{Component, Pulse, Telemetry};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use webhook::{Limits, Resolver, SystemResolver};

use crate::store::EventReader;
use crate::trigger::{Directory, Triggers};
use crate::watch::DirWatch;

mod schedule;

mod flood;

mod queue;

mod sender;

mod lane;

mod turn;

mod shown;

mod metrics;

pub(crate) mod commands;
pub(crate) mod config;

use config::Config;
use lane::Lane;
use metrics::Metrics;
use queue::{Opened, Queue, Waiting};
use schedule::Schedule;
use sender::{Sender, Sent};
pub(crate) use shown::Shown;

/// Everything that is wrong with trigger files, the URLs in them and the secrets that they name.
pub(crate) fn check(config: &Config, triggers: &Path) -> Vec<Problem> {
    let mut directory = Directory::new(triggers, config.policy.clone());
    directory.read().problems
}

/// The dispatcher: one loop owns it.
#[derive(Debug)]
pub(crate) struct Dispatcher<R = SystemResolver> {
    queue: Queue,
    events: EventReader,
    sender: Arc<Sender<R>>,
    schedule: Schedule,
    directory: Option<Directory>,
    dir: std::path::PathBuf,
    triggers: Arc<Triggers>,
    lanes: BTreeMap<String, Lane>,
    patterns: PatternCache,
    cursor: i64,
    needed: Arc<AtomicI64>,
    /// The queue's version when others' writes were last looked for.
    version: Option<i64>,
    /// Attempts that were made and are not written down yet.
    landed: VecDeque<Landed>,
    /// Whether there may be lanes to make or forget.
    stale: bool,
    /// When events and others' writes were last looked for; `None`: look at once.
    looked: Option<Instant>,
    pruned: Option<Instant>,
    metrics: Metrics,
    pulse: Pulse,
    component: Component,
    shown: Shown,
    /// Why the last turn was not made to its end.
    error: Option<String>,
    /// For log lines that may repeat, by trigger.
    seldom: Seldom<String>,
}

/// An attempt that was made.
#[derive(Debug)]
struct Landed {
    trigger: String,
    waiting: Waiting,
    sent: Sent,
    /// The mark of the URL that it went to.
    url_mark: i64,
}

impl Dispatcher {
    /// Opens the queue in the state directory and reads the triggers. The events must be there.
    ///
    /// # Errors
    /// State that cannot be used, or a file of certificate authorities.
    pub(crate) async fn open(
        state: &Path,
        config: &Config,
        triggers: &Path,
        telemetry: &mut Telemetry,
    ) -> anyhow::Result<Self> {
        let sender = Sender::new(SystemResolver::default(), config, Limits::default())?;
        Self::with(sender, state, config, triggers, telemetry).await
    }
}

impl<R: Resolver + 'static> Dispatcher<R> {
    async fn with(
        sender: Sender<R>,
        state: &Path,
        config: &Config,
        dir: &Path,
        telemetry: &mut Telemetry,
    ) -> anyhow::Result<Self> {
        let Opened { mut queue, cursor } = Queue::open(state).await?;
        let mut events = EventReader::open(state).await?;
        let last = events.last_seq().await.context("read events")?;
        let cursor = match cursor {
            Some(cursor) if cursor <= last => cursor,
            other => {
                // A first start tells nobody of the past. Behind the end are the events of another file.
                let cursor = if other.is_some() { 0 } else { last };
                queue.begin_at(cursor).await.context("write the queue")?;
                cursor
            }
        };
        let mut directory = Directory::new(dir, config.policy.clone());
        let mut dispatcher = Self {
            queue,
            events,
            sender: Arc::new(sender),
            schedule: config.schedule.clone(),
            triggers: Arc::default(),
            lanes: BTreeMap::new(),
            patterns: PatternCache::new(),
            cursor,
            needed: Arc::new(AtomicI64::new(cursor)),
            version: None,
            landed: VecDeque::new(),
            stale: true,
            looked: None,
            pruned: None,
            metrics: Metrics::new(&mut telemetry.registry),
            pulse: telemetry.health().pulse("dispatch"),
            component: telemetry.health().component("webhooks"),
            shown: Shown::default(),
            error: None,
            seldom: Seldom::new(Duration::from_secs(60)),
            dir: dir.to_owned(),
            directory: None,
        };
        dispatcher.adopt(directory.read());
        dispatcher.directory = Some(directory);
        Ok(dispatcher)
    }

    /// The number of the last event that is done with: those behind it are still to be read.
    pub(crate) fn needed(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.needed)
    }

    /// What is shown of triggers and their queues.
    pub(crate) fn status(&self) -> Shown {
        self.shown.clone()
    }

    /// Works until `stop`. `wake` is told when there are new events; it looks every second as well.
    pub(crate) async fn run(mut self, wake: Arc<Notify>, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let (send, mut changed) = mpsc::channel(1);
        let mut watcher = JoinSet::new();
        if let Some(directory) = self.directory.take() {
            watcher.spawn(watch(
                directory,
                self.dir.clone(),
                Arc::clone(&self.triggers),
                send,
            ));
        }
        let mut flights = JoinSet::new();
        loop {
            self.pulse.beat();
            let turn = self.turn(&mut flights).await;
            let error = turn.as_ref().err().map(|error| format!("{error:#}"));
            if let Some(error) = &error
                && let Some(left_out) = self.seldom.allow(String::new(), Instant::now())
            {
                tracing::error!(error, left_out, "webhooks wait");
            }
            match &error {
                Some(error) => self.component.failed(error),
                None => self.component.ok(),
            }
            self.error = error;
            let wait = turn.unwrap_or(IDLE);
            self.show();
            tokio::select! {
                () = &mut stop => break,
                Some(landed) = flights.join_next() => self.land(landed),
                Some(triggers) = changed.recv() => self.adopt(triggers),
                () = wake.notified() => self.looked = None,
                () = tokio::time::sleep(wait) => {}
            }
        }
        watcher.shutdown().await;
        self.drain(flights).await;
    }

    /// Waits a little for attempts that are under way, so that they need not be repeated.
    async fn drain(mut self, mut flights: JoinSet<Landed>) {
        let all = async {
            while let Some(landed) = flights.join_next().await {
                self.land(landed);
            }
        };
        let left = tokio::time::timeout(DRAIN, all).await.is_err();
        tracing::debug!(left, "attempts under way at the end");
        if let Err(error) = self.write_down().await {
            tracing::warn!(error = format!("{error:#}"), "attempts will be repeated");
        }
    }

    fn land(&mut self, landed: Result<Landed, tokio::task::JoinError>) {
        match landed {
            Ok(landed) => self.landed.push_back(landed),
            Err(error) => {
                tracing::error!(%error, "an attempt ended in a panic");
                let task = |lane: &(&String, &mut Lane)| lane.1.task == Some(error.id());
                let Some((trigger, lane)) = self.lanes.iter_mut().find(task) else {
                    return;
                };
                match &lane.head {
                    lane::Head::Known(waiting) => self.landed.push_back(Landed {
                        trigger: trigger.clone(),
                        waiting: waiting.clone(),
                        sent: Sent::failed("the attempt ended in a panic"),
                        url_mark: lane.health.url_mark,
                    }),
                    lane::Head::Unknown | lane::Head::Nobody => lane.flying = None,
                }
            }
        }
    }

    fn adopt(&mut self, triggers: Triggers) {
        for problem in &triggers.problems {
            tracing::warn!(%problem, "trigger file");
        }
        let problems = i64::try_from(triggers.problems.len()).unwrap_or(i64::MAX);
        self.metrics.problems.set(problems);
        tracing::info!(
            triggers = triggers.rows.len(),
            problems,
            "triggers in force"
        );
        self.triggers = Arc::new(triggers);
        self.stale = true;
    }

    fn move_to(&mut self, cursor: i64) {
        self.cursor = cursor;
        self.needed.store(cursor, Ordering::Release);
    }
}

/// Reads the directory again whenever something changes in it, and passes on what is new.
async fn watch(
    mut directory: Directory,
    dir: std::path::PathBuf,
    first: Arc<Triggers>,
    changed: mpsc::Sender<Triggers>,
) {
    let mut known = first;
    let mut watch = DirWatch::new(&dir);
    loop {
        watch.changed().await;
        let read = tokio::task::spawn_blocking(move || (directory.read(), directory));
        let Ok((triggers, back)) = read.await else {
            return;
        };
        directory = back;
        if triggers != *known {
            known = Arc::new(triggers.clone());
            if changed.send(triggers).await.is_err() {
                return;
            }
        }
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

/// How long the loop rests when nothing wakes it: what another process put into the queue is found that late.
const IDLE: Duration = Duration::from_secs(1);

/// How long a stop waits for attempts under way.
const DRAIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
