//! Our forwarder and listener, in acknowledged mode, without merged outputs: those have no counterpart here.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use service::status::{Listen, query};
use swarm::{Child, Master, until};
use tokio::runtime::Runtime;

use crate::pipeline::Pipeline;
use crate::stage::{Turn, WORKER, text};

/// The pair.
#[derive(Debug)]
pub(crate) struct Ours {
    runtime: Runtime,
}

impl Ours {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            runtime: service::runtime(1).context("make a runtime")?,
        })
    }

    /// Starts the forwarder on a file.
    pub(crate) fn forward(
        &self,
        turn: &Turn<'_>,
        port: u16,
        input: &Path,
    ) -> anyhow::Result<Child> {
        let (state, identity) = (
            turn.dir.join("state"),
            turn.dir.join("master/bundles").join(WORKER),
        );
        let number = port.to_string();
        let values = [
            ("PORT", number.as_str()),
            ("IDENTITY", text(&identity)?),
            ("STATE", text(&state)?),
            ("STREAM", STREAM),
            ("IN", text(input)?),
        ];
        let config = turn.configure("forwarder.toml", FORWARDER, &values)?;
        self.start(turn, "logferry-forwarder", &config)
    }

    /// What the forwarder says of the stream.
    pub(crate) fn stream(&self, turn: &Turn<'_>) -> anyhow::Result<Option<Standing>> {
        let page = self.ask(&turn.dir.join("state"))?;
        let stream = page.as_ref().map(|page| &page["streams"][0]);
        Ok(stream.map(|stream| Standing {
            connected: stream["connected"].as_bool() == Some(true),
            acknowledged: stream["acknowledged"].as_u64().unwrap_or(0),
        }))
    }

    /// A program's status page; nothing while it does not answer.
    fn ask(&self, dir: &Path) -> anyhow::Result<Option<Value>> {
        let at = Listen::Unix(dir.join("status.sock"));
        match self.runtime.block_on(query(&at, "/status")) {
            Ok((200, body)) => Ok(Some(
                serde_json::from_slice(&body).context("read a status")?,
            )),
            _ => Ok(None),
        }
    }

    fn start(&self, turn: &Turn<'_>, name: &str, config: &Path) -> anyhow::Result<Child> {
        let program = turn.stage.programs.path(name);
        let messages = turn.dir.join(format!("{name}.messages"));
        Child::start(
            &program,
            ["run", "--config", text(config)?],
            &[("RUST_LOG", "warn")],
            &messages,
        )
    }
}

/// How far the stream is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    pub(crate) connected: bool,
    /// Octets that stand in the archive, as the forwarder knows.
    pub(crate) acknowledged: u64,
}

impl Pipeline for Ours {
    fn receive(&self, turn: &Turn<'_>) -> anyhow::Result<(Child, u16)> {
        let master = Master::init(&turn.stage.programs, &turn.dir.join("master"))?;
        master.enroll(WORKER)?;
        let data = turn.dir.join("master/data");
        let config = turn.configure("listener.toml", LISTENER, &[("DATA", text(&data)?)])?;
        let mut child = self.start(turn, "logferry-listener", &config)?;
        let port = until("the listener serves", Duration::from_secs(20), || {
            child.check_alive()?;
            let page = self.ask(&data)?;
            let listen = page.as_ref().and_then(|page| page["listen"].as_str());
            Ok(listen.and_then(|addr| addr.rsplit_once(':')?.1.parse().ok()))
        })?;
        Ok((child, port))
    }

    fn send(&self, turn: &Turn<'_>, port: u16) -> anyhow::Result<Child> {
        self.forward(turn, port, &turn.stage.input)
    }

    fn outputs(&self, turn: &Turn<'_>) -> anyhow::Result<Vec<PathBuf>> {
        let stream = turn
            .dir
            .join("master/data/archive")
            .join(WORKER)
            .join(STREAM);
        let Some(epoch) = folders(&stream).into_iter().next() else {
            return Ok(Vec::new());
        };
        let mut segments: Vec<PathBuf> = entries(&epoch)
            .into_iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .collect();
        // Their names are their offsets.
        segments.sort();
        Ok(segments)
    }

    fn is_done(&self, turn: &Turn<'_>) -> anyhow::Result<bool> {
        let Some(standing) = self.stream(turn)? else {
            bail!("the forwarder does not answer");
        };
        Ok(standing.acknowledged >= turn.stage.bytes)
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect()
}

fn folders(dir: &Path) -> Vec<PathBuf> {
    entries(dir)
        .into_iter()
        .filter(|path| path.is_dir())
        .collect()
}

const STREAM: &str = "lines";

const LISTENER: &str = r#"listen = "127.0.0.1:0"
data = "@DATA@"
"#;

const FORWARDER: &str = r#"masters = ["127.0.0.1:@PORT@"]
identity = "@IDENTITY@"
state = "@STATE@"
delivery = "acknowledged"
[[stream]]
name = "@STREAM@"
path = "@IN@"
"#;
