//! What is counted; names get the prefix `logferry_<program>_bus`.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use service::status::Register as _;

/// Handles; clones share their values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) connected: Gauge,
    pub(crate) connections: Counter,
    pub(crate) queued: Gauge,
    published: Family<TopicLabel, Counter>,
    dropped: Family<DropLabel, Counter>,
    control: Family<ActionLabel, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TopicLabel {
    topic: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DropLabel {
    topic: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ActionLabel {
    action: &'static str,
}

impl Metrics {
    pub(crate) fn new(r: &mut Registry) -> Self {
        let r = r.sub_registry_with_prefix("bus");
        Self {
            connected: r.metric("connected", "1 while the bus takes events"),
            connections: r.metric("connections", "Connections made to the bus"),
            queued: r.metric("queued_events", "Events that wait to be written"),
            published: r.metric("published", "Events written to the bus"),
            dropped: r.metric("dropped", "Events that could not be published"),
            control: r.metric("control", "Control messages received"),
        }
    }

    pub(crate) fn published(&self, topic: &'static str, events: u64) {
        if events > 0 {
            let label = TopicLabel { topic };
            self.published.get_or_create(&label).inc_by(events);
        }
    }

    pub(crate) fn dropped(&self, topic: &'static str, reason: &'static str, events: u64) {
        if events > 0 {
            let label = DropLabel { topic, reason };
            self.dropped.get_or_create(&label).inc_by(events);
        }
    }

    pub(crate) fn control(&self, action: &'static str) {
        self.control.get_or_create(&ActionLabel { action }).inc();
    }

    #[cfg(test)]
    pub(crate) fn sums(&self, topic: &'static str) -> (u64, u64) {
        let published = self.published.get_or_create(&TopicLabel { topic }).get();
        let dropped = crate::Reason::ALL.iter().map(|reason| {
            let reason = reason.as_str();
            let label = DropLabel { topic, reason };
            self.dropped.get_or_create(&label).get()
        });
        (published, dropped.sum())
    }

    #[cfg(test)]
    pub(crate) fn controls(&self, action: &'static str) -> u64 {
        self.control.get_or_create(&ActionLabel { action }).get()
    }
}
