//! A directory with a configuration, rules, an archive, and the program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use archive::{Archive, EpochId, Form, Handle, Options, Origin, StreamKey};
use serde_json::Value;
use service::status::Listen;

/// How long a test waits for what must come.
pub(crate) const SOON: Duration = Duration::from_secs(60);

pub(crate) struct Bed {
    dir: tempfile::TempDir,
}

impl Bed {
    /// Over an archive, from its beginning.
    pub(crate) fn archive() -> Self {
        let bed = Self::empty();
        archive::init(&bed.data()).unwrap();
        bed.configure("archive", "start = \"beginning\"");
        bed
    }

    /// Over a log file, from its beginning.
    pub(crate) fn file() -> Self {
        let bed = Self::empty();
        bed.configure("decky.log", "start = \"beginning\"\nworker = \"w1\"");
        bed
    }

    fn empty() -> Self {
        let bed = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir_all(bed.data()).unwrap();
        fs::create_dir_all(bed.path("rules.d")).unwrap();
        bed
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("scanner.toml")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.data().join("decky.log")
    }

    /// Writes the configuration; `input` is in the data directory.
    pub(crate) fn configure(&self, input: &str, more: &str) {
        let text = format!(
            "input = {:?}\nstate = {:?}\nrules = {:?}\ntriggers = {:?}\n{more}\n",
            self.data().join(input),
            self.path("state"),
            self.path("rules.d"),
            self.path("triggers.d"),
        );
        fs::write(self.config(), text).unwrap();
    }

    /// Puts a rule file in place, whole.
    pub(crate) fn rules(&self, name: &str, text: &str) {
        let new = self.path("rule.new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path("rules.d").join(name)).unwrap();
    }

    /// Puts a trigger file in place, whole.
    pub(crate) fn triggers(&self, name: &str, text: &str) {
        let new = self.path("trigger.new");
        fs::create_dir_all(self.path("triggers.d")).unwrap();
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path("triggers.d").join(name)).unwrap();
    }

    /// A rule for every line with `hit N`.
    pub(crate) fn rule_for_hits(&self) {
        self.rules("hits.toml", HITS);
    }

    pub(crate) fn start(&self) -> Program {
        self.start_with(&[])
    }

    /// With more in its environment.
    pub(crate) fn start_with(&self, env: &[(&str, &str)]) -> Program {
        let stderr = fs::File::options()
            .append(true)
            .create(true)
            .open(self.path("stderr"));
        let child = Command::new(env!("CARGO_BIN_EXE_logferry-scanner"))
            .args(["run", "--config"])
            .arg(self.config())
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr.unwrap())
            .spawn()
            .unwrap();
        Program(child)
    }

    /// A command, with `--config` behind it.
    pub(crate) fn command(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_logferry-scanner"))
            .args(args)
            .arg("--config")
            .arg(self.config())
            .output()
            .unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.path("stderr")).unwrap_or_default()
    }

    /// A page of the running program.
    pub(crate) async fn page(&self, page: &str) -> Option<(u16, Value)> {
        let listen = Listen::Unix(self.path("state/status.sock"));
        let (code, body) = service::status::query(&listen, page).await.ok()?;
        Some((code, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let listen = Listen::Unix(self.path("state/status.sock"));
        let Ok((_, body)) = service::status::query(&listen, "/metrics").await else {
            return 0.0;
        };
        let text = String::from_utf8_lossy(&body).into_owned();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// All events, by the command.
    pub(crate) fn events(&self) -> Vec<Value> {
        let output = self.command(&["events", "--json"]);
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Adds the events behind the last one of `all`, by the page; each with its number.
    pub(crate) async fn newer(&self, all: &mut Vec<(i64, Value)>) {
        loop {
            let after = all.last().map_or(0, |(seq, _)| *seq);
            let page = self
                .page(&format!("/events?after={after}&limit=1000"))
                .await;
            let page = page
                .and_then(|(_, page)| page.as_array().cloned())
                .unwrap_or_default();
            let pair = |event: &Value| (event["seq"].as_i64().unwrap(), event["event"].clone());
            all.extend(page.iter().map(pair));
            if page.len() < 1000 {
                return;
            }
        }
    }

    /// Waits until there are so many events, and gives them.
    pub(crate) async fn has(&self, events: usize) -> Vec<Value> {
        let mut found = Vec::new();
        until("events", async || {
            found = self.events();
            found.len() >= events
        })
        .await;
        found
    }
}

/// Every line with `hit N` is an event, however many there are.
pub(crate) const HITS: &str =
    "[[rule]]\nname = \"hit\"\npattern = 'hit (?P<n>\\d+)'\ncooldown = \"0s\"\n";

/// No limit that a test reaches.
pub(crate) const NO_RATE: &str = "start = \"beginning\"\n[rate]\nburst = 100000\nrefill = \"1us\"";

/// The numbers of hits, in order.
pub(crate) fn numbers(events: &[Value]) -> Vec<u64> {
    let number = |event: &Value| event["captures"]["n"].as_str()?.parse().ok();
    events.iter().filter_map(number).collect()
}

pub(crate) struct Program(Child);

impl Program {
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Asks it to stop, and gives whether that went well.
    pub(crate) fn stop(mut self) -> bool {
        let pid = self.0.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        self.0.wait().unwrap().success()
    }

    /// Resident memory in octets.
    pub(crate) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib * 1024
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Polls until it is so.
pub(crate) async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !so().await {
        assert!(Instant::now() < deadline, "no {what} within {SOON:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An archive that a test writes.
pub(crate) struct Master {
    pub(crate) archive: Archive,
}

impl Master {
    pub(crate) async fn open(bed: &Bed) -> Self {
        Self::with(bed, Options::default()).await
    }

    pub(crate) async fn with(bed: &Bed, options: Options) -> Self {
        let archive = Archive::open(&bed.data(), options).await.unwrap();
        Self { archive }
    }

    /// A new epoch of a stream.
    pub(crate) async fn epoch(&mut self, worker: &str, stream: &str) -> (EpochId, Handle) {
        let key = StreamKey::new(worker, stream).unwrap();
        let id = EpochId::random();
        let handle = self
            .archive
            .open_epoch(&key, id, Form::Log, 0, Origin::default())
            .await;
        (id, handle.unwrap())
    }

    /// Commits a text.
    pub(crate) async fn write(&mut self, handle: Handle, text: &str) {
        self.archive.append(handle, text.as_bytes()).unwrap();
        self.archive.commit().await.unwrap();
    }
}

pub(crate) fn append(path: &Path, text: &str) {
    use std::io::Write as _;
    let mut file = fs::File::options()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
