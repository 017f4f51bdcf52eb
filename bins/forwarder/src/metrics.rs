//! Every metric of the forwarder.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use service::status::Register as _;

type Count = Family<StreamLabel, Counter>;
type Level = Family<StreamLabel, Gauge>;

/// Handles to the metrics; clones share their values.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    connected: Level,
    sent: Count,
    frames: Count,
    blanks: Count,
    parts: Count,
    offset: Level,
    confirmed: Level,
    size: Level,
    lag: Level,
    waiting: Level,
    age: Family<StreamLabel, Gauge<f64, AtomicU64>>,
    reconnects: Count,
    failures: Count,
    commits: Count,
    rolls: Count,
    read_errors: Count,
    acks: Count,
    unacknowledged: Level,
    branches: Count,
    asked: Count,
    syncs: Count,
    refusals: Family<CodeLabel, Counter>,
    gaps: Family<GapLabel, Counter>,
    gap_bytes: Family<GapLabel, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct StreamLabel {
    stream: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct GapLabel {
    stream: String,
    cause: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CodeLabel {
    stream: String,
    code: String,
}

/// The metrics of one stream. Taken once, so that the work needs no look-up.
#[derive(Clone, Debug)]
pub(crate) struct StreamMetrics {
    all: Metrics,
    name: String,
    /// 1 while a session stands.
    pub(crate) connected: Gauge,
    /// Bytes of the source handed to the kernel.
    pub(crate) sent: Counter,
    /// Frames handed to the kernel.
    pub(crate) frames: Counter,
    /// Empty lines, which have no frame.
    pub(crate) blanks: Counter,
    /// Frames that hold a piece of a line that is longer than a frame may be.
    pub(crate) parts: Counter,
    /// Handed out up to here in the current epoch.
    pub(crate) offset: Gauge,
    /// Delivered up to here in the current epoch.
    pub(crate) confirmed: Gauge,
    /// Length of the current epoch's file.
    pub(crate) size: Gauge,
    /// Bytes seen and not delivered.
    pub(crate) lag: Gauge,
    /// Epochs behind the current one.
    pub(crate) waiting: Gauge,
    /// Age of the oldest byte that is not delivered.
    pub(crate) age: Gauge<f64, AtomicU64>,
    /// Sessions made.
    pub(crate) reconnects: Counter,
    /// Attempts to connect that failed, and sessions lost.
    pub(crate) failures: Counter,
    /// Checkpoints stored.
    pub(crate) commits: Counter,
    /// Epochs ended.
    pub(crate) rolls: Counter,
    /// Failed reads and looks.
    pub(crate) read_errors: Counter,
    /// Acknowledgements heard.
    pub(crate) acks: Counter,
    /// Bytes sent on this connection and not acknowledged.
    pub(crate) unacknowledged: Gauge,
    /// Epochs begun because the file was not what a master holds.
    pub(crate) branches: Counter,
    /// Files that masters were asked about.
    pub(crate) asked: Counter,
    /// Times that the source was made durable before it was sent.
    pub(crate) syncs: Counter,
}

impl Metrics {
    /// Registers everything.
    pub(crate) fn new(r: &mut Registry) -> Self {
        Self {
            connected: r.metric("connected", "1 while connected to a master"),
            sent: r.metric_in("sent", Unit::Bytes, "Octets of the source sent"),
            frames: r.metric("frames", "Frames sent"),
            blanks: r.metric(
                "blank_lines",
                "Empty lines: told of with acknowledgements, left out in plain delivery",
            ),
            parts: r.metric("parts", "Pieces of lines over the frame limit sent"),
            offset: r.metric_in(
                "offset",
                Unit::Bytes,
                "Sent up to here in the current epoch",
            ),
            confirmed: r.metric_in(
                "delivered",
                Unit::Bytes,
                "Delivered up to here in the current epoch",
            ),
            size: r.metric_in("size", Unit::Bytes, "Length of the current epoch's file"),
            lag: r.metric_in("lag", Unit::Bytes, "Octets written and not delivered"),
            waiting: r.metric("epochs_waiting", "Rotated files that wait for their turn"),
            age: r.metric_in(
                "oldest_unsent",
                Unit::Seconds,
                "Age of the oldest octet not delivered, at most",
            ),
            reconnects: r.metric("sessions", "Connections made"),
            failures: r.metric("failures", "Connections that failed or were lost"),
            commits: r.metric("commits", "Checkpoints stored"),
            rolls: r.metric("rolls", "Rotations seen"),
            read_errors: r.metric("read_errors", "Failed reads of the source"),
            acks: r.metric("acks", "Acknowledgements heard"),
            unacknowledged: r.metric_in(
                "unacknowledged",
                Unit::Bytes,
                "Octets sent on this connection and not acknowledged",
            ),
            branches: r.metric(
                "branches",
                "Epochs begun because the file was not what a master holds",
            ),
            asked: r.metric(
                "asked_files",
                "Files that no stored state explained and masters were asked about",
            ),
            syncs: r.metric(
                "source_syncs",
                "Times the source was made durable before it was sent",
            ),
            refusals: r.metric("refusals", "Refusals of masters, by code"),
            gaps: r.metric("gaps", "Gaps recorded in the ledger"),
            gap_bytes: r.metric_in("gap", Unit::Bytes, "Octets known missing"),
        }
    }

    /// Those of the stream `name`.
    pub(crate) fn stream(&self, name: &str) -> StreamMetrics {
        let label = StreamLabel {
            stream: name.to_owned(),
        };
        StreamMetrics {
            all: self.clone(),
            name: name.to_owned(),
            connected: self.connected.get_or_create_owned(&label),
            sent: self.sent.get_or_create_owned(&label),
            frames: self.frames.get_or_create_owned(&label),
            blanks: self.blanks.get_or_create_owned(&label),
            parts: self.parts.get_or_create_owned(&label),
            offset: self.offset.get_or_create_owned(&label),
            confirmed: self.confirmed.get_or_create_owned(&label),
            size: self.size.get_or_create_owned(&label),
            lag: self.lag.get_or_create_owned(&label),
            waiting: self.waiting.get_or_create_owned(&label),
            age: self.age.get_or_create_owned(&label),
            reconnects: self.reconnects.get_or_create_owned(&label),
            failures: self.failures.get_or_create_owned(&label),
            commits: self.commits.get_or_create_owned(&label),
            rolls: self.rolls.get_or_create_owned(&label),
            read_errors: self.read_errors.get_or_create_owned(&label),
            acks: self.acks.get_or_create_owned(&label),
            unacknowledged: self.unacknowledged.get_or_create_owned(&label),
            branches: self.branches.get_or_create_owned(&label),
            asked: self.asked.get_or_create_owned(&label),
            syncs: self.syncs.get_or_create_owned(&label),
        }
    }
}

impl StreamMetrics {
    /// A master said no.
    pub(crate) fn refused(&self, code: &str) {
        let label = CodeLabel {
            stream: self.name.clone(),
            code: code.to_owned(),
        };
        self.all.refusals.get_or_create(&label).inc();
    }

    /// A gap was recorded.
    pub(crate) fn gap(&self, cause: &'static str, bytes: u64) {
        let label = GapLabel {
            stream: self.name.clone(),
            cause,
        };
        self.all.gaps.get_or_create(&label).inc();
        self.all.gap_bytes.get_or_create(&label).inc_by(bytes);
    }
}
