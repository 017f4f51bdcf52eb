//! What `status` and `offsets` show of each stream.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};
use tail::Standing;

use crate::books::Sums;
use crate::metrics::StreamMetrics;

/// One stream's standing, shared between its task and the status endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Board {
    shared: Arc<Mutex<Lines>>,
    pub(crate) metrics: StreamMetrics,
}

/// How lines are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Plain,
    Acknowledged,
}

impl Mode {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Acknowledged => "acknowledged",
        }
    }
}

#[derive(Debug)]
struct Lines {
    name: String,
    path: String,
    standing: Standing,
    master: Option<String>,
    mode: Option<Mode>,
    books: Sums,
    /// What an archive has, and of which epoch.
    acknowledged: Option<(tail::EpochId, u64)>,
    error: Option<String>,
    gaps: u64,
    /// When so much was known to be written, and how much.
    behind: Option<(Instant, u64)>,
}

impl Board {
    pub(crate) fn new(name: &str, path: &str, metrics: StreamMetrics) -> Self {
        Self {
            shared: Arc::new(Mutex::new(Lines {
                name: name.to_owned(),
                path: path.to_owned(),
                standing: Standing::default(),
                master: None,
                mode: None,
                books: Sums::default(),
                acknowledged: None,
                error: None,
                gaps: 0,
                behind: None,
            })),
            metrics,
        }
    }

    fn edit<R>(&self, edit: impl FnOnce(&mut Lines) -> R) -> R {
        edit(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where the follower stands now.
    pub(crate) fn stand(&self, standing: Standing, now: Instant) {
        let metrics = &self.metrics;
        metrics.offset.set(level(standing.offset));
        metrics.confirmed.set(level(standing.confirmed));
        metrics.size.set(level(standing.size));
        metrics.lag.set(level(standing.lag));
        metrics.waiting.set(standing.waiting as i64);
        let age = self.edit(|lines| {
            lines.standing = standing;
            lines.age(now)
        });
        metrics.age.set(age);
    }

    /// A session stands.
    pub(crate) fn connected(&self, master: String, mode: Mode) {
        self.metrics.connected.set(1);
        self.metrics.reconnects.inc();
        self.edit(|lines| {
            lines.master = Some(master);
            lines.mode = Some(mode);
            lines.error = None;
        });
    }

    /// No session stands, and why.
    pub(crate) fn disconnected(&self, why: Option<String>) {
        self.metrics.connected.set(0);
        self.edit(|lines| {
            lines.master = None;
            lines.error = why;
        });
    }

    /// What became of all octets.
    pub(crate) fn books(&self, sums: Sums) {
        self.edit(|lines| lines.books = sums);
    }

    /// An archive has everything of `epoch` below `offset`.
    pub(crate) fn acknowledged(&self, epoch: tail::EpochId, offset: u64) {
        self.metrics.acks.inc();
        self.edit(|lines| lines.acknowledged = Some((epoch, offset)));
    }

    /// Bytes that wait, and the age of the oldest in milliseconds.
    pub(crate) fn backlog(&self, now: Instant) -> (u64, u64) {
        self.edit(|lines| (lines.standing.lag, (lines.age(now) * 1e3) as u64))
    }

    /// A gap was recorded.
    pub(crate) fn gap(&self, cause: &'static str, bytes: u64) {
        self.metrics.gap(cause, bytes);
        self.edit(|lines| lines.gaps += 1);
    }

    /// The stream's part of the status page; `offsets` prints the first six keys.
    pub(crate) fn to_json(&self) -> Value {
        self.edit(|lines| {
            let acknowledged = lines
                .acknowledged
                .filter(|(epoch, _)| Some(*epoch) == lines.standing.epoch)
                .map(|(_, offset)| offset);
            let mut value = offsets(&lines.name, &lines.standing, acknowledged);
            let more = json!({
                "path": lines.path,
                "connected": lines.master.is_some(),
                "master": lines.master,
                "mode": lines.mode.map(Mode::as_str),
                "error": lines.error,
                "sent": lines.standing.offset,
                "epochs_waiting": lines.standing.waiting,
                "delivered_bytes": lines.standing.total,
                "oldest_unsent_seconds": lines.age(Instant::now()),
                "gaps": lines.gaps,
                "books": lines.books.to_json(),
            });
            if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
                value.extend(more);
            }
            value
        })
    }
}

impl Lines {
    /// Seconds since the oldest byte that is not delivered was seen, at most: the mark moves on whenever everything
    /// before it is delivered.
    fn age(&mut self, now: Instant) -> f64 {
        let standing = self.standing;
        if standing.lag == 0 {
            self.behind = None;
            return 0.0;
        }
        let seen = standing.total + standing.lag;
        let (since, _) = *self.behind.get_or_insert((now, seen));
        if self.behind.is_some_and(|(_, mark)| standing.total >= mark) {
            self.behind = Some((now, seen));
            return 0.0;
        }
        now.saturating_duration_since(since).as_secs_f64()
    }
}

/// What `offsets` shows of a stream. Nothing is acknowledged in plain mode.
pub(crate) fn offsets(name: &str, standing: &Standing, acknowledged: Option<u64>) -> Value {
    json!({
        "stream": name,
        "epoch": standing.epoch.map(|epoch| epoch.to_string()),
        "offset": standing.confirmed,
        "acknowledged": acknowledged,
        "size": standing.size,
        "lag": standing.lag,
    })
}

fn level(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
