//! The books balance: per container what was read is what was written plus what was dropped, per stream what was
//! written is what was delivered, what waits and what is gone.

use std::time::Duration;

use serde_json::Value;
use swarm::{Source, Worker, until};

/// How long books may lag behind the lines that they count.
const SETTLED: Duration = Duration::from_secs(30);

/// Asserts each container's books, that they count its lines, and that together they count the octets of the `.log`.
/// The collector must be running and have written all lines, and its `.log` must not have been rotated.
pub(crate) fn assert_collector(worker: &Worker, sources: &[Source]) {
    let size = std::fs::metadata(worker.log()).unwrap().len();
    let settled = until("books that count the .log", SETTLED, || {
        let status = worker.collector_status()?;
        let containers = status["containers"].as_array().cloned().unwrap_or_default();
        let bytes: u64 = containers
            .iter()
            .map(|c| number(&c["books"]["bytes"]))
            .sum();
        Ok((bytes == size).then_some(containers))
    });
    let containers = settled.unwrap_or_else(|error| {
        panic!(
            "{error}: {size} octets in the .log, status {:#}",
            worker.collector_status().unwrap()
        )
    });
    assert_eq!(containers.len(), sources.len());
    for source in sources {
        let container = containers
            .iter()
            .find(|c| c["name"] == source.name.as_str());
        let container = container.unwrap_or_else(|| panic!("no books of {}", source.name));
        assert_balance(container);
        let written = number(&container["books"]["written"]);
        assert_eq!(written, source.lines.len() as u64, "{container:#}");
        assert_eq!(number(&container["books"]["gaps"]), 0, "{container:#}");
    }
}

/// Asserts that what was read of a container is what was written plus what was dropped.
pub(crate) fn assert_balance(container: &Value) {
    let books = &container["books"];
    let dropped: u64 = books["dropped"]
        .as_object()
        .unwrap()
        .values()
        .map(number)
        .sum();
    assert_eq!(
        number(&books["read"]),
        number(&books["written"]) + dropped,
        "{container:#}"
    );
    assert_eq!(container["balanced"], true, "{container:#}");
}

/// Asserts that the forwarder has delivered what the `.log` holds, and says so.
pub(crate) fn assert_forwarder(worker: &Worker) {
    let size = std::fs::metadata(worker.log()).unwrap().len();
    let settled = until("a stream that is delivered", SETTLED, || {
        let status = worker.forwarder_status()?;
        let stream = &status["streams"][0];
        Ok((stream["books"]["acknowledged"] == size).then(|| stream.clone()))
    });
    let stream = &settled.unwrap_or_else(|error| {
        panic!(
            "{error}: {size} octets in the .log, status {:#}",
            worker.forwarder_status().unwrap()
        )
    });
    assert_stream(stream, size);
    assert_eq!(number(&stream["books"]["pending"]), 0, "{stream:#}");
    assert_eq!(number(&stream["books"]["gaps"]), 0, "{stream:#}");
}

/// Asserts that of so many octets that were written each is acknowledged, pending, or in a gap.
pub(crate) fn assert_stream(stream: &Value, written: u64) {
    let books = &stream["books"];
    let count = |key: &str| number(&books[key]);
    assert_eq!(count("written"), written, "{stream:#}");
    let sum = count("acknowledged") + count("pending") + count("gaps");
    assert_eq!(sum, written, "{stream:#}");
    assert_eq!(books["balanced"], true, "{stream:#}");
}

/// A count; what is none is none of 2^53.
pub(crate) fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no count"))
}
