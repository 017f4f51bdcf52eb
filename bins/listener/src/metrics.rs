//! Every metric of the program. Names get the prefix `logferry_listener_`, counters the suffix `_total`.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use service::status::Register as _;

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
    /// `displaced`: silent connections that made room for a newer one of their worker.
    pub(crate) displaced: Counter,
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
    /// `damaged_epochs`: whose files were found to be gone or too short while the listener ran.
    pub(crate) damaged_epochs: Counter,
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
    pub(crate) fn register(r: &mut Registry) -> Metrics {
        Metrics {
            connections: r.metric("connections", "Open connections, handshakes included"),
            workers: r.metric("workers", "Workers with at least one connection"),
            accepted: r.metric("accepted", "Handshakes that ended well"),
            refused: r.metric("refused", "Connections turned away"),
            closed: r.metric("closed", "Served connections that ended"),
            frames: r.metric("frames", "Messages taken from connections"),
            bytes: r.metric("bytes", "Octets of those frames, headers included"),
            invalid_frames: r.metric(
                "invalid_frames",
                "Frames archived although they are no syslog message",
            ),
            refusals: r.metric("refusals", "Acknowledged connections that were told no"),
            unknown_controls: r.metric("unknown_controls", "Control messages that were ignored"),
            acks: r.metric("acks", "Acknowledgements, one a window and connection"),
            takeovers: r.metric("takeovers", "Streams that a newer connection took over"),
            conflicts: r.metric("conflicts", "Takeovers of a stream beyond five a minute"),
            displaced: r.metric(
                "displaced",
                "Silent connections that made room for a newer one of their worker",
            ),
            epochs_opened: r.metric("epochs_opened", "Epochs new to the archive"),
            gaps: r.metric("gaps", "Stretches of bytes that will never come"),
            gap_bytes: r.metric("gap_bytes", "Bytes that will never come, as far as known"),
            backlog_bytes: r.metric(
                "backlog_bytes",
                "Bytes that waited in the worker at its last beat",
            ),
            oldest_seconds: r.metric("oldest_seconds", "Age of the oldest of them"),
            clock_difference_seconds: r.metric(
                "clock_difference_seconds",
                "The worker's clock before ours at its last beat",
            ),
            framing_errors: r.metric(
                "framing_errors",
                "Streams that broke the framing or ended inside a frame",
            ),
            commits: r.metric("commits", "Commit windows that stand"),
            committed_bytes: r.metric("committed_bytes", "Bytes made durable"),
            commit_seconds: r.seconds(
                "commit",
                "Time of sync, ledger and index of a window",
                exponential_buckets(0.0005, 2.0, 14),
            ),
            commit_failures: r.metric(
                "commit_failures",
                "Windows that were voided or wait for room",
            ),
            queued_bytes: r.metric(
                "queued_bytes",
                "Bytes read from connections, not yet in a segment",
            ),
            recovered_bytes: r.metric(
                "recovered_bytes",
                "Bytes beyond the index at start, by what became of them",
            ),
            damaged_epochs: r.metric(
                "damaged_epochs",
                "Epochs whose files were found to be gone or too short at run time",
            ),
            merged_lag_bytes: r.metric(
                "merged_lag_bytes",
                "Committed bytes that are not in the merged outputs yet",
            ),
            merged_lines: r.metric("merged_lines", "Lines written to the merged outputs"),
            merged_failures: r.metric(
                "merged_failures",
                "Writes of the merged outputs that have to wait",
            ),
            expiry: r.metric(
                "certificate_expiry_timestamp_seconds",
                "When the first of CA, master certificate and CRL expires",
            ),
        }
    }
}

/// Counts one in a family of one label.
pub(crate) fn count(family: &By, label: &'static str, value: &'static str, by: u64) {
    family.get_or_create(&[(label, value)]).inc_by(by);
}
