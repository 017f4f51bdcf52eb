//! DECNET's own bus, client and registry as the other end: what they hear, and that nothing they do is felt.

use std::{
    fs,
    io::{BufRead as _, BufReader, Lines, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{
    daemon::Container,
    host::{Collector, Host, append, entry, lines},
};

/// Records of the long test.
const RECORDS: u64 = 100_000;
const SID: &str = "0d4bb7a2-9c1e-4f0a-8d3e-5a0d4c1b2e77";

/// DECNET's Python.
struct Decnet {
    python: PathBuf,
}

/// One of its programs; killed when dropped.
struct Peer(Child);

impl Decnet {
    /// The interpreter that `LOGFERRY_DECNET_PYTHON` names, else that of `target/decnet`; or a counted skip.
    fn find() -> Option<Decnet> {
        let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/decnet/bin/python");
        let python = std::env::var_os("LOGFERRY_DECNET_PYTHON").map_or(default, PathBuf::from);
        let mut probe = Command::new(&python);
        if probe
            .args(["-c", "import decnet.bus"])
            .output()
            .is_ok_and(|o| o.status.success())
        {
            return Some(Decnet { python });
        }
        let test = std::thread::current().name().unwrap_or("test").to_owned();
        let reason = format!("{} has no decnet package", python.display());
        service::testing::skip(&test, &reason);
        None
    }

    fn command(&self, host: &Host, verb: &str) -> Command {
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/swarm/peers/decnet_bus.py"
        );
        let mut command = Command::new(&self.python);
        command.args([script, verb]).arg(host.path("bus.sock"));
        command.stdin(Stdio::null()).stderr(log(host));
        command
    }

    /// Starts the bus, and waits until it listens.
    fn serve(&self, host: &Host) -> Peer {
        let child = self.command(host, "serve").spawn().unwrap();
        host.until("DECNET's bus", || {
            UnixStream::connect(host.path("bus.sock")).is_ok()
        });
        Peer(child)
    }

    /// Starts a client that writes what it hears to the file `heard`.
    fn watch(&self, host: &Host) -> Peer {
        let patterns = ["system.log", "system.*.health", "attacker.>"];
        let mut command = self.command(host, "watch");
        Peer(
            command
                .arg(host.path("heard"))
                .args(patterns)
                .spawn()
                .unwrap(),
        )
    }

    /// Starts its registry of workers.
    fn registry(&self, host: &Host) -> Registry {
        let mut command = self.command(host, "registry");
        let mut child = command
            .arg("collector")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Registry {
            lines,
            _peer: Peer(child),
        }
    }
}

/// What the registry says.
struct Registry {
    lines: Lines<BufReader<ChildStdout>>,
    _peer: Peer,
}

impl Registry {
    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }
}

