//! Metrics of the syslog source.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use service::status::Register as _;

/// Handles to the metrics; clones share their values. What is durable is counted with the containers'.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Messages received.
    pub(super) messages: Family<TransportLabel, Counter>,
    /// What will never come, by cause: messages where they can be counted, else incidents.
    pub(super) lost: Family<LossLabel, Counter>,
    /// Octets of it, where they can be counted.
    pub(super) lost_bytes: Family<LossLabel, Counter>,
    /// Open connections.
    pub(super) connections: Gauge,
    /// Connections and datagrams turned away: not from this host.
    pub(super) refused: Family<TransportLabel, Counter>,
    /// Connections that were silent for too long.
    pub(super) idle: Counter,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct TransportLabel {
    pub(super) transport: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct LossLabel {
    pub(super) transport: &'static str,
    pub(super) cause: &'static str,
}

impl Metrics {
    /// Registers everything.
    pub fn new(r: &mut Registry) -> Metrics {
        Metrics {
            messages: r.metric("syslog_messages", "Syslog messages received"),
            lost: r.metric("syslog_lost", "Syslog messages that will never come"),
            lost_bytes: r.metric("syslog_lost_bytes", "Octets of them, where known"),
            connections: r.metric("syslog_connections", "Open syslog connections"),
            refused: r.metric(
                "syslog_refused",
                "Syslog senders turned away as no local ones",
            ),
            idle: r.metric(
                "syslog_idle_closed",
                "Syslog connections closed for silence",
            ),
        }
    }
}
