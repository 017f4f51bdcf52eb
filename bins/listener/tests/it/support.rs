//! A master in a temporary directory, run as an operator would, and clients with the identities it made.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use delivery::EpochId;
use pki::{Identity, MasterCheck};
use serde_json::Value;
use service::status::Listen;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const BINARY: &str = env!("CARGO_BIN_EXE_logferry-listener");

/// The longest that anything is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Master {
    dir: TempDir,
    child: Option<Child>,
    pub(crate) addr: String,
}

impl Master {
    /// A data directory with a CA, and a configuration with both merged outputs.
    pub(crate) fn init() -> Master {
        Master::with("")
    }

    /// The same, with more configuration; keys of tables come last.
    pub(crate) fn with(more: &str) -> Master {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display();
        let top = "listen = \"127.0.0.1:0\"\n";
        let files = format!(
            "data = \"{path}/data\"\n[merged]\nlog = \"{path}/m/all.log\"\njson = \"{path}/m/all.json\"\n"
        );
        let (keys, tables) = more.split_at(more.find('[').unwrap_or(more.len()));
        fs::write(
            dir.path().join("listener.toml"),
            format!("{top}{keys}{files}{tables}"),
        )
        .unwrap();
        let master = Master {
            dir,
            child: None,
            addr: String::new(),
        };
        master.command(&["init", "--data", &master.data().to_string_lossy()]);
        master
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Runs a command that must succeed.
    pub(crate) fn command(&self, args: &[&str]) -> Output {
        let output = Command::new(BINARY).args(args).output().unwrap();
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }

    /// `run`, not waited for; what it says goes to `log`.
    pub(crate) fn spawn(&self) -> Child {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .unwrap();
        Command::new(BINARY)
            .args(["run", "--config"])
            .arg(self.path("listener.toml"))
            .env("RUST_LOG", "info")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    pub(crate) async fn start(&mut self) {
        self.child = Some(self.spawn());
        self.addr = until("the listener answers", async || {
            let exited = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(exited.is_none(), "listener ended: {}", self.log());
            Some(self.status().await?["listen"].as_str()?.to_owned())
        })
        .await;
    }

    pub(crate) async fn started() -> Master {
        let mut master = Master::init();
        master.start().await;
        master
    }

    /// What `/status` says, if anybody answers.
    pub(crate) async fn status(&self) -> Option<Value> {
        let page = self.page("/status").await?;
        serde_json::from_slice(&page).ok()
    }

    pub(crate) async fn page(&self, page: &str) -> Option<Vec<u8>> {
        let (_, body) =
            service::status::query(&Listen::Unix(self.data().join("status.sock")), page)
                .await
                .ok()?;
        Some(body.to_vec())
    }

    /// The value of a metric with its labels as they are exposed; 0 when it is not there yet.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let text = String::from_utf8(self.page("/metrics").await.unwrap()).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("logferry_listener_")?.strip_prefix(name));
        line.and_then(|value| value.trim().parse().ok())
            .unwrap_or(0)
    }

    /// Waits until a metric has this value.
    pub(crate) async fn shows(&self, name: &str, value: u64) {
        until(name, async || {
            (self.metric(name).await == value).then_some(())
        })
        .await;
    }

    /// What the process wrote to stderr, colours taken out.
    pub(crate) fn log(&self) -> String {
        let text = fs::read_to_string(self.path("log")).unwrap_or_default();
        let mut plain = String::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once('\x1b') {
            plain.push_str(before);
            rest = after.split_once('m').map_or("", |(_, after)| after);
        }
        plain + rest
    }

    pub(crate) fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(self.child.as_ref().unwrap())
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, and an orderly end.
    pub(crate) fn stop(&mut self) {
        self.signal(rustix::process::Signal::TERM);
        self.ended();
    }

    /// An orderly end, of which it was told.
    pub(crate) fn ended(&mut self) {
        let status = self.child.take().unwrap().wait().unwrap();
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// Enrols a worker and loads what was written for it.
    pub(crate) fn enroll(&self, name: &str) -> Identity {
        let out = self.path(&format!("id-{name}"));
        let (data, out) = (self.data(), out.to_string_lossy().into_owned());
        self.command(&[
            "enroll",
            name,
            "--data",
            &data.to_string_lossy(),
            "--out",
            &out,
        ]);
        Identity::load(Path::new(&out)).unwrap()
    }

    pub(crate) async fn connect(&self, identity: &Identity) -> Client {
        self.try_connect(identity).await.unwrap()
    }

    pub(crate) async fn try_connect(&self, identity: &Identity) -> std::io::Result<Client> {
        self.offer(identity, &[]).await
    }

    /// Connects, offering these protocols.
    pub(crate) async fn offer(
        &self,
        identity: &Identity,
        alpn: &[&[u8]],
    ) -> std::io::Result<Client> {
        let config = pki::client_config(
            identity,
            MasterCheck::Names(vec!["logferry-master".to_owned()]),
            alpn,
        )
        .unwrap();
        let tcp = TcpStream::connect(&self.addr).await?;
        tcp.set_nodelay(true)?;
        let name = rustls_pki_types::ServerName::try_from("logferry-master").unwrap();
        Ok(Client(TlsConnector::from(config).connect(name, tcp).await?))
    }

    /// Octets of a worker's plain stream in the archive.
    pub(crate) fn archived(&self, worker: &str) -> Vec<u8> {
        let stream = self.data().join(format!("archive/{worker}/syslog"));
        let epochs = fs::read_dir(stream).into_iter().flatten().flatten();
        epochs
            .flat_map(|epoch| segments(&epoch.path()))
            .flat_map(|path| fs::read(path).unwrap())
            .collect()
    }

    /// Octets of an epoch in the archive, whatever is between its segments left out.
    pub(crate) fn stream(&self, worker: &str, stream: &str, epoch: EpochId) -> Vec<u8> {
        let dir = self
            .data()
            .join(format!("archive/{worker}/{stream}/{epoch}"));
        let files = segments(&dir).into_iter();
        files.flat_map(|path| fs::read(path).unwrap()).collect()
    }

    /// The facts of a stream's ledger.
    pub(crate) fn ledger(&self, worker: &str, stream: &str) -> Vec<Value> {
        let path = format!("archive/{worker}/{stream}/ledger.jsonl");
        let text = fs::read_to_string(self.data().join(path)).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    pub(crate) fn merged_log(&self) -> Vec<u8> {
        fs::read(self.path("m/all.log")).unwrap_or_default()
    }

    pub(crate) fn merged_json(&self) -> Vec<Value> {
        let text = fs::read(self.path("m/all.json")).unwrap_or_default();
        let lines = text
            .split_inclusive(|&b| b == b'\n')
            .filter(|line| line.ends_with(b"\n"));
        lines
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    /// Waits until the merged `.json` has so many records, and gives them all.
    pub(crate) async fn records(&self, count: usize) -> Vec<Value> {
        until("the records are merged", async || {
            let records = self.merged_json();
            (records.len() >= count).then_some(records)
        })
        .await
    }

    /// Waits until the merged `.log` has so many lines.
    pub(crate) async fn merged(&self, lines: usize) {
        until("the lines are merged", async || {
            (count(&self.merged_log()) >= lines).then_some(())
        })
        .await;
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The segments of an epoch, in order.
pub(crate) fn segments(epoch: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(epoch)
        .into_iter()
        .flatten()
        .flatten()
        .map(|file| file.path())
        .collect();
    files.sort();
    files
}

pub(crate) fn count(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&b| b == b'\n').count()
}

pub(crate) struct Client(pub(crate) TlsStream<TcpStream>);

impl Client {
    pub(crate) async fn send(&mut self, octets: &[u8]) {
        self.0.write_all(octets).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// Sends close_notify and waits for the answer: an orderly end, or what came instead.
    pub(crate) async fn close(mut self) -> std::io::Result<()> {
        self.0.shutdown().await?;
        self.end().await
    }

    /// Waits for the listener to close.
    pub(crate) async fn end(&mut self) -> std::io::Result<()> {
        let mut rest = Vec::new();
        tokio::time::timeout(PATIENCE, self.0.read_to_end(&mut rest))
            .await
            .unwrap()?;
        assert_eq!(rest, b"", "a plain receiver says nothing");
        Ok(())
    }
}

/// Polls until there is an answer.
pub(crate) async fn until<T>(what: &str, mut poll: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = poll().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "gave up waiting: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A message of DECNET's services with a number in it.
pub(crate) fn message(n: usize) -> String {
    format!(
        "<134>1 2026-06-20T14:03:07.125301+00:00 omega-decky http - request \
         [relay@55555 n=\"{n}\" remote_addr=\"198.51.100.7\" path=\"/wp-login.php\"] {}",
        "x".repeat(n % 50)
    )
}

/// Frames of messages `from` up to `to`.
pub(crate) fn frames(from: usize, to: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for n in from..to {
        framing::encode(message(n).as_bytes(), &mut out);
    }
    out
}

/// Lines of messages `from` up to `to`.
pub(crate) fn lines(from: usize, to: usize) -> Vec<u8> {
    (from..to)
        .flat_map(|n| (message(n) + "\n").into_bytes())
        .collect()
}
