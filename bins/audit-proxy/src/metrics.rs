//! Every metric of the proxy: ours, and the original's under their own names.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;
use service::Telemetry;
use service::status::Register as _;

/// Handles to the metrics; clones share their values.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// Open connections.
    pub(crate) connections: Gauge,
    /// Connections accepted.
    pub(crate) accepted: Counter,
    /// Connections that ended without one octet.
    pub(crate) empty: Counter,
    /// Whole frames, by tag and by what they held.
    pub(crate) frames: Family<FrameLabel, Counter>,
    /// Frames that were not taken, by reason.
    pub(crate) rejected: Family<RejectLabel, Counter>,
    /// Records durable in the log.
    pub(crate) records: Counter,
    /// Octets durable in log and JSON file.
    pub(crate) bytes: Counter,
    /// Groups made durable.
    pub(crate) commits: Counter,
    /// Time from handing a group over until it was durable.
    pub(crate) commit_seconds: Histogram,
    /// 1 while a group can't be written.
    pub(crate) blocked: Gauge,
    /// Sessions whose numbers are followed.
    pub(crate) sessions: Gauge,
    /// Runs of numbers that never came.
    pub(crate) gaps: Counter,
    /// Records in them.
    pub(crate) missing: Counter,
    /// Records whose number had come before.
    pub(crate) duplicates: Counter,
    /// The original's: requests durable.
    pub(crate) forwarded: Counter<u64, AtomicU64>,
    batches_dropped: Family<RejectLabel, Counter>,
    logs_dropped: Family<RejectLabel, Counter>,
}

/// Why.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct RejectLabel {
    /// One of a fixed set of words.
    pub(crate) reason: &'static str,
}

/// What a frame was.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct FrameLabel {
    /// 1 or 2.
    pub(crate) tag: u64,
    /// `logs`, `status`, `unknown` or `undecodable`.
    pub(crate) kind: &'static str,
}

impl Metrics {
    /// Registers everything.
    pub(crate) fn new(telemetry: &mut Telemetry) -> Self {
        let r = &mut telemetry.registry;
        let original = telemetry
            .foreign
            .sub_registry_with_prefix("agent_boundary_log_proxy");
        let metrics = Self {
            connections: r.metric("connections", "Open connections"),
            accepted: r.metric("accepted", "Connections accepted"),
            empty: r.metric(
                "connections_closed_without_frame",
                "Connections that ended without one octet",
            ),
            frames: r.metric("frames", "Whole frames received"),
            rejected: r.metric("rejected_frames", "Frames that were not taken"),
            records: r.metric("records", "Records durable in the log"),
            bytes: r.metric_in(
                "written",
                Unit::Bytes,
                "Octets durable in log and JSON file",
            ),
            commits: r.metric("commits", "Groups made durable"),
            commit_seconds: r.seconds(
                "commit",
                "From handing a group over until it is durable",
                COMMIT_BUCKETS,
            ),
            blocked: r.metric("blocked", "1 while a group can't be written"),
            sessions: r.metric("sessions", "Sessions whose numbers are followed"),
            gaps: r.metric("sequence_gaps", "Runs of numbers that never came"),
            missing: r.metric("sequence_missing_records", "Records that never came"),
            duplicates: r.metric(
                "sequence_duplicates",
                "Records whose number had come before; they are kept",
            ),
            forwarded: original.metric("batches_forwarded", "Batches durable in the log"),
            batches_dropped: original.metric("batches_dropped", "Batches dropped"),
            logs_dropped: original.metric("logs_dropped", "Log entries dropped"),
        };
        // All series stand at 0 from the start.
        for reason in [BUFFER_FULL, FORWARD_FAILED, CHANNEL_FULL, BATCH_FULL] {
            metrics.dropped(reason, 0, 0);
        }
        for reason in [BUFFER_FULL, FORWARD_FAILED] {
            let label = RejectLabel { reason };
            metrics.batches_dropped.get_or_create(&label).inc_by(0);
        }
        metrics
    }

    /// Counts a loss under the original's names.
    pub(crate) fn dropped(&self, reason: &'static str, batches: u64, records: u64) {
        let label = RejectLabel { reason };
        if batches > 0 {
            self.batches_dropped.get_or_create(&label).inc_by(batches);
        }
        self.logs_dropped.get_or_create(&label).inc_by(records);
    }

    /// For the status page: records dropped here, and by clients.
    pub(crate) fn dropped_records(&self) -> u64 {
        let of = |reason| {
            self.logs_dropped
                .get_or_create(&RejectLabel { reason })
                .get()
        };
        [BUFFER_FULL, FORWARD_FAILED, CHANNEL_FULL, BATCH_FULL]
            .into_iter()
            .map(of)
            .sum()
    }
}

/// The disk took nothing for too long.
pub(crate) const BUFFER_FULL: &str = "buffer_full";
/// An append was given up at the stop.
pub(crate) const FORWARD_FAILED: &str = "forward_failed";
/// The client's queue was full.
pub(crate) const CHANNEL_FULL: &str = "boundary_channel_full";
/// The client's batch was full.
pub(crate) const BATCH_FULL: &str = "boundary_batch_full";

const COMMIT_BUCKETS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0];
