//! A directory with a configuration, a proxy, and clients.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use audit_codec::{Http, Log, Message, Request, Status, Tag, Time, encode_frame};
use audit_proxy::{Config, Socket};
use serde_json::Value;
use service::Failure;
use service::config::Environment;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long a test waits for what must come.
pub(crate) const SOON: Duration = Duration::from_secs(30);

pub(crate) const SESSION: &str = "5f0c2f8e-6d3b-4b7e-9a51-0d2c8f4e7a10";

pub(crate) struct Bed {
    pub(crate) dir: tempfile::TempDir,
}

impl Bed {
    pub(crate) fn new() -> Self {
        let bed = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        bed.configure("");
        bed
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("audit.sock")
    }

    /// Writes the configuration, with more keys.
    pub(crate) fn configure(&self, more: &str) -> PathBuf {
        let text = format!(
            "socket = {:?}\nlog = {:?}\nstate = {:?}\n{more}\n",
            self.socket(),
            self.path("log/audit.log"),
            self.path("state"),
        );
        let path = self.path("audit-proxy.toml");
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn config(&self) -> Config {
        let path = self.path("audit-proxy.toml");
        Config::load(&path, &Environment::of([])).unwrap().0
    }

    /// Starts a proxy in this process.
    pub(crate) fn start(&self) -> Proxy {
        let config = self.config();
        let socket = Socket::bind(&config).unwrap();
        let (stop, stopped) = oneshot::channel();
        let lock = service::lock(&config.state).unwrap();
        let task = tokio::spawn(async move {
            let _lock = lock;
            let stop = async {
                let _ = stopped.await;
            };
            audit_proxy::proxy(&config, socket, stop).await
        });
        Proxy { stop, task }
    }

    /// Starts the program.
    pub(crate) fn program(&self) -> Program {
        let child = Command::new(env!("CARGO_BIN_EXE_logferry-audit-proxy"))
            .args(["run", "--config"])
            .arg(self.path("audit-proxy.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(
                fs::File::options()
                    .append(true)
                    .create(true)
                    .open(self.path("stderr"))
                    .unwrap(),
            )
            .spawn()
            .unwrap();
        Program(child)
    }

    pub(crate) fn connect(&self) -> UnixStream {
        let deadline = Instant::now() + SOON;
        loop {
            match UnixStream::connect(self.socket()) {
                Ok(stream) => return stream,
                Err(error) => assert!(Instant::now() < deadline, "nobody serves: {error}"),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Octets in the log.
    pub(crate) fn size(&self) -> u64 {
        fs::metadata(self.path("log/audit.log")).map_or(0, |found| found.len())
    }

    /// Whole lines of the log.
    pub(crate) fn lines(&self) -> Vec<String> {
        whole(&self.path("log/audit.log"))
    }

    pub(crate) fn records(&self) -> Vec<Value> {
        let lines = whole(&self.path("log/audit.json"));
        lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        let url = |record: &Value| record["http_url"].as_str().unwrap_or("-").to_owned();
        self.records().iter().map(url).collect()
    }

    pub(crate) async fn has(&self, records: usize) {
        until(async || self.records().len() >= records).await;
    }

    pub(crate) fn ledger(&self) -> Vec<Value> {
        let lines = whole(&self.path("state/ledger.jsonl"));
        lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The value of a metric, 0 if there is none.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let deadline = Instant::now() + SOON;
        let body = loop {
            match service::status::query(&self.config().status, "/metrics").await {
                Ok((_, body)) => break body,
                // It has only begun.
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let text = String::from_utf8(body.to_vec()).unwrap();
        let value = |line: &str| {
            line.strip_prefix(name)?
                .strip_prefix(' ')
                .map(str::to_owned)
        };
        text.lines()
            .find_map(value)
            .map_or(0, |value| value.parse().unwrap())
    }

    pub(crate) async fn ours(&self, name: &str) -> u64 {
        self.metric(&format!("logferry_audit_proxy_{name}")).await
    }

    pub(crate) async fn original(&self, name: &str) -> u64 {
        self.metric(&format!("agent_boundary_log_proxy_{name}"))
            .await
    }
}

fn whole(path: &std::path::Path) -> Vec<String> {
    let text = String::from_utf8(fs::read(path).unwrap_or_default()).unwrap();
    let whole = |line: &str| line.strip_suffix('\n').map(str::to_owned);
    text.split_inclusive('\n').filter_map(whole).collect()
}

pub(crate) struct Proxy {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), Failure>>,
}

impl Proxy {
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        let _ = self.stop.send(());
        self.task.await.unwrap()
    }
}

pub(crate) struct Program(pub(crate) Child);

impl Program {
    /// SIGTERM, and the exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.0.wait().unwrap().code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition().await {
        assert!(Instant::now() < deadline, "it does not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A frame as a client of today sends it, with records numbered `numbers`, each with its number as path.
pub(crate) fn frame(session: &str, numbers: std::ops::Range<i32>) -> Vec<u8> {
    let urls: Vec<String> = numbers.clone().map(|n| format!("/{n}")).collect();
    let log = |(sequence, url)| Log {
        allowed: true,
        time: Some(Time {
            seconds: 1_767_225_600,
            nanos: sequence,
        }),
        http: Some(Http {
            method: "GET",
            url,
            matched_rule: "domain=example.com",
        }),
        sequence,
    };
    let request = Request {
        logs: numbers
            .zip(urls.iter().map(String::as_str))
            .map(log)
            .collect(),
        session_id: session,
        process: "",
    };
    message(Tag::Envelope, &Message::Logs(request))
}

pub(crate) fn status(channel_full: i64, batch_full: i64) -> Vec<u8> {
    let status = Status {
        channel_full,
        batch_full,
    };
    message(Tag::Envelope, &Message::Status(status))
}

pub(crate) fn message(tag: Tag, message: &Message<'_>) -> Vec<u8> {
    let mut wire = Vec::new();
    encode_frame(tag, &message.encode(tag), &mut wire).unwrap();
    wire
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(digit).collect()
}

/// Whether the proxy closed the connection: end of file or a reset, and no octet.
pub(crate) fn is_closed(stream: &mut UnixStream) -> bool {
    stream.set_read_timeout(Some(SOON)).unwrap();
    match stream.read(&mut [0; 16]) {
        Ok(read) => {
            assert_eq!(read, 0, "the proxy never answers");
            true
        }
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

/// Writes as the Go client does: header, then payload.
pub(crate) fn write_in_two(stream: &mut UnixStream, frame: &[u8]) -> std::io::Result<()> {
    stream.write_all(&frame[..4])?;
    stream.write_all(&frame[4..])
}
