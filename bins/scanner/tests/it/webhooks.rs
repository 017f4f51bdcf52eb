//! Webhooks of the real program: its commands and pages, and that everything arrives whatever is killed.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::bed::{Bed, Master, NO_RATE, append, numbers, until};
use crate::commands::{lines, post};
use crate::kill::kills;
use crate::receiver::{Manner, Receiver, serve};

const OK: Manner = Manner::Status(200);

/// Tests listen on loopback, and do not wait for hours.
fn configure(bed: &Bed, input: &str) {
    let more = "[webhooks]\nallow_cidrs = [\"127.0.0.1/32\"]\nschedule = [\"20ms\", \"50ms\"]";
    bed.configure(input, &format!("worker = \"w1\"\n{NO_RATE}\n{more}"));
    bed.rule_for_hits();
}

fn trigger(bed: &Bed, name: &str, url: &str) {
    let secret = bed.path("chat.secret");
    fs::write(&secret, "s3cret\n").unwrap();
    let text = format!(
        "[[trigger]]\nname = \"{name}\"\nurl = \"{url}\"\nsecret_file = {secret:?}\nrate = 6000\n"
    );
    bed.triggers(&format!("{name}.toml"), &text);
}

#[tokio::test]
async fn a_line_becomes_a_webhook_that_no_proxy_sees() {
    let bed = Bed::file();
    configure(&bed, "decky.log");
    let (receiver, proxy) = (Receiver::start(OK).await, Receiver::start(OK).await);
    trigger(&bed, "chat", &receiver.url());
    let proxy_url = format!("http://{}", proxy.addr);
    let env =
        ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"].map(|name| (name, &*proxy_url));
    let program = bed.start_with(&[&env[..], &[("RUST_LOG", "trace")]].concat());
    append(&bed.log(), "hit 1\n");
    until("webhook", async || receiver.received().len() == 1).await;
    assert!(proxy.received().is_empty());
    let received = &receiver.received()[0];
    let event = &bed.events()[0];
    assert_eq!(&received.body["data"]["event"], event);
    assert_eq!(
        received.id(),
        format!("{}_chat", event["id"].as_str().unwrap())
    );
    assert!(received.fields["webhook-signature"].starts_with("v1,"));
    until("status", async || {
        let (_, status) = bed.page("/status").await.unwrap();
        status["webhooks"]["triggers"][0]["last_status"] == 200
    })
    .await;
    let page = bed.page("/status").await.unwrap().1.to_string();
    let output = bed.command(&["status", "--json"]);
    let shown = format!("{page} {output:?} {}", bed.stderr());
    assert!(program.stop());
    let logged = shown + &bed.stderr();
    assert!(logged.contains("webhook"), "{logged}");
    for secret in ["s3cret", "t0ken"] {
        assert!(!logged.contains(secret), "{secret} is shown in {logged}");
    }
}

#[tokio::test]
async fn deliveries_are_listed_and_replayed() {
    let bed = Bed::file();
    configure(&bed, "decky.log");
    assert!(lines(&bed.command(&["deliveries", "list", "--json"])).is_empty());
    let receiver = Receiver::start(Manner::Status(500)).await;
    trigger(&bed, "chat", &receiver.url());
    let _program = bed.start();
    append(&bed.log(), "hit 1\n");
    let dead = || lines(&bed.command(&["deliveries", "list", "--dead", "--json"]));
    until("dead letter", async || dead().len() == 1).await;
    let row = &dead()[0];
    assert_eq!(row["attempts"], 3);
    assert_eq!(row["error"], "no attempt is left: answered 500");
    let text = String::from_utf8(bed.command(&["deliveries", "list"]).stdout).unwrap();
    assert!(text.contains("1 dead chat event "), "{text}");
    receiver.behave(&[], OK);
    let output = bed.command(&["deliveries", "replay", "1"]);
    assert!(output.status.success(), "{output:?}");
    until("replay", async || receiver.delivered().len() == 1).await;
    until("no dead letter", async || dead().is_empty()).await;
    let ids: Vec<String> = receiver
        .received()
        .iter()
        .map(|one| one.id().to_owned())
        .collect();
    assert!(
        ids.iter().all(|id| *id == ids[0]) && row["webhook_id"] == ids[0],
        "{ids:?}"
    );
    let output = bed.command(&["deliveries", "replay", "2"]);
    assert_eq!(output.status.code(), Some(1));
    let output = bed.command(&["deliveries", "replay", "two"]);
    assert_eq!(output.status.code(), Some(2));
}

