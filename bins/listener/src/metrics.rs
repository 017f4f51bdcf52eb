//! Every metric of the program. Names get the prefix `logferry_listener_`, counters the suffix `_total`.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

type By = Family<[(&'static str, &'static str); 1], Counter>;

/// The labels of a worker's stream.
pub(crate) type Of = [(&'static str, String); 2];
type Seconds = Gauge<f64, AtomicU64>;

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
    /// `frames`, `bytes`: messages taken from connections, headers included.
    pub(crate) frames: Counter,
    pub(crate) bytes: Counter,
    /// `invalid_frames`: archived although they are no syslog message, neither by RFC 5424 nor by DECNET's rules;
    /// counted when their records are made, or when they are read if none are.
    pub(crate) invalid_frames: Counter,
    /// `refusals{code}`: acknowledged connections that were told no, in the protocol's words.
    pub(crate) refusals: By,
    /// `unknown_controls`: control messages that were ignored.
    pub(crate) unknown_controls: Counter,
    /// `acks`: sent to forwarders, one a window and connection.
    pub(crate) acks: Counter,
    /// `takeovers`, `conflicts`: streams that a newer connection took over, and those too often.
    pub(crate) takeovers: Counter,
    pub(crate) conflicts: Counter,
    /// `epochs_opened`: new to the archive.
    pub(crate) epochs_opened: Counter,
    /// `gaps{cause}`, `gap_bytes{cause}`: bytes that will never come.
    pub(crate) gaps: By,
    pub(crate) gap_bytes: By,
    /// `backlog_bytes`, `oldest_seconds`, `clock_difference_seconds`, by worker and stream: what the last beat said.
    pub(crate) backlog_bytes: Family<Of, Gauge>,
    pub(crate) oldest_seconds: Family<Of, Seconds>,
    pub(crate) clock_difference_seconds: Family<Of, Seconds>,
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
            refusals: By::default(),
            unknown_controls: Counter::default(),
            acks: Counter::default(),
            takeovers: Counter::default(),
            conflicts: Counter::default(),
            epochs_opened: Counter::default(),
            gaps: By::default(),
            gap_bytes: By::default(),
            backlog_bytes: Family::default(),
            oldest_seconds: Family::default(),
            clock_difference_seconds: Family::default(),
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
        registry.register("frames", "Messages taken from connections", m.frames);
        registry.register("bytes", "Octets of those frames, headers included", m.bytes);
        registry.register(
            "invalid_frames",
            "Frames archived although they are no syslog message",
            m.invalid_frames,
        );
        registry.register(
            "framing_errors",
            "Streams that broke the framing or ended inside a frame",
            m.framing_errors,
        );
        metrics.register_delivery(registry);
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

    /// What only acknowledged connections have.
    fn register_delivery(&self, registry: &mut Registry) {
        let m = self.clone();
        registry.register(
            "refusals",
            "Acknowledged connections that were told no",
            m.refusals,
        );
        registry.register(
            "unknown_controls",
            "Control messages that were ignored",
            m.unknown_controls,
        );
        registry.register(
            "acks",
            "Acknowledgements, one a window and connection",
            m.acks,
        );
        registry.register(
            "takeovers",
            "Streams that a newer connection took over",
            m.takeovers,
        );
        registry.register(
            "conflicts",
            "Takeovers of a stream beyond five a minute",
            m.conflicts,
        );
        registry.register(
            "epochs_opened",
            "Epochs new to the archive",
            m.epochs_opened,
        );
        registry.register("gaps", "Stretches of bytes that will never come", m.gaps);
        registry.register(
            "gap_bytes",
            "Bytes that will never come, as far as known",
            m.gap_bytes,
        );
        registry.register(
            "backlog_bytes",
            "Bytes that waited in the worker at its last beat",
            m.backlog_bytes,
        );
        registry.register(
            "oldest_seconds",
            "Age of the oldest of them",
            m.oldest_seconds,
        );
        registry.register(
            "clock_difference_seconds",
            "The worker's clock before ours at its last beat",
            m.clock_difference_seconds,
        );
    }
}

/// Counts one in a family of one label.
pub(crate) fn count(family: &By, label: &'static str, value: &'static str, by: u64) {
    family.get_or_create(&[(label, value)]).inc_by(by);
}
