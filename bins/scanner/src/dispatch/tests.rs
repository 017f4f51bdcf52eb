//! The dispatcher over real events, a real queue and real receivers.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;
use tokio::sync::oneshot;
use webhook::Policy;

use super::queue::Listed;
use super::*;
use crate::store::{Batch, NewEvent, Store};

#[path = "../../tests/it/receiver.rs"]
mod receiver;

mod health;
mod order;
mod privacy;

use receiver::{Manner, Receiver};

const OK: Manner = Manner::Status(200);

/// A state directory with events, and one of triggers.
struct Bed {
    dir: TempDir,
    store: Store,
    written: usize,
    config: Config,
}

impl Bed {
    async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        std::fs::create_dir(dir.path().join("triggers.d")).unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        let config = Config {
            policy: Policy {
                allow_cidrs: vec!["127.0.0.1/32".parse().unwrap()],
                ..Policy::default()
            },
            ca_file: None,
            schedule: Schedule::new(vec![Duration::from_millis(20); 9]),
        };
        Self {
            dir,
            store,
            written: 0,
            config,
        }
    }

    fn triggers(&self) -> PathBuf {
        self.dir.path().join("triggers.d")
    }

    /// Writes a trigger file, as editors do: whole.
    fn trigger(&self, name: &str, url: &str, more: &str) {
        let text = format!("[[trigger]]\nname = \"{name}\"\nurl = \"{url}\"\n{more}\n");
        let new = self.dir.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.triggers().join(format!("{name}.toml"))).unwrap();
    }

    /// Commits events with messages `m1`, `m2`, …, going on where the last call ended.
    async fn events(&mut self, count: usize) {
        let mut batch = Batch::default();
        for _ in 0..count {
            self.written += 1;
            batch.events.push(event(self.written));
        }
        self.store.commit(&batch).await.unwrap();
    }

    async fn start(&self) -> Running {
        let mut telemetry = Telemetry::new("scanner", "0.0.0");
        let dispatcher = Dispatcher::open(
            self.dir.path(),
            &self.config,
            &self.triggers(),
            &mut telemetry,
        )
        .await
        .unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let wake = Arc::new(Notify::new());
        let (shown, needed) = (dispatcher.status(), dispatcher.needed());
        let mut task = JoinSet::new();
        let notify = Arc::clone(&wake);
        task.spawn(async move {
            let stopped = async { drop(stopped.await) };
            dispatcher.run(notify, stopped).await;
        });
        Running {
            wake,
            stop,
            task,
            shown,
            needed,
            telemetry,
        }
    }

    async fn listed(&self) -> Vec<Listed> {
        let mut queue = Queue::peek(self.dir.path()).await.unwrap().unwrap();
        queue.list(false, 0, 10_000).await.unwrap()
    }

    async fn event_count(&self) -> usize {
        let mut events = EventReader::open(self.dir.path()).await.unwrap();
        events.after(0, 10_000).await.unwrap().len()
    }
}

fn event(number: usize) -> NewEvent {
    let message = format!("m{number}");
    let id = format!("01EVENT{number}");
    let body = json!({
        "id": id, "ts": "2026-11-21T10:00:00Z", "severity": "warn", "source": "logscanner",
        "message": message, "workload_id": "w1/gate", "rule_name": "r",
    });
    NewEvent {
        id,
        at_ms: now_ms(),
        ts: "2026-11-21T10:00:00Z".to_owned(),
        severity: "warn",
        rule: "r".to_owned(),
        workload: "w1/gate".to_owned(),
        message,
        body: body.to_string(),
    }
}

struct Running {
    wake: Arc<Notify>,
    stop: oneshot::Sender<()>,
    task: JoinSet<()>,
    shown: Shown,
    needed: Arc<AtomicI64>,
    telemetry: Telemetry,
}

impl Running {
    async fn stop(mut self) {
        self.stop.send(()).unwrap();
        self.task.join_next().await.unwrap().unwrap();
    }

    /// As a crash would: nothing is finished.
    async fn kill(mut self) {
        self.task.shutdown().await;
    }

    /// What is shown of a trigger.
    fn trigger(&self, name: &str) -> serde_json::Value {
        let shown = self.shown.value();
        let triggers = shown["triggers"].as_array().cloned().unwrap_or_default();
        let found = triggers.into_iter().find(|one| one["name"] == name);
        found.unwrap_or_default()
    }
}

impl Running {
    /// Whether a trigger is shown, and not as disabled.
    fn enabled(&self, name: &str) -> bool {
        let shown = self.trigger(name);
        shown["name"] == name && shown["disabled"].is_null()
    }
}

/// Waits until `holds`, or fails with what `tell` says.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn messages(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers
        .into_iter()
        .map(|number| format!("m{number}"))
        .collect()
}

async fn delivered(receiver: &Receiver, numbers: impl IntoIterator<Item = usize>) {
    let wanted = messages(numbers);
    let what = format!("{wanted:?} should have arrived");
    until(&what, async || receiver.delivered().len() >= wanted.len()).await;
    assert_eq!(receiver.delivered(), wanted);
}
