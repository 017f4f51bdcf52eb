//! Every metric of the scanner itself.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use rules::Stats;
use service::status::Register as _;

use crate::source::{Met, Standing};

/// Handles to the metrics; clones share their values.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    lines: Counter,
    bytes: Counter,
    matched: Counter,
    emitted: Counter,
    summaries: Counter,
    dropped: Family<ReasonLabel, Counter>,
    evicted: Counter,
    oversized: Counter,
    searched: Counter,
    gaps: Counter,
    missed: Counter,
    bad_frames: Counter,
    /// Times that the input could not be read.
    pub(crate) tail_errors: Counter,
    /// Events durable.
    pub(crate) events: Counter,
    /// Events removed by retention, those that were not told to all triggers apart.
    pub(crate) removed: Family<RemovedLabel, Counter>,
    /// Transactions.
    pub(crate) commits: Counter,
    /// Transactions that failed and are tried again.
    pub(crate) commit_errors: Counter,
    /// Time a transaction takes.
    pub(crate) commit_seconds: Histogram,
    streams: Gauge,
    epochs: Gauge,
    lag: Gauge,
    /// Rules in use.
    pub(crate) rules: Gauge,
    /// Problems in rule files.
    pub(crate) rule_problems: Gauge,
    /// Sets of rules that were taken over.
    pub(crate) swaps: Counter,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// Whether an event that was removed was needed.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct RemovedLabel {
    /// `false`, or `true` for one that not all triggers had seen.
    pub(crate) unread: &'static str,
}

impl Metrics {
    /// Registers everything.
    pub(crate) fn new(r: &mut Registry) -> Self {
        let metrics = Self {
            lines: r.metric("lines", "Lines scanned"),
            bytes: r.metric_in("scanned", Unit::Bytes, "Octets of lines scanned"),
            matched: r.metric("matched", "Hits, held back or not"),
            emitted: r.metric("emitted", "Hits that became events"),
            summaries: r.metric("summaries", "Events that tell what was held back"),
            dropped: r.metric("dropped", "Hits held back, by reason"),
            evicted: r.metric(
                "evicted",
                "Cooldowns and buckets forgotten before their time for want of room",
            ),
            oversized: r.metric(
                "oversized_lines",
                "Lines of which only the beginning is matched",
            ),
            searched: r.metric_in(
                "searched",
                Unit::Bytes,
                "Octets given to patterns one by one",
            ),
            gaps: r.metric("gaps", "Gaps in the input"),
            missed: r.metric_in(
                "missed",
                Unit::Bytes,
                "Octets that were gone before they were scanned",
            ),
            bad_frames: r.metric("bad_frames", "Frames that could not be read"),
            tail_errors: r.metric("tail_errors", "Times that the input could not be read"),
            events: r.metric("events", "Events durable"),
            removed: r.metric("removed_events", "Events removed by retention"),
            commits: r.metric("commits", "Transactions"),
            commit_errors: r.metric("commit_errors", "Transactions that failed"),
            commit_seconds: r.seconds("commit", "Time that a transaction takes", COMMIT_BUCKETS),
            streams: r.metric("streams", "Streams followed"),
            epochs: r.metric("epochs", "Epochs that are not read to their end for good"),
            lag: r.metric_in("lag", Unit::Bytes, "Octets that are there and not scanned"),
            rules: r.metric("rules", "Rules in use"),
            rule_problems: r.metric("rule_problems", "Problems in rule files"),
            swaps: r.metric("rule_swaps", "Sets of rules that were taken over"),
        };
        // All series stand at 0 from the start.
        metrics.dropped(COOLDOWN, 0);
        metrics.dropped(RATE, 0);
        metrics
    }

    /// Counts what an engine did between two moments.
    pub(crate) fn engine(&self, before: &Stats, now: &Stats) {
        self.lines.inc_by(now.lines - before.lines);
        self.bytes.inc_by(now.bytes - before.bytes);
        self.matched.inc_by(now.matched - before.matched);
        self.emitted.inc_by(now.emitted - before.emitted);
        self.summaries.inc_by(now.summaries - before.summaries);
        self.oversized.inc_by(now.oversized - before.oversized);
        self.searched
            .inc_by(now.searched_bytes - before.searched_bytes);
        self.dropped(COOLDOWN, now.dropped_cooldown - before.dropped_cooldown);
        self.dropped(RATE, now.dropped_rate - before.dropped_rate);
        let evicted = |stats: &Stats| stats.evicted_keys + stats.evicted_buckets;
        self.evicted.inc_by(evicted(now) - evicted(before));
    }

    /// Counts what was met in the input.
    pub(crate) fn met(&self, met: Met) {
        self.oversized.inc_by(met.oversized);
        self.gaps.inc_by(met.gaps);
        self.missed.inc_by(met.missed_bytes);
        self.bad_frames.inc_by(met.bad_frames);
        self.tail_errors.inc_by(met.errors);
    }

    /// Shows how far the input is read.
    pub(crate) fn standing(&self, standing: Standing) {
        self.streams.set(standing.streams.cast_signed());
        self.epochs.set(standing.epochs.cast_signed());
        self.lag.set(standing.lag_bytes.cast_signed());
    }

    fn dropped(&self, reason: &'static str, count: u64) {
        self.dropped
            .get_or_create(&ReasonLabel { reason })
            .inc_by(count);
    }
}

const COOLDOWN: &str = "cooldown";
const RATE: &str = "rate";

const COMMIT_BUCKETS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0];
