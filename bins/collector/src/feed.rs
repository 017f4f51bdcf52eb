//! Durable records on their way to the bus: `system.log` for each, and what the sessions are made of.
//!
//! It works on the octets of `.json`, a batch at a time: an event is cut out of its record's line, not made again. What is
//! published was durable before; a batch that a crash left to the next start is not published by either (at most once).

use std::{path::PathBuf, sync::Arc, time::Duration};

use bus::{Batch, Bus, MAX_QUEUED_EVENTS, Publisher};
use memchr::memmem::Finder;
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};
use service::{Seldom, status::Register as _};
use tokio::{
    sync::mpsc,
    task::{JoinSet, spawn_blocking},
    time::Instant,
};
use tracing::warn;

use crate::{
    config::SessionSettings,
    sessions::{self, Ended, Sessions},
    transcript,
};

/// Hands durable records to the bus; held by the committer.
#[derive(Debug)]
pub struct Feed {
    publisher: Publisher,
    sessions: mpsc::Sender<Vec<u8>>,
    skipped: Counter,
    keys: Keys,
}

/// What a batch has for the bus, once it is durable.
#[derive(Debug, Default)]
pub struct News {
    batch: Option<Batch>,
    /// Records of which no event was made, because nobody would take it.
    forgone: u64,
    /// Whole lines of `.json` that sessions are made of.
    lines: Vec<u8>,
}

/// The task that makes sessions. Dropped, it ends.
#[derive(Debug)]
pub struct Aggregation(JoinSet<()>);

#[derive(Clone, Debug, Default)]
struct Metrics {
    ended: Counter,
    skipped: Counter,
    without_transcript: Counter,
    attackers: Gauge,
}

impl Feed {
    /// A feed of the bus, and the task behind it; `None` if the bus is off.
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn start(
        bus: &Bus,
        settings: &SessionSettings,
        registry: &mut Registry,
    ) -> Option<(Feed, Aggregation)> {
        let publisher = bus.publisher()?;
        let registry = registry.sub_registry_with_prefix("sessions");
        let metrics = Metrics {
            ended: registry.metric("ended", "Sessions of attackers that ended"),
            skipped: registry.metric("skipped_records", "Records that no session was told of"),
            without_transcript: registry.metric("without_transcript", "No transcript was found"),
            attackers: registry.metric("attackers", "Attackers whose commands are remembered"),
        };
        let (sender, received) = mpsc::channel(MAX_WAITING);
        let feed = Feed {
            publisher: publisher.clone(),
            sessions: sender,
            skipped: metrics.skipped.clone(),
            keys: Keys::default(),
        };
        let mut task = JoinSet::new();
        let sessions = Sessions::new(sessions::Limits {
            ttl: settings.ttl,
            ..sessions::Limits::default()
        });
        let artifacts = settings.artifacts.clone();
        task.spawn(aggregate(received, sessions, artifacts, publisher, metrics));
        Some((feed, Aggregation(task)))
    }

    /// Looks through the records of a batch before it is written.
    #[must_use]
    pub fn prepare(&self, json: &[u8]) -> News {
        let mut news = News::default();
        if json.is_empty() {
            return news;
        }
        let records = memchr::memchr_iter(b'\n', json).count();
        // More than the queue holds would only push out themselves.
        let newest = match self.publisher.is_open() {
            true => records.min(MAX_QUEUED_EVENTS),
            false => 0,
        };
        let first = records - newest;
        news.forgone = first as u64;
        let mut batch = self.publisher.batch(TOPIC);
        let mut skipped = 0;
        let mut start = 0;
        for (at, end) in memchr::memchr_iter(b'\n', json).enumerate() {
            let line = &json[start..=end];
            start = end + 1;
            let Some(parts) = self.keys.parts(line) else {
                debug_assert!(false, "a record without its keys");
                continue;
            };
            if at >= first {
                let payload: [&[u8]; 5] = [b"{", parts.middle, b",", parts.time, b"}"];
                batch.add_json(parts.event_type, &payload);
            }
            if sessions::concerns(parts.event_type) {
                if news.lines.len() + line.len() <= MAX_LINES {
                    news.lines.extend_from_slice(line);
                } else {
                    skipped += 1;
                }
            }
        }
        self.skipped.inc_by(skipped);
        news.batch = Some(batch);
        news
    }

