//! A directory with a CA, a worker's identity, a log file and a forwarder.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use forwarder::{Config, Limits};
use pki::{Authority, Enrolment, InitOptions};
use service::config::Environment;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long a test waits for what must come.
pub(crate) const SOON: Duration = Duration::from_secs(30);

pub(crate) struct Bed {
    pub(crate) dir: tempfile::TempDir,
}

impl Bed {
    /// Makes the CA and enrols worker `w1`.
    pub(crate) async fn new() -> Self {
        Self::at(SystemTime::now()).await
    }

    /// The same, at another time.
    pub(crate) async fn at(now: SystemTime) -> Self {
        let bed = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        Authority::init(&bed.data(), &InitOptions::default(), now)
            .await
            .unwrap();
        let enrolment = Enrolment {
            name: "w1".parse().unwrap(),
            names: Vec::new(),
            out: bed.identity(),
            replace: false,
        };
        pki::enrol(&bed.data(), enrolment, now).await.unwrap();
        bed
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("master")
    }

    pub(crate) fn identity(&self) -> PathBuf {
        self.dir.path().join("identity")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.dir.path().join("decky.log")
    }

    pub(crate) fn append(&self, bytes: &[u8]) {
        append(&self.log(), bytes);
    }

    pub(crate) fn rotate(&self) {
        for number in (1..20).rev() {
            let from = self.dir.path().join(format!("decky.log.{number}"));
            if from.exists() {
                fs::rename(
                    from,
                    self.dir.path().join(format!("decky.log.{}", number + 1)),
                )
                .unwrap();
            }
        }
        fs::rename(self.log(), self.dir.path().join("decky.log.1")).unwrap();
    }

    /// Keeps a copy of the forwarder's state.
    pub(crate) fn keep_state(&self) {
        let copy = self.dir.path().join("copy");
        fs::create_dir(&copy).unwrap();
        for file in fs::read_dir(self.state()).unwrap() {
            let file = file.unwrap();
            let name = file.file_name();
            assert!(!name.to_string_lossy().ends_with("-wal"), "it is closed");
            if file.file_type().unwrap().is_file() {
                fs::copy(file.path(), copy.join(name)).unwrap();
            }
        }
    }

    /// Puts the copy in the place of the state.
    pub(crate) fn put_state_back(&self) {
        fs::remove_dir_all(self.state()).unwrap();
        fs::rename(self.dir.path().join("copy"), self.state()).unwrap();
    }

    /// Writes a configuration with these masters and more keys.
    pub(crate) fn config_file(&self, masters: &[u16], more: &str) -> PathBuf {
        let masters: Vec<String> = masters
            .iter()
            .map(|port| format!("\"127.0.0.1:{port}\""))
            .collect();
        let text = format!(
            "masters = [{}]\nidentity = {:?}\nstate = {:?}\n{more}\n[[stream]]\nname = \"decky\"\npath = {:?}\n",
            masters.join(", "),
            self.identity(),
            self.state(),
            self.log()
        );
        let path = self.dir.path().join("forwarder.toml");
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn config(&self, masters: &[u16], more: &str) -> Config {
        let path = self.config_file(masters, more);
        Config::load(&path, &Environment::of([])).unwrap().0
    }

    /// Starts a forwarder in this process.
    pub(crate) fn start(&self, masters: &[u16]) -> Running {
        self.start_with(masters, "", limits())
    }

    pub(crate) fn start_with(&self, masters: &[u16], more: &str, limits: Limits) -> Running {
        self.launch(self.config(masters, more), limits)
    }

    pub(crate) fn launch(&self, config: Config, limits: Limits) -> Running {
        fs::create_dir_all(self.state()).unwrap();
        let status = config.status.clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let stop = async {
                let _ = stopped.await;
            };
            // Said here, as whoever waits for what it does would wait in vain.
            forwarder::forward(&config, limits, stop).await.unwrap();
        });
        Running {
            stop: Some(stop),
            task,
            status,
        }
    }

    /// The ledger's facts.
    pub(crate) fn ledger(&self) -> Vec<serde_json::Value> {
        let path = self.state().join("ledger.jsonl");
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// Short waits, so that tests need none.
pub(crate) fn limits() -> Limits {
    Limits {
        backoff: Duration::from_millis(20),
        backoff_most: Duration::from_millis(100),
        verdict: Duration::from_millis(100),
        commit: Duration::from_millis(50),
        ..Limits::default()
    }
}

/// A forwarder in this process.
pub(crate) struct Running {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    status: service::status::Listen,
}

impl Running {
    /// Stops it in order.
    pub(crate) async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.task.await.unwrap();
    }

    /// Waits until it has ended in order by itself.
    pub(crate) async fn ended(self) {
        self.task.await.unwrap();
    }

    /// Its stream's part of the status page.
    pub(crate) async fn stream(&self) -> Option<serde_json::Value> {
        let (_, body) = service::status::query(&self.status, "/status").await.ok()?;
        let page: serde_json::Value = serde_json::from_slice(&body).ok()?;
        Some(page["streams"][0].clone())
    }

    /// Waits until everything written is delivered and stored.
    pub(crate) async fn delivered(&self, size: u64) {
        until(async || {
            self.stream()
                .await
                .is_some_and(|stream| stream["offset"] == size && stream["lag"] == 0)
        })
        .await;
    }

    pub(crate) async fn metrics(&self) -> String {
        let (_, body) = service::status::query(&self.status, "/metrics")
            .await
            .unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }
}

pub(crate) fn append(path: &Path, bytes: &[u8]) {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap()
        .write_all(bytes)
        .unwrap();
}

/// Waits until `done`, at most [`SOON`].
pub(crate) async fn until(mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !done().await {
        assert!(Instant::now() < deadline, "it did not come to pass");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Line number `n`: of varying length, some with bytes that no text has.
pub(crate) fn line(n: u64) -> Vec<u8> {
    let mut line =
        format!("<134>1 2026-06-20T14:03:07.125301+00:00 omega-decky http - request - {n:09} ")
            .into_bytes();
    match n % 7 {
        0 => line.extend_from_slice(b"\r\r\0 \xff\xfe\xc3\r"),
        1 => line.extend(std::iter::repeat_n(b'x', (n % 1500) as usize)),
        _ => line.extend_from_slice("température=20°C ✓ ]\"\\".as_bytes()),
    }
    line
}

/// The lines of these numbers, each with its LF.
pub(crate) fn lines(numbers: std::ops::Range<u64>) -> Vec<u8> {
    numbers
        .flat_map(|n| {
            let mut line = line(n);
            line.push(b'\n');
            line
        })
        .collect()
}