// Commands are waited for while the receiver answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn triggers_are_checked_and_tried() {
    let bed = Bed::file();
    configure(&bed, "decky.log");
    let receiver = Receiver::start(OK).await;
    receiver.behave(&[OK, OK, Manner::Status(500)], OK);
    trigger(&bed, "chat", &receiver.url());
    trigger(&bed, "bad", "http://169.254.169.254/t0ken");
    let output = bed.command(&["check"]);
    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8(output.stderr).unwrap();
    let wanted = "triggers.d/bad.toml:3: trigger.0.url: address 169.254.169.254 is denied (metadata service)";
    assert!(text.contains(wanted) && !text.contains("t0ken"), "{text}");

    let program = bed.start();
    until("pages", async || bed.page("/livez").await.is_some()).await;
    let (code, value) = post(&bed, "/triggers/chat/test", &json!({})).await;
    assert_eq!(
        (code, &value["ok"], &value["status"]),
        (200, &json!(true), &json!(200))
    );
    assert_eq!(value["resolved_ip"], "127.0.0.1");
    assert_eq!(post(&bed, "/triggers/bad/test", &json!({})).await.0, 404);
    assert!(program.stop());

    let tested = lines(&bed.command(&["trigger", "test", "chat", "--json"]));
    assert_eq!(tested[0]["ok"], true);
    let output = bed.command(&["trigger", "test", "chat"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("answered 500") && !text.contains("t0ken"),
        "{text}"
    );
    let sent = receiver.received();
    assert_eq!(sent.len(), 3);
    for one in &sent {
        assert_eq!(one.body["data"]["test"], true);
        assert_eq!(one.body["type"], "event.trigger.fired");
        assert!(one.fields.contains_key("webhook-signature"));
    }
    assert!(bed.events().is_empty());
    fs::remove_file(bed.path("triggers.d/bad.toml")).unwrap();
    assert!(bed.command(&["check"]).status.success());
    assert_eq!(
        bed.command(&["trigger", "test", "none"]).status.code(),
        Some(1)
    );
}

/// Both ends are killed, and the receiver answers well, badly or not at all: every event's webhook arrives, in order,
/// whatever was repeated with one id.
#[tokio::test]
#[expect(clippy::print_stdout, reason = "figures of the long run")]
async fn every_webhook_arrives_whatever_is_killed() {
    let bed = Bed::archive();
    bed.rule_for_hits();
    let mut waits = vec![
        "\"20ms\"",
        "\"50ms\"",
        "\"100ms\"",
        "\"100ms\"",
        "\"200ms\"",
    ];
    waits.resize(50, "\"1s\"");
    let more = format!(
        "[webhooks]\nallow_cidrs = [\"127.0.0.1/32\"]\nschedule = [{}]",
        waits.join(", ")
    );
    bed.configure("archive", &format!("{NO_RATE}\n{more}"));
    let mut receiver = Remote::start(&bed.path("receiver"));
    until("a port", async || receiver.port().is_some()).await;
    let url = format!("http://127.0.0.1:{}/hook", receiver.port().unwrap());
    trigger(&bed, "chat", &url);
    let mut master = Master::open(&bed).await;
    let (_, handle) = master.epoch("w1", "decky").await;
    let mut rng = SmallRng::seed_from_u64(5);
    let mut n = 0;
    for _ in 0..kills() {
        let program = bed.start();
        for _ in 0..rng.random_range(0..4) {
            let mut text = String::new();
            for _ in 0..rng.random_range(0..4) {
                n += 1;
                text.push_str(&format!("hit {n}\n"));
            }
            master.write(handle, &text).await;
        }
        // At a moment that nobody chose.
        tokio::time::sleep(Duration::from_micros(rng.random_range(0..400_000))).await;
        if rng.random_bool(0.3) {
            receiver.kill();
            program.kill();
            receiver = Remote::start(&bed.path("receiver"));
        } else if rng.random_bool(0.5) {
            receiver.kill();
            receiver = Remote::start(&bed.path("receiver"));
            tokio::time::sleep(Duration::from_micros(rng.random_range(0..200_000))).await;
            program.kill();
        } else {
            program.kill();
        }
    }
    receiver.recover();
    let _program = bed.start();
    let events = bed.has(n).await;
    let mut found = numbers(&events);
    found.sort_unstable();
    assert_eq!(found, (1..=n as u64).collect::<Vec<_>>(), "each line once");
    until("all webhooks", async || receiver.good().len() >= n).await;
    let wanted = events
        .iter()
        .map(|event| format!("{}_chat", event["id"].as_str().unwrap()));
    let mut first = Vec::new();
    for id in receiver.good_in_order() {
        if !first.contains(&id) {
            first.push(id);
        }
    }
    assert_eq!(
        first,
        wanted.collect::<Vec<_>>(),
        "every webhook, in order, none besides"
    );
    let texts: BTreeMap<&str, &Value> = events
        .iter()
        .map(|event| (event["id"].as_str().unwrap(), &event["captures"]["n"]))
        .collect();
    for seen in receiver.seen() {
        let event = seen.id.strip_suffix("_chat").unwrap();
        assert_eq!(Some(&&seen.n), texts.get(event), "one id, one line");
    }
    let dead = lines(&bed.command(&["deliveries", "list", "--dead", "--json"]));
    assert_eq!(dead, Vec::<Value>::new());
    let attempts = receiver.seen().len();
    println!("{n} webhooks, {attempts} attempts, {} kills", kills());
}

