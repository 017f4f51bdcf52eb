//! A worker: an identity, a collector and a forwarder, in one folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use crate::child::Child;
use crate::metrics::Metrics;
use crate::programs::Programs;
use crate::wait::until;

/// The name of the one stream.
const STREAM: &str = "decky";

/// What a worker is made of.
#[derive(Debug, Clone)]
pub struct WorkerSpec {
    /// Docker's socket (`unix://…`), or `off`; without it there is no collector and the `.log` is somebody else's.
    pub docker: Option<String>,
    /// Label that its containers carry.
    pub label: String,
    /// `file`, `api` or `auto`; empty means the default.
    pub read: String,
    /// Whether stderr is collected.
    pub stderr: bool,
    /// `acknowledged`, `auto` or `plain`.
    pub delivery: &'static str,
    /// What the forwarder follows, if not the collector's `.log`.
    pub log: Option<PathBuf>,
    /// More lines of the collector's configuration.
    pub collector: String,
    /// More lines of the forwarder's configuration.
    pub forwarder: String,
}

impl Default for WorkerSpec {
    fn default() -> WorkerSpec {
        WorkerSpec {
            docker: None,
            label: String::new(),
            read: String::new(),
            stderr: false,
            delivery: "acknowledged",
            log: None,
            collector: String::new(),
            forwarder: String::new(),
        }
    }
}

/// A worker's folder and its two programs.
#[derive(Debug)]
pub struct Worker {
    dir: PathBuf,
    programs: Programs,
    spec: WorkerSpec,
    collector: Option<Child>,
    forwarder: Option<Child>,
}

impl Worker {
    /// Writes the configuration of both programs below `dir`.
    ///
    /// # Errors
    /// The folder can't be written.
    pub fn new(programs: &Programs, dir: &Path, spec: &WorkerSpec) -> anyhow::Result<Worker> {
        std::fs::create_dir_all(dir)?;
        let worker = Worker {
            dir: dir.to_path_buf(),
            programs: programs.clone(),
            spec: spec.clone(),
            collector: None,
            forwarder: None,
        };
        if let Some(docker) = &spec.docker {
            let read = if spec.read.is_empty() {
                "auto"
            } else {
                &spec.read
            };
            let text = format!(
                "log = \"{}\"\nstate = \"{}\"\ndocker = \"{docker}\"\nread = \"{read}\"\nlabels = [\"{}\"]\nstderr = {}\n{}\n",
                worker.log().display(),
                dir.join("collector").display(),
                spec.label,
                spec.stderr,
                spec.collector
            );
            std::fs::write(worker.collector_config(), text)?;
        }
        Ok(worker)
    }

