//! Every metric of the collector.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use service::status::Register as _;

use crate::books::Books;

/// Handles to the metrics; clones share their values.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// 1 while the daemon answers and the stream of events stands.
    pub docker_connected: Gauge,
    /// Containers that are collected, whether read now or drained.
    pub containers: Gauge,
    /// Containers that were removed before they could be looked at.
    pub missed: Counter,
    /// 1 while a batch can't be written (disk full).
    pub blocked: Gauge,
    /// Batches made durable.
    pub commits: Counter,
    /// Time from handing a batch over until it was durable.
    pub commit_seconds: Histogram,
    /// Gaps recorded in the ledger, by cause.
    pub gaps: Family<CauseLabel, Counter>,
    /// Octets known missing, by cause.
    pub gap_bytes: Family<CauseLabel, Counter>,
    /// Entries of Docker's logs that could not be read.
    pub corrupt: Counter,
    read: Family<ContainerLabel, Counter>,
    written: Family<ContainerLabel, Counter>,
    written_bytes: Family<ContainerLabel, Counter>,
    dropped: Family<DropLabel, Counter>,
    records: Counter<u64, AtomicU64>,
    suppressed: Family<CauseLabel, Counter>,
    names: Arc<Mutex<BTreeSet<String>>>,
}

/// Why.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct CauseLabel {
    /// One of a fixed set of words.
    pub cause: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ContainerLabel {
    container: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DropLabel {
    container: String,
    reason: &'static str,
}

impl Metrics {
    /// Registers everything.
    pub fn new(r: &mut Registry) -> Metrics {
        Metrics {
            docker_connected: r.metric("docker_connected", "1 while the Docker daemon answers"),
            containers: r.metric("containers", "Containers that are collected"),
            missed: r.metric(
                "containers_missed",
                "Containers removed before they were looked at",
            ),
            blocked: r.metric("blocked", "1 while a batch can't be written"),
            commits: r.metric("commits", "Batches made durable"),
            commit_seconds: r.seconds(
                "commit",
                "From handing a batch over until it is durable",
                COMMIT_BUCKETS,
            ),
            gaps: r.metric("gaps", "Gaps recorded in the ledger"),
            gap_bytes: r.metric_in("gap", Unit::Bytes, "Octets known missing"),
            corrupt: r.metric("corrupt_entries", "Unreadable entries of Docker's logs"),
            read: r.metric("lines_read", "Lines read of a container"),
            written: r.metric("lines_written", "Lines durable in the log"),
            written_bytes: r.metric_in("written", Unit::Bytes, "Octets durable in the log"),
            dropped: r.metric("lines_dropped", "Lines left out of the log"),
            records: r.metric("records_written", "Records durable in the JSON file"),
            suppressed: r.metric("records_suppressed", "Records left out of the JSON file"),
            names: Arc::default(),
        }
    }

    /// What a heartbeat tells.
    #[must_use]
    pub fn about(&self) -> serde_json::Value {
        serde_json::json!({
            "containers": self.containers.get(),
            "docker_connected": self.docker_connected.get() == 1,
            "records": self.records.get(),
        })
    }

    /// Adds what a durable batch brought of one container.
    pub fn add(&self, container: &str, before: &Books, after: &Books) {
        let label = ContainerLabel {
            container: self.name(container),
        };
        self.read
            .get_or_create(&label)
            .inc_by(after.read - before.read);
        self.written
            .get_or_create(&label)
            .inc_by(after.written - before.written);
        self.written_bytes
            .get_or_create(&label)
            .inc_by(after.bytes - before.bytes);
        for (reason, before, after) in [
            (BLANK, before.dropped.blank, after.dropped.blank),
            (STDERR, before.dropped.stderr, after.dropped.stderr),
        ] {
            if after > before {
                let label = DropLabel {
                    container: label.container.clone(),
                    reason,
                };
                self.dropped.get_or_create(&label).inc_by(after - before);
            }
        }
        self.records
            .inc_by(after.records.written - before.records.written);
        for (cause, before, after) in [
            ("repeated", before.records.repeated, after.records.repeated),
            ("service", before.records.service, after.records.service),
        ] {
            if after > before {
                self.suppressed
                    .get_or_create(&CauseLabel { cause })
                    .inc_by(after - before);
            }
        }
    }

    /// Drops the label of a container that is forgotten, which makes room for another.
    pub fn forget(&self, container: &str) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if !names.remove(container) {
            return;
        }
        let label = ContainerLabel {
            container: container.to_owned(),
        };
        for family in [&self.read, &self.written, &self.written_bytes] {
            family.remove(&label);
        }
        for reason in [BLANK, STDERR] {
            let container = label.container.clone();
            self.dropped.remove(&DropLabel { container, reason });
        }
    }

    /// A container's label: its name, or a common one when there are too many names.
    fn name(&self, container: &str) -> String {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.contains(container) {
            return container.to_owned();
        }
        if names.len() >= MAX_NAMES {
            return OTHER.to_owned();
        }
        names.insert(container.to_owned());
        container.to_owned()
    }
}

const BLANK: &str = "blank";
const STDERR: &str = "stderr";
/// Names that get a label of their own; what comes after is counted together.
const MAX_NAMES: usize = 500;
/// No container can be called this.
const OTHER: &str = "_other";
const COMMIT_BUCKETS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0];

#[cfg(test)]
mod tests;
