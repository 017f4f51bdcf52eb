//! A host of its own for each test: directories, a configuration, made-up containers, the program.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::daemon::{Container, Daemon};

/// Longest wait for anything; only reached when a test fails.
const PATIENCE: Duration = Duration::from_secs(30);
const PROGRAM: &str = env!("CARGO_BIN_EXE_logferry-collector");

/// The host.
pub(crate) struct Host {
    // Dropped before its socket's directory.
    pub(crate) daemon: Option<Daemon>,
    directory: tempfile::TempDir,
}

/// A running collector; killed when dropped.
pub(crate) struct Collector {
    child: Child,
}

impl Host {
    /// A host with a stub daemon.
    pub(crate) fn new(settings: &str) -> Host {
        let mut host = Host::bare("");
        let socket = host.path("docker.sock");
        host.configure(&format!(
            "docker = \"unix://{}\"\n{settings}",
            socket.display()
        ));
        host.daemon = Some(Daemon::start(&socket));
        host
    }

    /// A host without a daemon of its own.
    pub(crate) fn bare(settings: &str) -> Host {
        let host = Host {
            daemon: None,
            directory: tempfile::tempdir().unwrap(),
        };
        host.configure(settings);
        host
    }

    pub(crate) fn configure(&self, settings: &str) {
        let (log, state) = (self.log(), self.path("state"));
        let text = format!("log = {log:?}\nstate = {state:?}\n{settings}\n");
        fs::write(self.path("collector.toml"), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path("out/decky.log")
    }

    pub(crate) fn json(&self) -> PathBuf {
        self.path("out/decky.json")
    }

    pub(crate) fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap()
    }

    /// Makes a container with an empty log, not yet told of to the daemon.
    pub(crate) fn container(&self, name: &str) -> Container {
        let digest = name.bytes().fold(7u64, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(byte.into())
        });
        let id = format!("{digest:016x}").repeat(4);
        let directory = self.path("containers").join(&id);
        fs::create_dir_all(&directory).unwrap();
        let log_path = directory.join(format!("{id}-json.log"));
        File::create(&log_path).unwrap();
        Container {
            id,
            name: name.to_owned(),
            labels: BTreeMap::from([("logferry.collect".to_owned(), "true".to_owned())]),
            driver: "json-file".to_owned(),
            log_path,
            running: true,
            started: 1,
        }
    }

    /// Makes a running container.
    pub(crate) fn run_container(&self, name: &str) -> Container {
        let container = self.container(name);
        self.daemon().add(container.clone());
        container
    }

    /// Starts the program, outside of what DECNET's environment may say.
    pub(crate) fn start(&self) -> Collector {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("stderr"))
            .unwrap();
        let mut command = self.command(&["run"]);
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Collector { child }
    }

    /// A command of the program with this host's configuration.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(arguments)
            .arg("--config")
            .arg(self.path("collector.toml"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("DECNET_") || name == "DOCKER_HOST" {
                command.env_remove(name);
            }
        }
        command
    }

    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The status page; null while there is none.
    pub(crate) fn page(&self) -> Value {
        let output = self.output(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// The containers of the status page, by name.
    pub(crate) fn status(&self) -> BTreeMap<String, Value> {
        let status = self.page();
        let containers = status["containers"].as_array().cloned().unwrap_or_default();
        let named = |c: Value| (c["name"].as_str().unwrap_or_default().to_owned(), c);
        containers.into_iter().map(named).collect()
    }

    /// The lines of `.log`.
    pub(crate) fn lines(&self) -> Vec<Vec<u8>> {
        lines(&self.log())
    }

    /// The records of `.json`.
    pub(crate) fn records(&self) -> Vec<Value> {
        lines(&self.json())
            .iter()
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    /// Waits until `condition` holds; shows what the program said otherwise.
    pub(crate) fn until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let began = Instant::now();
        while !condition() {
            if began.elapsed() > PATIENCE {
                let said = fs::read_to_string(self.path("stderr")).unwrap_or_default();
                let log = lines(&self.log()).len();
                panic!("never: {what}; {log} lines in the log; the program said:\n{said}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until `.log` has this many lines.
    pub(crate) fn until_lines(&self, count: usize) {
        self.until(&format!("{count} lines in the log"), || {
            self.lines().len() >= count
        });
        assert_eq!(self.lines().len(), count);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("KEEP").is_some() {
            self.directory.disable_cleanup(true);
            let at = self.directory.path().display();
            let _ = writeln!(std::io::stderr(), "kept {at}");
        }
    }
}

impl Collector {
    /// A collector that was started otherwise.
    pub(crate) fn of(child: Child) -> Collector {
        Collector { child }
    }

    /// Waits for its end, and gives the exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// kill -9.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and the exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.child.wait().unwrap().code()
    }

    /// SIGTERM to a program that sleeps: it finds it when it wakes.
    pub(crate) fn stop_asleep(mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
        self.child.wait().unwrap().code()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Container {
    /// Appends a line as the json-file driver stores it. `n` gives its stamp.
    pub(crate) fn print(&self, n: u64, text: &str) {
        append(&self.log_path, entry(n, text, "stdout").as_bytes());
    }

    /// Rotates the log as the driver does with `max-file = 100`.
    pub(crate) fn rotate(&self) {
        let numbered = |n| PathBuf::from(format!("{}.{n}", self.log_path.display()));
        for n in (1..99).rev().filter(|n| numbered(*n).exists()) {
            fs::rename(numbered(n), numbered(n + 1)).unwrap();
        }
        fs::rename(&self.log_path, numbered(1)).unwrap();
        File::create(&self.log_path).unwrap();
    }
}

/// One entry of a json-file log.
pub(crate) fn entry(n: u64, text: &str, stream: &str) -> String {
    let (minutes, seconds, nanos) = (
        n / 60_000_000_000 % 60,
        n / 1_000_000_000 % 60,
        n % 1_000_000_000,
    );
    let hours = n / 3_600_000_000_000 % 24;
    let log = Value::String(format!("{text}\n"));
    format!(
        "{{\"log\":{log},\"stream\":\"{stream}\",\"time\":\"2026-06-20T{hours:02}:{minutes:02}:{seconds:02}.{nanos:09}Z\"}}\n"
    )
}

pub(crate) fn append(path: &Path, bytes: &[u8]) {
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap()
        .write_all(bytes)
        .unwrap();
}

/// Whole lines of a file, without LF; none when it does not exist.
pub(crate) fn lines(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).unwrap_or_default();
    let end = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    bytes[..end]
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| line[..line.len() - 1].to_vec())
        .collect()
}