    /// Starts the collector and waits until it answers.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start_collector(&mut self) -> anyhow::Result<()> {
        let config = self.collector_config();
        self.collector = Some(self.start("logferry-collector", &config, "collector.messages")?);
        Ok(())
    }

    /// Starts the collector without waiting for it.
    ///
    /// # Errors
    /// It can't be started.
    pub fn launch_collector(&mut self) -> anyhow::Result<()> {
        let config = self.collector_config();
        self.collector = Some(self.launch("logferry-collector", &config, "collector.messages")?);
        Ok(())
    }

    /// Starts the forwarder towards `master` with the identity of `identity`, and waits until it answers.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start_forwarder(&mut self, master: &str, identity: &Path) -> anyhow::Result<()> {
        self.start_forwarder_to(&[master], identity)
    }

    /// Starts the forwarder towards several masters, tried in this order.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start_forwarder_to(&mut self, masters: &[&str], identity: &Path) -> anyhow::Result<()> {
        let text = format!(
            "masters = {masters:?}\nidentity = {identity:?}\nstate = {:?}\ndelivery = {:?}\n{}\n\
             [[stream]]\nname = \"{STREAM}\"\npath = {:?}\n",
            self.forwarder_state(),
            self.spec.delivery,
            self.spec.forwarder,
            self.log()
        );
        std::fs::write(self.forwarder_config(), text)?;
        let config = self.forwarder_config();
        self.forwarder = Some(self.start("logferry-forwarder", &config, "forwarder.messages")?);
        Ok(())
    }

    fn launch(&self, program: &str, config: &Path, messages: &str) -> anyhow::Result<Child> {
        let args = [
            "run",
            "--config",
            config.to_str().context("path is not UTF-8")?,
        ];
        Child::start(
            &self.programs.path(program),
            args,
            &[],
            &self.dir.join(messages),
        )
    }

    fn start(&self, program: &str, config: &Path, messages: &str) -> anyhow::Result<Child> {
        let mut child = self.launch(program, config, messages)?;
        until(
            &format!("{program} answers"),
            Duration::from_secs(30),
            || {
                child.check_alive()?;
                Ok(self.ask(program, config).ok())
            },
        )?;
        Ok(child)
    }

    fn ask(&self, program: &str, config: &Path) -> anyhow::Result<serde_json::Value> {
        let config = config.to_str().context("path is not UTF-8")?;
        let text = self
            .programs
            .run(program, &["status", "--config", config, "--json"])?;
        Ok(serde_json::from_str(&text)?)
    }

    /// The collector's status.
    ///
    /// # Errors
    /// It does not answer.
    pub fn collector_status(&self) -> anyhow::Result<serde_json::Value> {
        self.ask("logferry-collector", &self.collector_config())
    }

    /// The forwarder's status.
    ///
    /// # Errors
    /// It does not answer.
    pub fn forwarder_status(&self) -> anyhow::Result<serde_json::Value> {
        self.ask("logferry-forwarder", &self.forwarder_config())
    }

    /// The collector's recorded gaps, one JSON object each.
    ///
    /// # Errors
    /// The command fails.
    pub fn collector_gaps(&self) -> anyhow::Result<Vec<serde_json::Value>> {
        let config = self.collector_config();
        let config = config.to_str().context("path is not UTF-8")?;
        let text = self.programs.run(
            "logferry-collector",
            &["gaps", "--config", config, "--json"],
        )?;
        text.lines().map(|l| Ok(serde_json::from_str(l)?)).collect()
    }

    /// The running collector.
    pub fn collector(&mut self) -> Option<&mut Child> {
        self.collector.as_mut()
    }

    /// The running forwarder.
    pub fn forwarder(&mut self) -> Option<&mut Child> {
        self.forwarder.as_mut()
    }

    /// Starts the forwarder again as it was, without waiting for it.
    ///
    /// # Errors
    /// It can't be started.
    pub fn launch_forwarder(&mut self) -> anyhow::Result<()> {
        let config = self.forwarder_config();
        self.forwarder = Some(self.launch("logferry-forwarder", &config, "forwarder.messages")?);
        Ok(())
    }

    /// Starts the forwarder again as it was.
    ///
    /// # Errors
    /// It does not come up.
    pub fn restart_forwarder(&mut self) -> anyhow::Result<()> {
        let config = self.forwarder_config();
        self.forwarder = Some(self.start("logferry-forwarder", &config, "forwarder.messages")?);
        Ok(())
    }

    /// Stops the forwarder in order.
    ///
    /// # Errors
    /// It does not stop.
    pub fn stop_forwarder(&mut self) -> anyhow::Result<()> {
        self.forwarder.take().map_or(Ok(()), |child| {
            child.stop(Duration::from_secs(30)).map(|_| ())
        })
    }

    /// Kills the collector.
    ///
    /// # Errors
    /// It can't be killed.
    pub fn kill_collector(&mut self) -> anyhow::Result<()> {
        self.collector.take().map_or(Ok(()), Child::kill)
    }

    /// Kills the forwarder.
    ///
    /// # Errors
    /// It can't be killed.
    pub fn kill_forwarder(&mut self) -> anyhow::Result<()> {
        self.forwarder.take().map_or(Ok(()), Child::kill)
    }

    /// Stops both programs in order.
    ///
    /// # Errors
    /// One does not stop.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        for child in [self.collector.take(), self.forwarder.take()]
            .into_iter()
            .flatten()
        {
            child.stop(Duration::from_secs(30))?;
        }
        Ok(())
    }

    /// The name under which the master keeps its stream: plain mode knows no other.
    pub fn stream(&self) -> &'static str {
        if self.spec.delivery == "plain" {
            "syslog"
        } else {
            STREAM
        }
    }

    /// The forwarder's state directory.
    pub fn forwarder_state(&self) -> PathBuf {
        self.dir.join("forwarder")
    }

    /// What the forwarder's status endpoint shows as metrics.
    ///
    /// # Errors
    /// It does not answer.
    pub fn forwarder_metrics(&self) -> anyhow::Result<Metrics> {
        Metrics::ask(&self.forwarder_state().join("status.sock"))
    }

    /// What the collector's status endpoint shows as metrics.
    ///
    /// # Errors
    /// It does not answer.
    pub fn collector_metrics(&self) -> anyhow::Result<Metrics> {
        Metrics::ask(&self.dir.join("collector").join("status.sock"))
    }

    /// The `.log`.
    pub fn log(&self) -> PathBuf {
        let own = || self.dir.join("decky.log");
        self.spec.log.clone().unwrap_or_else(own)
    }

    /// The `.json`.
    pub fn json(&self) -> PathBuf {
        self.dir.join("decky.json")
    }

    fn collector_config(&self) -> PathBuf {
        self.dir.join("collector.toml")
    }

    fn forwarder_config(&self) -> PathBuf {
        self.dir.join("forwarder.toml")
    }
}
