//! What is done to the archive between commits: epochs that nobody goes on with are sealed, retention, compression; in
//! pieces so small that no ack waits for them.

use std::time::{Duration, Instant};

use archive::{Archive, CommitError, Compression, Retained, Retention};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use service::status::{Component, Register as _};

use crate::config::Config;
use crate::merge::Feed;

/// Looks after old epochs and closed segments.
#[derive(Debug)]
pub(crate) struct Upkeep {
    retention: Retention,
    compress: bool,
    feed: Feed,
    metrics: Metrics,
    /// Not fine while age can't be judged, so that nothing is removed by it.
    health: Component,
    seal_at: Instant,
    retain_at: Instant,
    compress_at: Instant,
    /// When a full disk is a reason to look, though nothing is due.
    room_at: Instant,
}

/// Its metrics.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    /// `sealed_epochs`: rolled, and not gone on with for a day.
    sealed: Counter,
    /// `removed_segments`, `removed_bytes`: by retention.
    removed_segments: Counter,
    removed_bytes: Counter,
    /// `retention_waiting`: segments over a limit that the merged outputs still need.
    waiting: Gauge,
    /// `retention_paused`: 1 while the clock can't be trusted.
    paused: Gauge,
    /// `compressed_bytes`, `compressed_stored_bytes`: before and after.
    compressed: Counter,
    stored: Counter,
    /// `damaged_segments`: not what was closed, found when they were to be compressed.
    damaged: Counter,
    /// `upkeep_failures`: rounds that failed and are tried again.
    failures: Counter,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Metrics {
        Metrics {
            sealed: registry.metric(
                "sealed_epochs",
                "Epochs that were rolled, and not gone on with for a day",
            ),
            removed_segments: registry.metric("removed_segments", "Segments removed by retention"),
            removed_bytes: registry.metric("removed_bytes", "Bytes removed by retention"),
            waiting: registry.metric(
                "retention_waiting",
                "Segments over a limit that the merged outputs still need",
            ),
            paused: registry.metric(
                "retention_paused",
                "1 while nothing is removed by age because the clock can't be trusted",
            ),
            compressed: registry.metric("compressed_bytes", "Bytes of segments compressed"),
            stored: registry.metric(
                "compressed_stored_bytes",
                "Bytes that those take compressed",
            ),
            damaged: registry.metric(
                "damaged_segments",
                "Segments found damaged when they were to be compressed",
            ),
            failures: registry.metric("upkeep_failures", "Rounds of upkeep that failed"),
        }
    }
}

impl Upkeep {
    pub(crate) fn new(config: &Config, feed: Feed, metrics: Metrics, health: Component) -> Upkeep {
        health.ok();
        let now = Instant::now();
        Upkeep {
            retention: config.retention,
            compress: config.compress,
            feed,
            metrics,
            health,
            seal_at: now,
            retain_at: now,
            compress_at: now,
            room_at: now,
        }
    }

    /// When [`Upkeep::turn`] is due next.
    pub(crate) fn due(&self) -> Instant {
        let retain = (self.retention != Retention::default()).then_some(self.retain_at);
        let compress = self.compress.then_some(self.compress_at);
        [retain, compress]
            .into_iter()
            .flatten()
            .fold(self.seal_at, Instant::min)
    }

    /// Does what is due, a little of it. Call it when no window is open; `false`: one is void now.
    pub(crate) async fn turn(&mut self, archive: &mut Archive) -> bool {
        let now = Instant::now();
        if now >= self.seal_at {
            match archive.seal_idle(IDLE).await {
                Ok(sealed) => {
                    self.metrics.sealed.inc_by(sealed.len() as u64);
                    self.feed.committed(&sealed, std::iter::empty());
                    self.seal_at = now + if sealed.is_empty() { ROUND } else { SOON };
                }
                Err(error) => {
                    self.seal_at = now + self.failed("sealing of old epochs", error);
                    return false;
                }
            }
        }
        if now >= self.retain_at {
            self.retain(archive, now).await;
        }
        self.compress(archive, now).await;
        true
    }