    /// Hands over what [`Feed::prepare`] found, now that it is durable. Waits for nothing.
    pub fn publish(&self, news: News) {
        self.publisher.forgo(TOPIC, news.forgone);
        if let Some(batch) = news.batch {
            self.publisher.publish(batch);
        }
        if !news.lines.is_empty()
            && let Err(error) = self.sessions.try_send(news.lines)
        {
            let lines = error.into_inner();
            let lines = memchr::memchr_iter(b'\n', &lines).count() as u64;
            self.skipped.inc_by(lines);
        }
    }
}

impl Aggregation {
    /// Waits until the sessions were told everything; the feed is gone by then. Not for long: a stop does not wait for a
    /// disk.
    pub async fn finish(mut self) {
        let _ = tokio::time::timeout(FINISH, self.0.join_next()).await;
        self.0.shutdown().await;
    }
}

/// The parts of a record that an event consists of.
struct Parts<'a> {
    /// `"timestamp":"…"`.
    time: &'a [u8],
    /// `"decky":"…","service":"…","event_type":"…","attacker_ip":"…"`.
    middle: &'a [u8],
    /// `"…"`.
    event_type: &'a [u8],
}

/// Finds a record's keys. A text can't hold them: its quotes are escaped.
#[derive(Debug)]
struct Keys {
    decky: Finder<'static>,
    event_type: Finder<'static>,
    attacker_ip: Finder<'static>,
    fields: Finder<'static>,
}

impl Default for Keys {
    fn default() -> Keys {
        Keys {
            decky: Finder::new(",\"decky\":"),
            event_type: Finder::new(",\"event_type\":"),
            attacker_ip: Finder::new(",\"attacker_ip\":"),
            fields: Finder::new(",\"fields\":{"),
        }
    }
}

impl Keys {
    fn parts<'a>(&self, line: &'a [u8]) -> Option<Parts<'a>> {
        let line = line.strip_prefix(b"{")?;
        let decky = self.decky.find(line)?;
        let (time, rest) = (&line[..decky], &line[decky + 1..]);
        let middle = &rest[..self.fields.find(rest)?];
        let start = self.event_type.find(middle)? + self.event_type.needle().len();
        let end = start + self.attacker_ip.find(&middle[start..])?;
        let event_type = &middle[start..end];
        Some(Parts {
            time,
            middle,
            event_type,
        })
    }
}

/// Makes sessions of the lines that arrive, until there are no more.
async fn aggregate(
    mut received: mpsc::Receiver<Vec<u8>>,
    mut sessions: Sessions,
    artifacts: PathBuf,
    publisher: Publisher,
    metrics: Metrics,
) {
    let artifacts: Arc<PathBuf> = artifacts.into();
    let missed = Seldom::new(MISSED_EVERY);
    while let Some(lines) = received.recv().await {
        let now_s = jiff::Timestamp::now().as_second();
        for line in lines.split_inclusive(|octet| *octet == b'\n') {
            let Ok(record) = serde_json::from_slice(line) else {
                metrics.skipped.inc();
                continue;
            };
            let Some(mut ended) = sessions.record(&record, now_s) else {
                continue;
            };
            metrics.ended.inc();
            match look_up(&ended, &artifacts).await {
                Ok(path) => ended.set_shard_path(path),
                Err(error) => {
                    metrics.without_transcript.inc();
                    if let Some(left_out) = missed.allow((), Instant::now().into_std()) {
                        warn!(%error, left_out, "no transcript of a session that ended");
                    }
                }
            }
            let mut batch = publisher.batch(sessions::TOPIC);
            batch.add(sessions::EVENT_TYPE, &ended);
            publisher.publish(batch);
        }
        let attackers = i64::try_from(sessions.attackers()).unwrap_or(i64::MAX);
        metrics.attackers.set(attackers);
    }
}

/// The transcript that holds the session.
async fn look_up(ended: &Ended, root: &Arc<PathBuf>) -> Result<PathBuf, transcript::Missing> {
    let place = ended.place()?;
    let root = root.clone();
    let found = spawn_blocking(move || transcript::find(&root, &place)).await;
    found.unwrap_or(Err(transcript::Missing::NotFound))
}

/// The topic of an event per record.
const TOPIC: &str = "system.log";
/// Octets of one batch's lines for the sessions; a busy host's commands of 20 ms are a few KiB.
const MAX_LINES: usize = 1 << 20;
/// Batches of lines that wait for the sessions.
const MAX_WAITING: usize = 8;
const MISSED_EVERY: Duration = Duration::from_secs(60);
/// How long a stop waits for the sessions.
const FINISH: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
