//! The master: CA, registry and a listener, in one folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use crate::child::Child;
use crate::metrics::Metrics;
use crate::programs::Programs;
use crate::wait::until;

/// A master's folder and its listener.
#[derive(Debug)]
pub struct Master {
    dir: PathBuf,
    programs: Programs,
    addr: Option<String>,
    trust: &'static str,
    more: String,
    child: Option<Child>,
}

impl Master {
    /// Makes CA and registry below `dir`, and a configuration with both merged outputs.
    ///
    /// # Errors
    /// `init` fails.
    pub fn init(programs: &Programs, dir: &Path) -> anyhow::Result<Master> {
        let master = Master::new(programs, dir, "registry")?;
        let data = master.data();
        programs.run(
            "logferry-listener",
            &["init", "--data", path(&data)?, "--san", "127.0.0.1"],
        )?;
        Ok(master)
    }

    /// Takes over a CA, master identity and workers that DECNET made, and trusts any certificate of that CA.
    ///
    /// # Errors
    /// `import` fails.
    pub fn import(programs: &Programs, dir: &Path, ca: &Path) -> anyhow::Result<Master> {
        let master = Master::new(programs, dir, "ca")?;
        let data = master.data();
        programs.run(
            "logferry-listener",
            &["import", "--ca-dir", path(ca)?, "--data", path(&data)?],
        )?;
        Ok(master)
    }

    fn new(programs: &Programs, dir: &Path, trust: &'static str) -> anyhow::Result<Master> {
        std::fs::create_dir_all(dir)?;
        Ok(Master {
            dir: dir.to_path_buf(),
            programs: programs.clone(),
            addr: None,
            trust,
            more: String::new(),
            child: None,
        })
    }

    /// Enrols a worker and gives the folder of its identity.
    ///
    /// # Errors
    /// `enroll` fails.
    pub fn enroll(&self, name: &str) -> anyhow::Result<PathBuf> {
        let out = self.dir.join("bundles").join(name);
        let data = self.data();
        self.programs.run(
            "logferry-listener",
            &["enroll", name, "--data", path(&data)?, "--out", path(&out)?],
        )?;
        Ok(out)
    }

    /// Enrols a worker again, whose older certificates are revoked, and gives the folder of its new identity.
    ///
    /// # Errors
    /// `enroll` fails.
    pub fn enroll_again(&self, name: &str) -> anyhow::Result<PathBuf> {
        let out = self.dir.join("bundles").join(format!("{name}-again"));
        let data = self.data();
        let args = [
            "enroll",
            name,
            "--replace",
            "--data",
            path(&data)?,
            "--out",
            path(&out)?,
        ];
        self.programs.run("logferry-listener", &args)?;
        Ok(out)
    }

    /// Gaps in the archive, one JSON object each.
    ///
    /// # Errors
    /// The command fails.
    pub fn gaps(&self) -> anyhow::Result<Vec<serde_json::Value>> {
        let data = self.data();
        let args = ["gaps", "--json", "--data", path(&data)?];
        let text = self.programs.run("logferry-listener", &args)?;
        text.lines().map(|l| Ok(serde_json::from_str(l)?)).collect()
    }

    /// Holds the archive against its ledger.
    ///
    /// # Errors
    /// What is damaged.
    pub fn verify(&self) -> anyhow::Result<()> {
        let data = self.data();
        let args = ["verify", "--data", path(&data)?];
        self.programs.run("logferry-listener", &args).map(|_| ())
    }

    /// What the listener's status endpoint shows as metrics.
    ///
    /// # Errors
    /// It does not answer.
    pub fn metrics(&self) -> anyhow::Result<Metrics> {
        Metrics::ask(&self.data().join("status.sock"))
    }

    /// Revokes a worker.
    ///
    /// # Errors
    /// `revoke` fails.
    pub fn revoke(&self, name: &str) -> anyhow::Result<()> {
        let data = self.data();
        self.programs.run(
            "logferry-listener",
            &["revoke", name, "--data", path(&data)?],
        )?;
        Ok(())
    }

    /// More lines for the head of the configuration, from the next start on.
    pub fn configure(&mut self, more: &str) {
        more.clone_into(&mut self.more);
    }

    /// The archive's id, as `siblings` of other masters name it; the listener must run.
    ///
    /// # Errors
    /// It does not answer.
    pub fn archive_id(&self) -> anyhow::Result<String> {
        let status = self.status()?;
        let id = status["archive"].as_str();
        Ok(id.context("a status without archive")?.to_owned())
    }

    /// Starts the listener and waits until it serves: the first time on a free port, later on the same.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let listen = self
            .addr
            .clone()
            .unwrap_or_else(|| "127.0.0.1:0".to_owned());
        let config = self.config();
        let text = format!(
            "listen = \"{listen}\"\ndata = \"{}\"\ntrust = \"{}\"\n{}\n[merged]\nlog = \"{}\"\njson = \"{}\"\n",
            self.data().display(),
            self.trust,
            self.more,
            self.merged_log().display(),
            self.merged_json().display()
        );
        std::fs::write(&config, text).with_context(|| format!("write {}", config.display()))?;
        let program = self.programs.path("logferry-listener");
        let args = ["run", "--config", path(&config)?];
        let mut child = Child::start(&program, args, &[], &self.dir.join("listener.messages"))?;
        let addr = until("the listener serves", Duration::from_secs(30), || {
            child.check_alive()?;
            let status = self.status().ok();
            Ok(status
                .and_then(|s| Some(s["listen"].as_str()?.to_owned()))
                .filter(|a| !a.ends_with(":0")))
        })?;
        self.addr = Some(addr);
        self.child = Some(child);
        Ok(())
    }

    /// The listener's status.
    ///
    /// # Errors
    /// It does not answer.
    pub fn status(&self) -> anyhow::Result<serde_json::Value> {
        let config = self.config();
        let text = self.programs.run(
            "logferry-listener",
            &["status", "--config", path(&config)?, "--json"],
        )?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Stops the listener in order.
    ///
    /// # Errors
    /// It does not stop.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.child.take().map_or(Ok(()), |child| {
            child.stop(Duration::from_secs(30)).map(|_| ())
        })
    }

    /// Kills the listener.
    ///
    /// # Errors
    /// It can't be killed.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.take().map_or(Ok(()), Child::kill)
    }

    /// The running listener.
    pub fn child(&self) -> Option<&Child> {
        self.child.as_ref()
    }

    /// `127.0.0.1:PORT` of the listener.
    ///
    /// # Errors
    /// It was never started.
    pub fn addr(&self) -> anyhow::Result<&str> {
        self.addr
            .as_deref()
            .context("the listener was never started")
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The merged `.log`.
    pub fn merged_log(&self) -> PathBuf {
        self.dir.join("master.log")
    }

    /// The merged `.json`.
    pub fn merged_json(&self) -> PathBuf {
        self.dir.join("master.json")
    }

    fn config(&self) -> PathBuf {
        self.dir.join("listener.toml")
    }
}

/// A path as a command's argument.
fn path(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("path is not UTF-8")
}
