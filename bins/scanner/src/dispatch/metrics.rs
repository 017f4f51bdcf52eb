//! The dispatcher's metrics, under the program's prefix.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use service::status::Register as _;
use webhook::Outcome;

type Of = [(&'static str, String); 1];

/// Handles; clones share them. Triggers are at most [`MAX_TRIGGERS`](crate::trigger::MAX_TRIGGERS), so are labels.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    /// `webhook_attempts{trigger,outcome}`: delivered, retry, rejected, gone, refused.
    attempts: Family<[(&'static str, String); 2], Counter>,
    /// `webhook_attempt_seconds`.
    seconds: Histogram,
    /// `deliveries_dead{trigger}`: webhooks given up after attempts, or because their trigger was disabled.
    dead: Family<Of, Counter>,
    /// `deliveries_overflowed`: webhooks given up because too many waited.
    pub(crate) overflowed: Counter,
    /// `deliveries_folded`: events that became part of another's webhook.
    pub(crate) folded: Counter,
    /// `deliveries_skipped{trigger}`: events for a trigger that is disabled.
    skipped: Family<Of, Counter>,
    /// `deliveries_waiting{trigger}`.
    waiting: Family<Of, Gauge>,
    /// `trigger_disabled{trigger}`: 1 when nothing is sent to it any more.
    disabled: Family<Of, Gauge>,
    /// `trigger_problems`: mistakes in trigger files.
    pub(crate) problems: Gauge,
}

impl Metrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        Self {
            attempts: registry.metric("webhook_attempts", "Attempts to deliver a webhook"),
            seconds: registry.seconds(
                "webhook_attempt",
                "Time an attempt took",
                exponential_buckets(0.005, 3.0, 8),
            ),
            dead: registry.metric("deliveries_dead", "Webhooks that were given up"),
            overflowed: registry.metric(
                "deliveries_overflowed",
                "Webhooks given up because too many waited",
            ),
            folded: registry.metric(
                "deliveries_folded",
                "Events that went with another's webhook",
            ),
            skipped: registry.metric("deliveries_skipped", "Events for a disabled trigger"),
            waiting: registry.metric("deliveries_waiting", "Webhooks that wait"),
            disabled: registry.metric("trigger_disabled", "1: nothing is sent to it"),
            problems: registry.metric("trigger_problems", "Mistakes in trigger files"),
        }
    }

    pub(crate) fn attempt(&self, trigger: &str, outcome: Outcome, seconds: f64) {
        let outcome = match outcome {
            Outcome::Delivered => "delivered",
            Outcome::Retry { .. } => "retry",
            Outcome::Rejected => "rejected",
            Outcome::Gone => "gone",
            Outcome::Dead => "refused",
        };
        let labels = [
            ("trigger", trigger.to_owned()),
            ("outcome", outcome.to_owned()),
        ];
        self.attempts.get_or_create(&labels).inc();
        self.seconds.observe(seconds);
    }

    pub(crate) fn dead(&self, trigger: &str, count: u64) {
        if count > 0 {
            self.dead.get_or_create(&of(trigger)).inc_by(count);
        }
    }

    pub(crate) fn skipped(&self, trigger: &str, count: u64) {
        if count > 0 {
            self.skipped.get_or_create(&of(trigger)).inc_by(count);
        }
    }

    pub(crate) fn lane(&self, trigger: &str, waiting: u64, disabled: bool) {
        let waiting = i64::try_from(waiting).unwrap_or(i64::MAX);
        self.waiting.get_or_create(&of(trigger)).set(waiting);
        self.disabled
            .get_or_create(&of(trigger))
            .set(disabled.into());
    }

    /// A trigger that is no more has no gauges.
    pub(crate) fn forget(&self, trigger: &str) {
        self.waiting.remove(&of(trigger));
        self.disabled.remove(&of(trigger));
    }
}

fn of(trigger: &str) -> Of {
    [("trigger", trigger.to_owned())]
}