/// A receiver in a process of its own, which can be killed. What it was sent stands in a file.
struct Remote {
    dir: PathBuf,
    child: Child,
}

/// A request that it got, written before it was answered.
#[derive(Debug)]
struct Seen {
    id: String,
    n: Value,
    good: bool,
}

/// Tells the process that it is a receiver, and where its files are.
const REMOTE: &str = "LOGFERRY_TEST_REMOTE";

impl Remote {
    fn start(dir: &Path) -> Self {
        fs::create_dir_all(dir).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "webhooks::remote"])
            .env(REMOTE, dir)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let dir = dir.to_owned();
        Self { dir, child }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// From now on it answers well.
    fn recover(&self) {
        fs::write(self.dir.join("well"), "").unwrap();
    }

    fn port(&self) -> Option<u16> {
        fs::read_to_string(self.dir.join("port")).ok()?.parse().ok()
    }

    fn seen(&self) -> Vec<Seen> {
        let text = fs::read_to_string(self.dir.join("seen")).unwrap_or_default();
        let one = |line: &str| {
            let mut words = line.split(' ');
            Seen {
                id: words.next().unwrap().to_owned(),
                n: words.next().unwrap().into(),
                good: words.next().unwrap() == "true",
            }
        };
        text.lines().map(one).collect()
    }

    fn good_in_order(&self) -> Vec<String> {
        let good = self.seen().into_iter().filter(|seen| seen.good);
        good.map(|seen| seen.id).collect()
    }

    fn good(&self) -> std::collections::BTreeSet<String> {
        self.good_in_order().into_iter().collect()
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process of [`Remote`]; nothing when the tests are run.
#[tokio::test]
async fn remote() {
    let Some(dir) = std::env::var_os(REMOTE).map(PathBuf::from) else {
        return;
    };
    let port = fs::read_to_string(dir.join("port")).ok();
    let port: u16 = port.map_or(0, |port| port.parse().unwrap());
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    fs::write(dir.join("port.new"), port).unwrap();
    fs::rename(dir.join("port.new"), dir.join("port")).unwrap();
    serve(listener, move |fields, text| {
        let manner = match rand::rng().random_range(0..100) {
            _ if dir.join("well").exists() => OK,
            0..70 => OK,
            70..80 => Manner::Status(500),
            80..85 => Manner::Status(503),
            85..98 => Manner::Reset,
            _ => Manner::Hang,
        };
        let body: Value = serde_json::from_str(&text).unwrap();
        let n = body["data"]["event"]["captures"]["n"].as_str().unwrap();
        let line = format!("{} {n} {}\n", fields["webhook-id"], manner == OK);
        let file = fs::File::options()
            .append(true)
            .create(true)
            .open(dir.join("seen"));
        file.unwrap().write_all(line.as_bytes()).unwrap();
        manner
    })
    .await;
}