    /// Does what gives room back, because the archive's disk is full and no window goes on before there is some. Call
    /// it as often as it may matter.
    pub(crate) async fn make_room(&mut self, archive: &mut Archive) {
        let now = Instant::now();
        if now >= self.room_at {
            self.room_at = now + self.retain(archive, now).await;
        }
        // It gives up what it can't finish without the reserve.
        self.compress(archive, now).await;
    }

    /// A round of retention; when the next one is due.
    async fn retain(&mut self, archive: &mut Archive, now: Instant) -> Duration {
        if self.retention == Retention::default() {
            return ROUND;
        }
        let feed = &self.feed;
        let needed = |key: &_, epoch| feed.needed(key, epoch);
        let retained = archive.retain(self.retention, &needed).await;
        let next = self.retained(retained);
        self.retain_at = now + next;
        next
    }

    async fn compress(&mut self, archive: &mut Archive, now: Instant) {
        if self.compress && now >= self.compress_at {
            let compressed = archive.compress_next(COMPRESS_BYTES).await;
            self.compress_at = now + self.compressed(compressed);
        }
    }

    /// Counts a round of retention; when the next one is due.
    fn retained(&self, result: Result<Retained, CommitError>) -> Duration {
        let retained = match result {
            Ok(retained) => retained,
            Err(error) => return self.failed("retention", error),
        };
        if retained.segments > 0 {
            tracing::info!(
                segments = retained.segments,
                bytes = retained.bytes,
                "segments removed by retention"
            );
        }
        self.metrics.removed_segments.inc_by(retained.segments);
        self.metrics.removed_bytes.inc_by(retained.bytes);
        self.metrics
            .waiting
            .set(i64::try_from(retained.needed).unwrap_or(i64::MAX));
        let was_paused = self.metrics.paused.set(i64::from(retained.clock.is_some())) != 0;
        match retained.clock {
            Some(why) => {
                if !was_paused {
                    tracing::error!(why, "nothing is removed by age");
                }
                self.health
                    .failed(format!("nothing is removed by age: {why}"));
            }
            None => self.health.ok(),
        }
        match retained {
            Retained { more: true, .. } => SOON,
            Retained { needed: 1.., .. } => WAITING,
            _ => ROUND,
        }
    }

    /// Counts what was compressed; when to go on.
    fn compressed(&self, result: Result<Compression, CommitError>) -> Duration {
        match result {
            Ok(Compression::Idle) => ROUND,
            Ok(Compression::Working) => SOON,
            Ok(Compression::Done { key, bytes, stored }) => {
                tracing::debug!(stream = %key, bytes, stored_bytes = stored, "segment compressed");
                self.metrics.compressed.inc_by(bytes);
                self.metrics.stored.inc_by(stored);
                SOON
            }
            Ok(Compression::Damaged { key, segment }) => {
                tracing::error!(stream = %key, path = %segment.display(), "segment is damaged, it stays as it is");
                self.metrics.damaged.inc();
                SOON
            }
            Ok(_) => ROUND,
            Err(error) => self.failed("compression", error),
        }
    }

    fn failed(&self, what: &str, error: CommitError) -> Duration {
        self.metrics.failures.inc();
        let error = anyhow::Error::new(error);
        tracing::error!(
            error = format!("{error:#}"),
            "{what} failed, it is tried again"
        );
        ROUND
    }
}

/// A rolled epoch that was not gone on with for so long is sealed: its file is taken to be gone (docs/wire.md).
const IDLE: Duration = Duration::from_secs(24 * 3600);
/// The pause between rounds when there is nothing to do.
const ROUND: Duration = Duration::from_secs(60);
/// The pause when segments are over a limit, and the merged outputs still need them.
const WAITING: Duration = Duration::from_secs(5);
/// The pause when there is more: less than a tenth of the time goes into it.
const SOON: Duration = Duration::from_millis(100);
/// How much is compressed at a time: about eight milliseconds, which an ack may have to wait.
const COMPRESS_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests;
