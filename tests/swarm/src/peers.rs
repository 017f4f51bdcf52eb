//! Other people's programs as the other end: rsyslog with both of its TLS drivers, and DECNET's Python.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::child::Child;

/// TLS driver of rsyslog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// `rsyslog-openssl`.
    OpenSsl,
    /// `rsyslog-gnutls`.
    GnuTls,
}

impl Driver {
    fn name(self) -> &'static str {
        match self {
            Driver::OpenSsl => "ossl",
            Driver::GnuTls => "gtls",
        }
    }
}

/// rsyslog, if it is installed with both drivers.
#[derive(Debug)]
pub struct Rsyslog {
    program: PathBuf,
}

impl Rsyslog {
    /// Looks for rsyslog and its TLS drivers.
    ///
    /// # Errors
    /// What is missing.
    pub fn find() -> Result<Rsyslog, String> {
        let program = ["/usr/sbin/rsyslogd", "/sbin/rsyslogd"]
            .iter()
            .map(PathBuf::from)
            .find(|p| p.exists());
        let program = program.ok_or("rsyslogd is not installed")?;
        for driver in ["lmnsd_ossl.so", "lmnsd_gtls.so"] {
            let found = [
                "/usr/lib/x86_64-linux-gnu",
                "/usr/lib/aarch64-linux-gnu",
                "/usr/lib64",
                "/usr/lib",
            ]
            .iter()
            .any(|dir| Path::new(dir).join("rsyslog").join(driver).exists());
            if !found {
                return Err(format!("rsyslog's {driver} is not installed"));
            }
        }
        Ok(Rsyslog { program })
    }

    /// Follows `input` and sends it to 127.0.0.1:`port`, with the identity in `identity`.
    ///
    /// # Errors
    /// It can't be started.
    pub fn send(
        &self,
        dir: &Path,
        driver: Driver,
        identity: &Path,
        input: &Path,
        port: u16,
    ) -> anyhow::Result<Child> {
        let template = include_str!("../peers/rsyslog-send.conf")
            .replace("@IN@", &input.display().to_string());
        self.start(dir, template, driver, identity, "logferry-master", port)
    }

    /// Receives on 127.0.0.1:`port` from the worker `peer` and appends to `output`.
    ///
    /// # Errors
    /// It can't be started.
    pub fn receive(
        &self,
        dir: &Path,
        driver: Driver,
        identity: &Path,
        peer: &str,
        output: &Path,
        port: u16,
    ) -> anyhow::Result<Child> {
        let template = include_str!("../peers/rsyslog-receive.conf")
            .replace("@OUT@", &output.display().to_string());
        self.start(dir, template, driver, identity, peer, port)
    }

    fn start(
        &self,
        dir: &Path,
        template: String,
        driver: Driver,
        identity: &Path,
        peer: &str,
        port: u16,
    ) -> anyhow::Result<Child> {
        std::fs::create_dir_all(dir)?;
        let text = template
            .replace("@DIR@", &dir.display().to_string())
            .replace("@DRIVER@", driver.name())
            .replace("@IDENTITY@", &identity.display().to_string())
            .replace("@PEER@", peer)
            .replace("@PORT@", &port.to_string());
        let config = dir.join("rsyslog.conf");
        std::fs::write(&config, text)?;
        let args = [
            "-n".to_owned(),
            "-f".to_owned(),
            config.display().to_string(),
            "-i".to_owned(),
            dir.join("rsyslog.pid").display().to_string(),
        ];
        Child::start(&self.program, args, &[], &dir.join("rsyslog.messages"))
    }
}

/// What DECNET's ingester made of a record.
pub type Row = [Option<String>; 8];

/// DECNET's Python, in a virtual environment.
#[derive(Debug)]
pub struct Decnet {
    python: PathBuf,
}

