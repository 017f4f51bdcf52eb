//! Every metric of the program. Names get the prefix `logferry_listener_`, counters the suffix `_total`.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

type By = Family<[(&'static str, &'static str); 1], Counter>;

/// Handles to all metrics; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    /// `connections`: open now, handshakes included.
    pub(crate) connections: Gauge,
    /// `workers`: with at least one connection.
    pub(crate) workers: Gauge,
    /// `accepted`: handshakes that ended well.
    pub(crate) accepted: Counter,
    /// `refused{reason}`: connections turned away.
    pub(crate) refused: By,
    /// `closed{reason}`: connections that were served, and why they ended.
    pub(crate) closed: By,
    /// `frames`, `bytes`: taken from plain connections, headers included.
    pub(crate) frames: Counter,
    pub(crate) bytes: Counter,
    /// `invalid_frames`: archived although they are not RFC 5424.
    pub(crate) invalid_frames: Counter,
    /// `framing_errors{error}`: streams that broke the framing or ended inside a frame.
    pub(crate) framing_errors: By,
    /// `commits`, `committed_bytes`, `commit_seconds`: windows that stand; the time is sync, ledger and index.
    pub(crate) commits: Counter,
    pub(crate) committed_bytes: Counter,
    pub(crate) commit_seconds: Histogram,
    /// `commit_failures{reason}`: windows that were voided or wait for room.
    pub(crate) commit_failures: By,
    /// `queued_bytes`: read from connections, not yet in a segment.
    pub(crate) queued_bytes: Gauge,
    /// `recovered_bytes{what}`: kept or cut beyond the index, or missing, at start.
    pub(crate) recovered_bytes: By,
    /// `merged_lag_bytes`: committed, not yet in the merged outputs.
    pub(crate) merged_lag_bytes: Gauge,
    /// `merged_lines{file}`: written to the merged outputs.
    pub(crate) merged_lines: By,
    /// `merged_failures`: writes of the merged outputs that have to wait.
    pub(crate) merged_failures: Counter,
    /// `certificate_expiry_timestamp_seconds`: of the first that expires, Unix seconds.
    pub(crate) expiry: Gauge,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Metrics {
        let metrics = Metrics {
            connections: Gauge::default(),
            workers: Gauge::default(),
            accepted: Counter::default(),
            refused: By::default(),
            closed: By::default(),
            frames: Counter::default(),
            bytes: Counter::default(),
            invalid_frames: Counter::default(),
            framing_errors: By::default(),
            commits: Counter::default(),
            committed_bytes: Counter::default(),
            commit_seconds: Histogram::new(exponential_buckets(0.0005, 2.0, 14)),
            commit_failures: By::default(),
            queued_bytes: Gauge::default(),
            recovered_bytes: By::default(),
            merged_lag_bytes: Gauge::default(),
            merged_lines: By::default(),
            merged_failures: Counter::default(),
            expiry: Gauge::default(),
        };
        let m = metrics.clone();
        registry.register(
            "connections",
            "Open connections, handshakes included",
            m.connections,
        );
        registry.register("workers", "Workers with at least one connection", m.workers);
        registry.register("accepted", "Handshakes that ended well", m.accepted);
        registry.register("refused", "Connections turned away", m.refused);
        registry.register("closed", "Served connections that ended", m.closed);
        registry.register("frames", "Frames taken from plain connections", m.frames);
        registry.register("bytes", "Octets of those frames, headers included", m.bytes);
        registry.register(
            "invalid_frames",
            "Frames archived although they are not RFC 5424",
            m.invalid_frames,
        );
        registry.register(
            "framing_errors",
            "Streams that broke the framing or ended inside a frame",
            m.framing_errors,
        );
        registry.register("commits", "Commit windows that stand", m.commits);
        registry.register("committed_bytes", "Bytes made durable", m.committed_bytes);
        registry.register(
            "commit_seconds",
            "Time of sync, ledger and index of a window",
            m.commit_seconds,
        );
        registry.register(
            "commit_failures",
            "Windows that were voided or wait for room",
            m.commit_failures,
        );
        registry.register(
            "queued_bytes",
            "Bytes read from connections, not yet in a segment",
            m.queued_bytes,
        );
        registry.register(
            "recovered_bytes",
            "Bytes beyond the index at start, by what became of them",
            m.recovered_bytes,
        );
        registry.register(
            "merged_lag_bytes",
            "Committed bytes that are not in the merged outputs yet",
            m.merged_lag_bytes,
        );
        registry.register(
            "merged_lines",
            "Lines written to the merged outputs",
            m.merged_lines,
        );
        registry.register(
            "merged_failures",
            "Writes of the merged outputs that have to wait",
            m.merged_failures,
        );
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "When the first of CA, master certificate and CRL expires",
            m.expiry,
        );
        metrics
    }
}

/// Counts one in a family of one label.
pub(crate) fn count(family: &By, label: &'static str, value: &'static str, by: u64) {
    family.get_or_create(&[(label, value)]).inc_by(by);
}
