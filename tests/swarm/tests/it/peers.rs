//! Foreign programs as the other end, in both directions: rsyslog with both TLS drivers, and DECNET's Python, with its
//! own CA and with ours. 100,000 lines each way, unchanged. Towards those receivers the lines are of at most 8 KiB,
//! valid UTF-8 and without control octets, since they rewrite others.

use std::path::{Path, PathBuf};
use std::time::Duration;

use swarm::{Decnet, Driver, Master, Programs, Rsyslog, Worker, WorkerSpec, free_port, until};

use crate::support::{assert_same_lines, decoy_file, folder, line_count, wait_lines};

const LINES: u64 = 100_000;

fn port_of(addr: &str) -> u16 {
    addr.rsplit(':').next().unwrap().parse().unwrap()
}

fn source(dir: &Path) -> PathBuf {
    let file = dir.join("source.log");
    decoy_file(&file, "w1-ssh", "clean", LINES);
    file
}

/// A worker whose `.log` is the given file, without a collector.
fn forwarding_worker(programs: &Programs, dir: &Path, source: &Path) -> Worker {
    let worker = Worker::new(programs, &dir.join("w1"), &WorkerSpec::default()).unwrap();
    std::fs::copy(source, worker.log()).unwrap();
    worker
}

fn wait_listening(port: u16) {
    until("the peer listens", Duration::from_secs(30), || {
        Ok(std::net::TcpStream::connect(("127.0.0.1", port)).ok())
    })
    .unwrap();
}

fn rsyslog_sends(driver: Driver) {
    let Some(rsyslog) = crate::support::need(Rsyslog::find()) else {
        return;
    };
    let dir = folder();
    let programs = Programs::build().unwrap();
    let source = source(dir.path());
    let mut master = Master::init(&programs, &dir.path().join("master")).unwrap();
    let identity = master.enroll("w1").unwrap();
    master.start().unwrap();
    let port = port_of(master.addr().unwrap());
    let sender = rsyslog
        .send(
            &dir.path().join("rsyslog"),
            driver,
            &identity,
            &source,
            port,
        )
        .unwrap();
    wait_lines(&master.merged_log(), LINES);
    sender.stop(Duration::from_secs(30)).unwrap();
    master.stop().unwrap();
    assert_same_lines(&source, &master.merged_log());
}

fn rsyslog_receives(driver: Driver) {
    let Some(rsyslog) = crate::support::need(Rsyslog::find()) else {
        return;
    };
    let dir = folder();
    let programs = Programs::build().unwrap();
    let source = source(dir.path());
    let master = Master::init(&programs, &dir.path().join("master")).unwrap();
    let identity = master.enroll("w1").unwrap();
    let server = master.data().join("ca/master");
    let output = dir.path().join("received.log");
    let port = free_port().unwrap();
    let receiver = rsyslog
        .receive(
            &dir.path().join("rsyslog"),
            driver,
            &server,
            "w1",
            &output,
            port,
        )
        .unwrap();
    wait_listening(port);
    let mut worker = forwarding_worker(&programs, dir.path(), &source);
    worker
        .start_forwarder(&format!("127.0.0.1:{port}"), &identity)
        .unwrap();
    wait_lines(&output, LINES);
    worker.stop().unwrap();
    receiver.stop(Duration::from_secs(30)).unwrap();
    assert_same_lines(&source, &output);
}

#[test]
fn rsyslog_with_openssl_sends_to_our_listener() {
    rsyslog_sends(Driver::OpenSsl);
}

#[test]
fn rsyslog_with_gnutls_sends_to_our_listener() {
    rsyslog_sends(Driver::GnuTls);
}

#[test]
fn rsyslog_with_openssl_receives_from_our_forwarder() {
    rsyslog_receives(Driver::OpenSsl);
}

#[test]
fn rsyslog_with_gnutls_receives_from_our_forwarder() {
    rsyslog_receives(Driver::GnuTls);
}

#[test]
fn decnet_forwarder_sends_with_our_certificates() {
    let Some(decnet) = crate::support::need(Decnet::find()) else {
        return;
    };
    let dir = folder();
    let programs = Programs::build().unwrap();
    let source = source(dir.path());
    let mut master = Master::init(&programs, &dir.path().join("master")).unwrap();
    let identity = master.enroll("w1").unwrap();
    master.start().unwrap();
    let port = port_of(master.addr().unwrap());
    let sender = decnet
        .forward(
            &source,
            port,
            &identity,
            &dir.path().join("decnet.messages"),
        )
        .unwrap();
    wait_lines(&master.merged_log(), LINES);
    sender.stop(Duration::from_secs(30)).unwrap();
    master.stop().unwrap();
    assert_same_lines(&source, &master.merged_log());
    assert_eq!(line_count(&master.merged_json()), LINES);
}

#[test]
fn decnet_forwarder_sends_with_decnet_certificates() {
    let Some(decnet) = crate::support::need(Decnet::find()) else {
        return;
    };
    let dir = folder();
    let programs = Programs::build().unwrap();
    let source = source(dir.path());
    decnet.pki(dir.path(), "w1").unwrap();
    let mut master = Master::import(
        &programs,
        &dir.path().join("master"),
        &dir.path().join("ca"),
    )
    .unwrap();
    master.start().unwrap();
    let port = port_of(master.addr().unwrap());
    let agent = dir.path().join("ca/workers/w1");
    let sender = decnet
        .forward(&source, port, &agent, &dir.path().join("decnet.messages"))
        .unwrap();
    wait_lines(&master.merged_log(), LINES);
    sender.stop(Duration::from_secs(30)).unwrap();
    master.stop().unwrap();
    assert_same_lines(&source, &master.merged_log());
}

fn decnet_receives(decnet: &Decnet, dir: &Path, ca: &Path, identity: &Path) {
    let programs = Programs::build().unwrap();
    let source = source(dir);
    let (log, json) = (dir.join("decnet.log"), dir.join("decnet.json"));
    let port = free_port().unwrap();
    let receiver = decnet
        .listen(&log, &json, port, ca, &dir.join("decnet.messages"))
        .unwrap();
    wait_listening(port);
    let mut worker = forwarding_worker(&programs, dir, &source);
    worker
        .start_forwarder(&format!("127.0.0.1:{port}"), identity)
        .unwrap();
    wait_lines(&log, LINES);
    worker.stop().unwrap();
    receiver.stop(Duration::from_secs(30)).unwrap();
    assert_same_lines(&source, &log);
}

#[test]
fn decnet_listener_receives_with_our_certificates() {
    let Some(decnet) = crate::support::need(Decnet::find()) else {
        return;
    };
    let dir = folder();
    let programs = Programs::build().unwrap();
    let master = Master::init(&programs, &dir.path().join("master")).unwrap();
    let identity = master.enroll("w1").unwrap();
    decnet_receives(&decnet, dir.path(), &master.data().join("ca"), &identity);
}

#[test]
fn decnet_listener_receives_with_decnet_certificates() {
    let Some(decnet) = crate::support::need(Decnet::find()) else {
        return;
    };
    let dir = folder();
    decnet.pki(dir.path(), "w1").unwrap();
    decnet_receives(
        &decnet,
        dir.path(),
        &dir.path().join("ca"),
        &dir.path().join("ca/workers/w1"),
    );
}
