//! Foreign programs as the other end, in both directions: rsyslog with both TLS drivers, and DECNET's Python, with its
//! own CA and with ours. 100,000 lines each way, unchanged. Towards those receivers the lines are of at most 8 KiB,
//! valid UTF-8 and without control octets, since they rewrite others.

use std::path::{Path, PathBuf};
use std::time::Duration;

use swarm::{
    Child, Decnet, Driver, Master, Programs, Rsyslog, Worker, WorkerSpec, free_port, until,
};
use tempfile::TempDir;

use crate::support::{assert_same_lines, decoy_file, folder, line_count, need, wait_lines};

const LINES: u64 = 100_000;
const STOP: Duration = Duration::from_secs(30);

/// A folder with a file of lines, and a master whose CA is ours or DECNET's.
struct Bench {
    dir: TempDir,
    programs: Programs,
    source: PathBuf,
    master: Master,
    /// What the worker shows.
    identity: PathBuf,
    /// The CA folder in DECNET's layout.
    ca: PathBuf,
}

impl Bench {
    fn with_our_certificates() -> Bench {
        let dir = folder();
        let programs = Programs::build().unwrap();
        let master = Master::init(&programs, &dir.path().join("master")).unwrap();
        let identity = master.enroll("w1").unwrap();
        let ca = master.data().join("ca");
        Bench::new(dir, programs, master, identity, ca)
    }

    fn with_decnet_certificates(decnet: &Decnet) -> Bench {
        let dir = folder();
        let programs = Programs::build().unwrap();
        decnet.pki(dir.path(), "w1").unwrap();
        let ca = dir.path().join("ca");
        let master = Master::import(&programs, &dir.path().join("master"), &ca).unwrap();
        let identity = ca.join("workers/w1");
        Bench::new(dir, programs, master, identity, ca)
    }

    fn new(
        dir: TempDir,
        programs: Programs,
        master: Master,
        identity: PathBuf,
        ca: PathBuf,
    ) -> Bench {
        let source = dir.path().join("source.log");
        decoy_file(&source, "w1-ssh", "clean", LINES);
        Bench {
            dir,
            programs,
            source,
            master,
            identity,
            ca,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts our listener and a sender towards its port, and asserts that what arrives is what was sent.
    fn receives_from(&mut self, start: impl FnOnce(&Bench, u16) -> anyhow::Result<Child>) {
        self.master.start().unwrap();
        let addr = self.master.addr().unwrap();
        let port = addr.rsplit(':').next().unwrap().parse().unwrap();
        let sender = start(self, port).unwrap();
        wait_lines(&self.master.merged_log(), LINES);
        sender.stop(STOP).unwrap();
        self.master.stop().unwrap();
        assert_same_lines(&self.source, &self.master.merged_log());
        assert_eq!(line_count(&self.master.merged_json()), LINES);
    }

    /// Starts a receiver on a port that writes to `output`, and our forwarder towards it, and asserts the same.
    fn sends_to(&self, output: &Path, start: impl FnOnce(&Bench, u16) -> anyhow::Result<Child>) {
        let port = free_port().unwrap();
        let receiver = start(self, port).unwrap();
        until("the peer listens", STOP, || {
            Ok(std::net::TcpStream::connect(("127.0.0.1", port)).ok())
        })
        .unwrap();
        let spec = WorkerSpec {
            delivery: "plain",
            ..WorkerSpec::default()
        };
        let mut worker = Worker::new(&self.programs, &self.path("w1"), &spec).unwrap();
        std::fs::copy(&self.source, worker.log()).unwrap();
        let addr = format!("127.0.0.1:{port}");
        worker.start_forwarder(&addr, &self.identity).unwrap();
        wait_lines(output, LINES);
        worker.stop().unwrap();
        receiver.stop(STOP).unwrap();
        assert_same_lines(&self.source, output);
    }
}

fn rsyslog_sends(driver: Driver) {
    let Some(rsyslog) = need(Rsyslog::find()) else {
        return;
    };
    Bench::with_our_certificates().receives_from(|bench, port| {
        let dir = bench.path("rsyslog");
        rsyslog.send(&dir, driver, &bench.identity, &bench.source, port)
    });
}

fn rsyslog_receives(driver: Driver) {
    let Some(rsyslog) = need(Rsyslog::find()) else {
        return;
    };
    let bench = Bench::with_our_certificates();
    let output = bench.path("received.log");
    bench.sends_to(&output, |bench, port| {
        let (dir, server) = (bench.path("rsyslog"), bench.ca.join("master"));
        rsyslog.receive(&dir, driver, &server, "w1", &output, port)
    });
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

fn decnet_sends(decnet: &Decnet, mut bench: Bench) {
    bench.receives_from(|bench, port| {
        let messages = bench.path("decnet.messages");
        decnet.forward(&bench.source, port, &bench.identity, &messages)
    });
}

fn decnet_receives(decnet: &Decnet, bench: &Bench) {
    let (log, json) = (bench.path("decnet.log"), bench.path("decnet.json"));
    bench.sends_to(&log, |bench, port| {
        decnet.listen(&log, &json, port, &bench.ca, &bench.path("decnet.messages"))
    });
}

#[test]
fn decnet_forwarder_sends_with_our_certificates() {
    if let Some(decnet) = need(Decnet::find()) {
        decnet_sends(&decnet, Bench::with_our_certificates());
    }
}

#[test]
fn decnet_forwarder_sends_with_decnet_certificates() {
    if let Some(decnet) = need(Decnet::find()) {
        decnet_sends(&decnet, Bench::with_decnet_certificates(&decnet));
    }
}

#[test]
fn decnet_listener_receives_with_our_certificates() {
    if let Some(decnet) = need(Decnet::find()) {
        decnet_receives(&decnet, &Bench::with_our_certificates());
    }
}

#[test]
fn decnet_listener_receives_with_decnet_certificates() {
    if let Some(decnet) = need(Decnet::find()) {
        decnet_receives(&decnet, &Bench::with_decnet_certificates(&decnet));
    }
}
