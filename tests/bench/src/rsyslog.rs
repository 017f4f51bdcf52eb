//! rsyslog at both ends, its queue in memory or on disk.

use std::path::{Path, PathBuf};

use swarm::{Child, free_port};

use crate::pipeline::Pipeline;
use crate::stage::{Turn, WORKER, listens, text};

/// rsyslog with OpenSSL's driver.
#[derive(Debug)]
pub(crate) struct Rsyslog {
    program: PathBuf,
    disk: bool,
}

impl Rsyslog {
    /// Looks for it; with the queue on disk, or in memory.
    ///
    /// # Errors
    /// What is missing.
    pub(crate) fn find(disk: bool) -> Result<Self, String> {
        let program = ["/usr/sbin/rsyslogd", "/sbin/rsyslogd"].map(PathBuf::from);
        let program = program.into_iter().find(|path| path.exists());
        let program = program.ok_or("rsyslogd is not installed")?;
        let has_driver = [
            "/usr/lib",
            "/usr/lib64",
            "/usr/lib/x86_64-linux-gnu",
            "/usr/lib/aarch64-linux-gnu",
        ]
        .iter()
        .any(|dir| Path::new(dir).join("rsyslog/lmnsd_ossl.so").exists());
        match has_driver {
            true => Ok(Self { program, disk }),
            false => Err("rsyslog's OpenSSL driver is not installed".to_owned()),
        }
    }

    fn start(&self, turn: &Turn<'_>, name: &str, config: &Path) -> anyhow::Result<Child> {
        let pid = turn.dir.join(format!("{name}.pid"));
        let args = ["-n", "-f", text(config)?, "-i", text(&pid)?];
        Child::start(
            &self.program,
            args,
            &[],
            &turn.dir.join(format!("{name}.messages")),
        )
    }
}

impl Pipeline for Rsyslog {
    fn receive(&self, turn: &Turn<'_>) -> anyhow::Result<(Child, u16)> {
        let port = free_port()?;
        let (dir, output, number) = (turn.folder("receive")?, turn.output(), port.to_string());
        let values = [
            ("DIR", text(&dir)?),
            ("IDENTITY", text(&turn.stage.master)?),
            ("PEER", WORKER),
            ("OUT", text(&output)?),
            ("PORT", &number),
        ];
        let config = turn.configure(
            "receive.conf",
            include_str!("../peers/rsyslog-receive.conf"),
            &values,
        )?;
        let mut child = self.start(turn, "receive", &config)?;
        listens(&mut child, port)?;
        Ok((child, port))
    }

    fn send(&self, turn: &Turn<'_>, port: u16) -> anyhow::Result<Child> {
        let (queue, input) = match self.disk {
            true => (DISK_QUEUE, "persistStateInterval=\"1000\""),
            false => (MEMORY_QUEUE, ""),
        };
        let (dir, number) = (turn.folder("send")?, port.to_string());
        let values = [
            ("DIR", text(&dir)?),
            ("IDENTITY", text(&turn.stage.worker)?),
            ("PEER", "logferry-master"),
            ("IN", text(&turn.stage.input)?),
            ("PORT", &number),
            ("QUEUE", queue),
            ("INPUT", input),
        ];
        let config = turn.configure(
            "send.conf",
            include_str!("../peers/rsyslog-send.conf"),
            &values,
        )?;
        self.start(turn, "send", &config)
    }
}

/// Large batches; the one worker of the rule set keeps the order.
const MEMORY_QUEUE: &str =
    "queue.type=\"FixedArray\" queue.size=\"200000\" queue.dequeueBatchSize=\"4096\"";
/// All lines go through files; a checkpoint every 1,000, nothing synced.
const DISK_QUEUE: &str = "queue.type=\"Disk\" queue.filename=\"lines\" queue.dequeueBatchSize=\"1024\" \
     queue.checkpointInterval=\"1000\" queue.maxFileSize=\"64m\" queue.saveOnShutdown=\"on\"";
