//! What is known of each worker while the program runs: its stream, its connections, its rate, its counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use archive::{NameError, StreamKey};
use prometheus_client::metrics::gauge::Gauge;
use ratelimit::TokenBucket;
use serde_json::{Value, json};

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

    /// The worker of a new connection; `None` when it has as many as it may.
    pub(crate) fn join(&self, name: &str) -> Result<Option<Joined>, NameError> {
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
                };
                by_name
                    .entry(name.to_owned())
                    .or_insert_with(|| Arc::new(worker))
            }
        };
        // Under the lock, so that two can't both be the last.
        if worker.connections.load(Ordering::Relaxed) >= self.max_connections {
            return Ok(None);
        }
        if worker.connections.fetch_add(1, Ordering::Relaxed) == 0 {
            self.connected.inc();
        }
        let worker = Arc::clone(worker);
        Ok(Some(Joined {
            worker,
            connected: self.connected.clone(),
        }))
    }

    /// For `/status`.
    pub(crate) fn status(&self) -> Value {
        let by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        let worker = |(name, worker): (&String, &Arc<Worker>)| {
            let last_ms = worker.last_ms.load(Ordering::Relaxed);
            let last = jiff::Timestamp::from_millisecond(last_ms)
                .ok()
                .filter(|_| last_ms > 0);
            let value = json!({
                "connections": worker.connections.load(Ordering::Relaxed),
                "frames": worker.frames.load(Ordering::Relaxed),
                "bytes": worker.bytes.load(Ordering::Relaxed),
                "last": last.map(|at| at.to_string()),
                "streams": worker.streams.status(),
            });
            (name.clone(), value)
        };
        Value::Object(by_name.iter().map(worker).collect())
    }
}

/// A worker with one of its connections, which ends with this.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) worker: Arc<Worker>,
    connected: Gauge,
}

impl Drop for Joined {
    fn drop(&mut self) {
        if self.worker.connections.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.connected.dec();
        }
    }
}
