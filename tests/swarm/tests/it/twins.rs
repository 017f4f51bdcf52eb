//! Two hosts with one identity: a machine that was copied while it ran, name, certificate and state.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use swarm::{Worker, WorkerSpec, until};

use crate::pipe::{Pipe, copy_folder};
use crate::support::ARRIVAL;

/// Appends a host's own lines.
fn say(log: &Path, host: &str, numbers: std::ops::Range<u32>) -> Vec<String> {
    let line = |n| format!("<134>1 2026-06-20T14:03:07Z {host} ssh - auth - line {n}");
    let lines: Vec<String> = numbers.map(line).collect();
    let mut file = OpenOptions::new().append(true).open(log).unwrap();
    file.write_all((lines.join("\n") + "\n").as_bytes())
        .unwrap();
    lines
}

/// Both go on where they were copied, and take the stream from each other: that is recorded, and each line of both is
/// in the archive once.
#[test]
fn a_copied_host_is_a_conflict_that_costs_nothing() {
    let mut pipe = Pipe::new("");
    pipe.write(400);
    pipe.assert_exact();
    pipe.worker.stop_forwarder().unwrap();
    let dir = pipe.path("twin");
    let mut twin = Worker::new(&pipe.programs, &dir, &WorkerSpec::default()).unwrap();
    copy_folder(&pipe.worker.forwarder_state(), &twin.forwarder_state());
    fs::copy(pipe.worker.log(), twin.log()).unwrap();
    let common = pipe.written.len();

    let mut said = say(&pipe.worker.log(), "one", 0..500);
    said.extend(say(&twin.log(), "two", 0..500));
    pipe.worker.restart_forwarder().unwrap();
    let addr = pipe.master.addr().unwrap().to_owned();
    twin.start_forwarder(&addr, &pipe.identity).unwrap();
    // Each says something new whenever it has the stream, until that is a conflict.
    let mut next = 500;
    until("a conflict in the ledger", ARRIVAL, || {
        said.extend(say(&pipe.worker.log(), "one", next..next + 5));
        said.extend(say(&twin.log(), "two", next..next + 5));
        next += 5;
        Ok((!pipe.facts("conflict").is_empty()).then_some(()))
    })
    .unwrap();
    let metrics = pipe.master.metrics().unwrap();
    assert!(metrics.sum("logferry_listener_conflicts_total", &[]) >= 1.0);

    let more: usize = said.iter().map(|line| line.len() + 1).sum();
    pipe.wait_archived(common + more);
    twin.stop().unwrap();
    pipe.worker.stop_forwarder().unwrap();
    let archived = pipe.archived();
    assert_eq!(archived.len(), common + more, "octets in the archive");
    let mut count: HashMap<&[u8], usize> = HashMap::new();
    for line in archived.split(|octet| *octet == b'\n') {
        *count.entry(line).or_default() += 1;
    }
    for line in &said {
        assert_eq!(count.get(line.as_bytes()), Some(&1), "{line}");
    }
    assert!(archived.starts_with(&pipe.written), "what both had");
    // In the order of each host.
    for host in ["one", "two"] {
        let of_host = |line: &&str| line.contains(&format!(" {host} ssh "));
        let text = String::from_utf8_lossy(&archived);
        let found: Vec<&str> = text.lines().filter(of_host).collect();
        let expected: Vec<&str> = said.iter().map(String::as_str).filter(of_host).collect();
        assert_eq!(found, expected, "lines of {host}");
    }
    assert_eq!(pipe.master.gaps().unwrap(), Vec::<serde_json::Value>::new());
    pipe.master.verify().unwrap();
}
