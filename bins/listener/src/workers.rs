//! What is known of each worker while the program runs: its stream, its connections, its rate, its counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use archive::{EpochId, NameError, StreamKey};
use prometheus_client::metrics::gauge::Gauge;
use ratelimit::TokenBucket;
use serde_json::{Map, Value, json};

use crate::metrics::Metrics;

mod streams;

pub(crate) use streams::Stream;
use streams::Streams;

/// One worker.
#[derive(Debug)]
pub(crate) struct Worker {
    /// Its plain stream.
    pub(crate) stream: StreamKey,
    connections: AtomicUsize,
    frames: AtomicU64,
    bytes: AtomicU64,
    /// Unix milliseconds of the last batch; 0: none yet.
    last_ms: AtomicI64,
    bucket: Option<Mutex<TokenBucket>>,
    streams: Streams,
    /// Where the plain stream stands, once something of it was committed.
    plain: Mutex<Option<(EpochId, u64)>>,
}

/// The workers' part of `/status`.
#[derive(Debug)]
pub(crate) struct Shown {
    /// By name.
    pub(crate) workers: Value,
    /// Workers, and streams of those shown, for which there was no room.
    pub(crate) omitted: (usize, usize),
}

impl Worker {
    /// Its certificate's name.
    pub(crate) fn name(&self) -> &str {
        self.stream.worker()
    }

    /// Counts a batch.
    pub(crate) fn took(&self, frames: usize, bytes: usize, now_ms: i64) {
        self.frames.fetch_add(frames as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.last_ms.store(now_ms, Ordering::Relaxed);
    }

    /// One of its acknowledged streams, which a connection wants.
    pub(crate) fn stream(&self, name: &str, metrics: &Metrics) -> Arc<Stream> {
        self.streams.join(self.name(), name, metrics)
    }

    /// Everything of the plain stream below is durable.
    pub(crate) fn plain_stands(&self, epoch: EpochId, offset: u64) {
        *self.plain.lock().unwrap_or_else(PoisonError::into_inner) = Some((epoch, offset));
    }

    /// For `/status`, with at most so many streams; how many were left out.
    fn status(&self, room: usize) -> (Value, usize) {
        let (mut streams, omitted) = self.streams.status(room);
        let plain = *self.plain.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((epoch, offset)) = plain {
            let epoch = epoch.to_string();
            let plain = json!({ "mode": "plain", "epoch": epoch, "offset": offset });
            streams.insert(self.stream.stream().to_owned(), plain);
        }
        let last_ms = self.last_ms.load(Ordering::Relaxed);
        let last = jiff::Timestamp::from_millisecond(last_ms)
            .ok()
            .filter(|_| last_ms > 0);
        let value = json!({
            "connections": self.connections.load(Ordering::Relaxed),
            "frames": self.frames.load(Ordering::Relaxed),
            "bytes": self.bytes.load(Ordering::Relaxed),
            "last": last.map(|at| at.to_string()),
            "streams": streams,
        });
        (value, omitted)
    }

    /// How long reading has to pause after so many bytes; zero without a rate.
    pub(crate) fn pause(&self, bytes: usize, now: Instant) -> Duration {
        let Some(bucket) = &self.bucket else {
            return Duration::ZERO;
        };
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.take(bytes as u64, now).err().unwrap_or_default()
    }
}

/// All workers that were here since the start: at most those that hold a certificate.
#[derive(Debug)]
pub(crate) struct Workers {
    by_name: Mutex<BTreeMap<String, Arc<Worker>>>,
    rate: u64,
    max_connections: usize,
    connected: Gauge,
}

impl Workers {
    /// Nobody yet; `connected` shows how many are here.
    pub(crate) fn new(rate: u64, max_connections: usize, connected: Gauge) -> Workers {
        Workers {
            by_name: Mutex::default(),
            rate,
            max_connections,
            connected,
        }
    }

    /// The worker of a new connection; `None` when it has as many as it may. With `crowds` one that may displace another
    /// is let in over the limit: there are never more than twice as many.
    pub(crate) fn join(&self, name: &str, crowds: bool) -> Result<Option<Joined>, NameError> {
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        let worker = match by_name.get(name) {
            Some(worker) => worker,
            None => {
                let worker = Worker {
                    stream: StreamKey::plain(name)?,
                    connections: AtomicUsize::new(0),
                    frames: AtomicU64::new(0),
                    bytes: AtomicU64::new(0),
                    last_ms: AtomicI64::new(0),
                    bucket: (self.rate > 0).then(|| {
                        Mutex::new(TokenBucket::new(self.rate, self.rate, Instant::now()))
                    }),
                    streams: Streams::default(),
                    plain: Mutex::default(),
                };
                by_name
                    .entry(name.to_owned())
                    .or_insert_with(|| Arc::new(worker))
            }
        };
        // Under the lock, so that two can't both be the last.
        let count = worker.connections.load(Ordering::Relaxed);
        let full = count >= self.max_connections;
        if full && (!crowds || count >= self.max_connections.saturating_mul(2)) {
            return Ok(None);
        }
        if worker.connections.fetch_add(1, Ordering::Relaxed) == 0 {
            self.connected.inc();
        }
        let worker = Arc::clone(worker);
        Ok(Some(Joined {
            worker,
            full,
            connected: self.connected.clone(),
        }))
    }

    /// For `/status`: a page of limited length.
    pub(crate) fn status(&self) -> Shown {
        let by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut workers, mut streams, mut left_out) = (Map::new(), MAX_STREAMS, 0);
        for (name, worker) in by_name.iter().take(MAX_WORKERS) {
            let (value, omitted) = worker.status(streams);
            let shown = value["streams"].as_object().map_or(0, Map::len);
            streams = streams.saturating_sub(shown);
            left_out += omitted;
            workers.insert(name.clone(), value);
        }
        Shown {
            workers: Value::Object(workers),
            omitted: (by_name.len().saturating_sub(MAX_WORKERS), left_out),
        }
    }
}

/// A worker with one of its connections, which ends with this.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) worker: Arc<Worker>,
    /// It had as many connections as it may: another one has to make room.
    pub(crate) full: bool,
    connected: Gauge,
}

impl Drop for Joined {
    fn drop(&mut self) {
        if self.worker.connections.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.connected.dec();
        }
    }
}

/// Most workers, and streams of all of them, on the status page.
const MAX_WORKERS: usize = 2048;
const MAX_STREAMS: usize = 4096;
