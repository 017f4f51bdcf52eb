//! Metrics of the spans.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use service::status::Register as _;

/// Handles to the metrics; clones share their values.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Spans that the receiver took.
    pub(super) sent: Counter,
    dropped: Family<ReasonLabel, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

impl Metrics {
    /// Registers everything.
    pub fn new(r: &mut Registry) -> Metrics {
        Metrics {
            sent: r.metric("otlp_spans_sent", "Spans that the receiver took"),
            dropped: r.metric("otlp_spans_dropped", "Spans that nobody will see"),
        }
    }

    pub(super) fn drop(&self, reason: &'static str, spans: u64) {
        if spans > 0 {
            self.dropped
                .get_or_create(&ReasonLabel { reason })
                .inc_by(spans);
        }
    }
}
