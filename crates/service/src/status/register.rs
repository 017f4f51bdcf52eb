//! Making a metric and registering it in one step, so that a program's list of metrics is written once.

use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry, Unit};

/// What [`Registry`] lacks: handles to what it has registered.
pub trait Register {
    /// Registers a metric of its kind's default and gives the handle.
    fn metric<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M;

    /// The same with a unit, which becomes part of the name.
    fn metric_in<M: Metric + Clone + Default>(&mut self, name: &str, unit: Unit, help: &str) -> M;

    /// Registers a histogram of seconds with these upper bounds.
    fn seconds(
        &mut self,
        name: &str,
        help: &str,
        buckets: impl IntoIterator<Item = f64>,
    ) -> Histogram;
}

impl Register for Registry {
    fn metric<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        let metric = M::default();
        self.register(name, help, metric.clone());
        metric
    }

    fn metric_in<M: Metric + Clone + Default>(&mut self, name: &str, unit: Unit, help: &str) -> M {
        let metric = M::default();
        self.register_with_unit(name, help, unit, metric.clone());
        metric
    }

    fn seconds(
        &mut self,
        name: &str,
        help: &str,
        buckets: impl IntoIterator<Item = f64>,
    ) -> Histogram {
        let histogram = Histogram::new(buckets);
        self.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        histogram
    }
}