impl Decnet {
    /// Takes the interpreter that `LOGFERRY_DECNET_PYTHON` names, else that of `target/decnet`.
    ///
    /// # Errors
    /// What is missing.
    pub fn find() -> Result<Decnet, String> {
        let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/decnet/bin/python");
        let python = std::env::var_os("LOGFERRY_DECNET_PYTHON").map_or(default, PathBuf::from);
        let probe = Command::new(&python)
            .args(["-c", "import decnet.swarm.log_listener"])
            .output();
        match probe {
            Ok(output) if output.status.success() => Ok(Decnet { python }),
            _ => Err(format!("{} has no decnet package", python.display())),
        }
    }

    /// The same, if its ingester can run: it needs the libraries of DECNET's own lock file.
    ///
    /// # Errors
    /// What is missing.
    pub fn find_ingester() -> Result<Decnet, String> {
        let decnet = Decnet::find()?;
        // Newer releases of sqlmodel refuse the times that DECNET's own pipeline writes.
        let script = "import greenlet, sqlmodel; assert sqlmodel.__version__ <= '0.0.38'";
        let probe = Command::new(&decnet.python).args(["-c", script]).output();
        match probe {
            Ok(output) if output.status.success() => Ok(decnet),
            _ => Err(format!(
                "{} lacks what DECNET's ingester needs: greenlet, sqlmodel 0.0.38",
                decnet.python.display()
            )),
        }
    }

    /// Lets its ingester read the `.json` beside `log` into a database of SQLite at `db`; gives the rows: time, decky,
    /// service, event type, address, fields, text, line.
    ///
    /// # Errors
    /// It fails.
    pub fn ingest(&self, log: &Path, db: &Path, limit: Duration) -> anyhow::Result<Vec<Row>> {
        let log = log.to_str().context("path is not UTF-8")?;
        let dir = db.parent().context("the database has no folder")?;
        let db = db.to_str().context("path is not UTF-8")?;
        // It writes a log of its own to where it stands.
        let output = Command::new(&self.python)
            .args([&script(), "ingest", log, db, &limit.as_secs().to_string()])
            .current_dir(dir)
            .output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("decnet's ingester failed: {said}");
        }
        let text = String::from_utf8(output.stdout)?;
        // DECNET's own log lines may stand among them.
        let rows = text.lines().filter(|line| line.starts_with('['));
        rows.map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// Makes CA, master identity and one worker's bundle with DECNET's own pki, in DECNET's layout below `dir`.
    ///
    /// # Errors
    /// The script fails.
    pub fn pki(&self, dir: &Path, worker: &str) -> anyhow::Result<()> {
        let dir = dir.to_str().context("path is not UTF-8")?;
        let output = Command::new(&self.python)
            .args([&script(), "pki", dir, worker])
            .output()?;
        if !output.status.success() {
            bail!(
                "decnet's pki failed: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }

    /// Starts its forwarder: `log` to 127.0.0.1:`port` with the bundle in `agent`.
    ///
    /// # Errors
    /// It can't be started.
    pub fn forward(
        &self,
        log: &Path,
        port: u16,
        agent: &Path,
        messages: &Path,
    ) -> anyhow::Result<Child> {
        let args = [
            script(),
            "forward".to_owned(),
            log.display().to_string(),
            "127.0.0.1".to_owned(),
            port.to_string(),
            agent.display().to_string(),
        ];
        Child::start(&self.python, args, &[], messages)
    }

    /// Starts its listener on 127.0.0.1:`port` with the CA folder `ca`.
    ///
    /// # Errors
    /// It can't be started.
    pub fn listen(
        &self,
        log: &Path,
        json: &Path,
        port: u16,
        ca: &Path,
        messages: &Path,
    ) -> anyhow::Result<Child> {
        let args = [
            script(),
            "listen".to_owned(),
            log.display().to_string(),
            json.display().to_string(),
            port.to_string(),
            ca.display().to_string(),
        ];
        Child::start(&self.python, args, &[], messages)
    }
}

fn script() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("peers/decnet_peer.py")
        .display()
        .to_string()
}

/// A port of 127.0.0.1 that is free now, for programs that can't be given port 0.
///
/// # Errors
/// None is free.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?
        .local_addr()?
        .port())
}