impl Peer {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn log(host: &Host) -> fs::File {
    let mut options = fs::OpenOptions::new();
    options
        .create(true)
        .append(true)
        .open(host.path("stderr"))
        .unwrap()
}

fn with_bus() -> Host {
    let host = Host::new("");
    let (docker, bus) = (host.path("docker.sock"), host.path("bus.sock"));
    host.configure(&format!(
        "docker = \"unix://{}\"\n[bus]\nsocket = {bus:?}",
        docker.display()
    ));
    host
}

/// What was heard on a topic, in order, without the watcher's own.
fn heard(host: &Host, topic: &str) -> Vec<Value> {
    let events = lines(&host.path("heard")).into_iter();
    events
        .map(|line| serde_json::from_slice::<Value>(&line).unwrap())
        .filter(|event| event["topic"] == topic && event["type"] != "subscribed")
        .collect()
}

/// How often the watcher has come to a bus.
fn subscriptions(host: &Host) -> usize {
    let lines = lines(&host.path("heard"));
    let own = |line: &&Vec<u8>| line.windows(12).any(|word| word == b"\"subscribed\"");
    lines.iter().filter(own).count()
}

/// The sum of a metric's samples whose labels hold a word.
pub(crate) fn metric(host: &Host, name: &str, label: &str) -> u64 {
    let text = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(host.path("state/status.sock"))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    let text = text().unwrap_or_default();
    let name = format!("logferry_collector_{name}");
    let samples = text.lines().filter(|line| {
        let end = line.find(['{', ' ']).unwrap_or(line.len());
        line[..end] == name && line.contains(label)
    });
    samples
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
        .sum()
}

fn record(n: u64) -> String {
    format!(
        "<134>1 2026-06-20T14:03:07+00:00 omega http - request [relay@55555 src_ip=\"203.0.113.4\" seq=\"{n}\"] \"t\""
    )
}

/// Prints records, and waits until they stand in the log.
fn print(host: &Host, container: &Container, numbers: std::ops::Range<u64>) {
    let text: String = numbers
        .clone()
        .map(|n| entry(n * 1000, &record(n), "stdout"))
        .collect();
    append(&container.log_path, text.as_bytes());
    let size: u64 = (0..numbers.end).map(|n| record(n).len() as u64 + 1).sum();
    host.until(&format!("{} records", numbers.end), || {
        fs::metadata(host.log()).is_ok_and(|log| log.len() >= size)
    });
}

#[test]
fn decnet_hears_records_health_and_sessions_and_stops_us() {
    let Some(decnet) = Decnet::find() else { return };
    let host = with_bus();
    let artifacts = host.path("artifacts");
    let shard = artifacts.join("omega/ssh/transcripts/sessions-2026-06-20.jsonl");
    fs::create_dir_all(shard.parent().unwrap()).unwrap();
    fs::write(&shard, format!("{{\"sid\":\"{SID}\"}}\n")).unwrap();
    let _bus = decnet.serve(&host);
    let _watcher = decnet.watch(&host);
    host.until("the watcher", || subscriptions(&host) == 1);
    // Whoever is late waits for the next heartbeat.
    let mut registry = decnet.registry(&host);
    assert_eq!(registry.line(), "listening");
    let container = host.run_container("omega-ssh");
    let mut command = host.command(&["run"]);
    command.env("DECNET_ARTIFACTS_ROOT", &artifacts);
    let mut collector = Collector::of(
        command
            .stdout(Stdio::null())
            .stderr(log(&host))
            .spawn()
            .unwrap(),
    );
    host.until("health", || {
        !heard(&host, "system.collector.health").is_empty()
    });
    for (n, text) in [
        r#"<134>1 2026-06-20T14:03:07Z omega bash - command [relay@55555 src_ip="203.0.113.44" command="ls \"-la\" \]"]"#,
        r#"<14>1 2026-06-20T14:03:09Z x 1 - - -  2026-06-20T14:03:09Z SRV bash - command [t k="v"] CMD uid=0 user=root src=203.0.113.44 pwd=/root cmd=echo é a=b"#,
        "no syslog message, so no record",
        &format!(r#"<134>1 2026-06-20T14:03:17Z omega sessrec - session_recorded [relay@55555 sid="{SID}" service="ssh" src_ip="203.0.113.44" duration_s="60.5"]"#),
    ]
    .into_iter()
    .enumerate()
    {
        container.print(n as u64, text);
    }
    host.until("the session", || {
        !heard(&host, "attacker.session.ended").is_empty()
    });
    let logs = heard(&host, "system.log");
    let expected: Vec<Value> = host
        .records()
        .iter()
        .map(|record| {
            let keys = ["decky", "service", "event_type", "attacker_ip", "timestamp"];
            let payload: Value = keys
                .map(|key| (key.to_owned(), record[key].clone()))
                .into_iter()
                .collect();
            json!({ "type": record["event_type"], "payload": payload })
        })
        .collect();
    let found: Vec<Value> = logs
        .iter()
        .map(|log| json!({ "type": log["type"], "payload": log["payload"] }))
        .collect();
    assert_eq!((found.len(), found), (3, expected));
    let session = &heard(&host, "attacker.session.ended")[0];
    assert_eq!(session["type"], "session.ended");
    assert_eq!(
        session["payload"],
        json!({
            "session_id": SID, "attacker_uuid": null, "attacker_ip": "203.0.113.44", "decky_id": "omega",
            "service": "ssh", "ended_at": "2026-06-20T14:03:17", "duration_s": 60.5,
            "commands": [
                { "id": format!("{SID}#0"), "command_text": "ls \"-la\" ]", "ts": "2026-06-20T14:03:07", "decky": "omega", "service": "bash" },
                { "id": format!("{SID}#1"), "command_text": "echo é a=b", "ts": "2026-06-20T14:03:09", "decky": "SRV", "service": "bash",
                  "uid": "0", "user": "root", "src": "203.0.113.44", "pwd": "/root" },
            ],
            "shard_path": shard,
        })
    );
    let health = &heard(&host, "system.collector.health")[0];
    assert_eq!(
        (&health["type"], &health["payload"]["worker"]),
        (&"health".into(), &"collector".into())
    );
    let known: Value = serde_json::from_str(&registry.line()).unwrap();
    assert_eq!(
        (&known["name"], &known["status"]),
        (&"collector".into(), &"ok".into()),
        "{known}"
    );
    assert_eq!(known["extra"]["version"], health["payload"]["version"]);

    assert!(
        decnet
            .command(&host, "stop")
            .arg("forwarder")
            .status()
            .unwrap()
            .success()
    );
    assert!(
        decnet
            .command(&host, "stop")
            .arg("collector")
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(collector.wait(), Some(0));
}

#[test]
fn a_bus_that_stops_stalls_and_returns_changes_nothing() {
    let Some(decnet) = Decnet::find() else { return };
    let host = with_bus();
    let container = host.run_container("omega-http");
    let collector = host.start();
    let fifth = RECORDS / 5;
    // Absent, and then there.
    print(&host, &container, 0..fifth);
    let mut bus = decnet.serve(&host);
    let _watcher = decnet.watch(&host);
    host.until("the watcher", || subscriptions(&host) == 1);
    host.until("the connection", || metric(&host, "bus_connected", "") == 1);
    print(&host, &container, fifth..2 * fifth);
    host.until("events", || {
        metric(&host, "bus_published_total", "system.log") > 0
    });
    // It stalls in the middle, for longer than the client waits.
    bus.signal(Signal::STOP);
    print(&host, &container, 2 * fifth..3 * fifth);
    host.until("the stall", || {
        metric(&host, "bus_dropped_total", "stalled") > 0
    });
    bus.signal(Signal::CONT);
    // Killed while it is busy, and started again.
    host.until("life", || metric(&host, "bus_connected", "") == 1);
    print(&host, &container, 3 * fifth..4 * fifth);
    bus.0.kill().unwrap();
    bus.0.wait().unwrap();
    bus = decnet.serve(&host);
    host.until("the watcher again", || subscriptions(&host) == 2);
    host.until("the connection again", || {
        metric(&host, "bus_connections_total", "") == 2 && metric(&host, "bus_connected", "") == 1
    });
    print(&host, &container, 4 * fifth..RECORDS);
    let counts = || {
        let of = |name| metric(&host, name, "topic=\"system.log\"");
        (of("bus_published_total"), of("bus_dropped_total"))
    };
    host.until("all to be counted", || {
        let (published, dropped) = counts();
        published + dropped == RECORDS
    });
    let (published, dropped) = counts();
    // How much a bus takes is its own affair.
    assert!(
        published > 0 && dropped >= fifth,
        "{published} published, {dropped} dropped"
    );
    drop(bus);
    assert_eq!(collector.stop(), Some(0));

    let logged = host.lines();
    assert!(
        logged
            .iter()
            .enumerate()
            .all(|(n, line)| *line == record(n as u64).into_bytes())
    );
    assert_eq!(logged.len() as u64, RECORDS);
    let seen = heard(&host, "system.log");
    assert!(
        !seen.is_empty() && seen.len() as u64 <= published,
        "{} seen",
        seen.len()
    );

    // The same without a bus gives the same files.
    let without = Host::new("");
    let same = without.run_container("omega-http");
    fs::copy(&container.log_path, &same.log_path).unwrap();
    let collector = without.start();
    let size = |path: PathBuf| fs::metadata(path).map_or(0, |file| file.len());
    without.until("the same log", || size(without.log()) >= size(host.log()));
    assert_eq!(collector.stop(), Some(0));
    assert!(
        fs::read(host.log()).unwrap() == fs::read(without.log()).unwrap(),
        "the logs differ"
    );
    assert!(
        fs::read(host.json()).unwrap() == fs::read(without.json()).unwrap(),
        "the records differ"
    );
}
