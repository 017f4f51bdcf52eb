//! Programs with their configurations: started, killed, paused, and their memory watched.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;
use serde_json::Value;

use crate::child::Child;
use crate::programs::Programs;
use crate::wait::until;

/// How long a program may take to stop in order, or to come up.
const PATIENCE: Duration = Duration::from_secs(60);

/// One program of the swarm.
#[derive(Debug)]
pub(crate) struct Program {
    /// `collector`, `forwarder` or `listener`.
    pub(crate) name: &'static str,
    programs: Programs,
    config: PathBuf,
    messages: PathBuf,
    child: Option<Child>,
    paused: bool,
    /// The most memory that any of its processes has had resident, in KiB.
    pub(crate) peak_kib: u64,
    /// What it had resident whenever it was looked at, in KiB, and the most of each life that ended with a kill.
    resident_kib: Vec<u64>,
    /// How often it was killed.
    pub(crate) kills: u64,
}

impl Program {
    /// Writes its configuration below `dir`.
    pub(crate) fn new(
        programs: &Programs,
        name: &'static str,
        dir: &Path,
        config: &str,
    ) -> anyhow::Result<Program> {
        let path = dir.join(format!("{name}.toml"));
        fs::write(&path, config).with_context(|| format!("write {}", path.display()))?;
        Ok(Program {
            name,
            programs: programs.clone(),
            config: path,
            messages: dir.join(format!("{name}.messages")),
            child: None,
            paused: false,
            peak_kib: 0,
            resident_kib: Vec::new(),
            kills: 0,
        })
    }

    fn program(&self) -> String {
        format!("logferry-{}", self.name)
    }

    /// Starts it, without waiting for anything.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        if self.child.is_none() {
            let config = self.config.to_str().context("path is not UTF-8")?;
            let args = ["run", "--config", config];
            let path = self.programs.path(&self.program());
            self.child = Some(Child::start(&path, args, &[], &self.messages)?);
        }
        Ok(())
    }

    /// Fails if it has ended by itself.
    pub(crate) fn check_alive(&mut self) -> anyhow::Result<()> {
        match &mut self.child {
            Some(child) => child.check_alive(),
            None => Ok(()),
        }
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.check_alive()?;
        self.measure();
        let of_life = self.child.as_ref().and_then(Child::memory_kib);
        self.resident_kib.extend(of_life.map(|(_, peak)| peak));
        if let Some(child) = self.child.take() {
            child.kill()?;
            self.kills += 1;
        }
        self.paused = false;
        Ok(())
    }

    /// SIGSTOP, and waits until it stands still.
    pub(crate) fn pause(&mut self) -> anyhow::Result<()> {
        if let Some(child) = &self.child {
            child.signal(Signal::STOP)?;
            let stat = format!("/proc/{}/stat", child.pid());
            until("a process that stands still", PATIENCE, || {
                let stat = fs::read_to_string(&stat)?;
                let state = stat.rsplit(") ").next().unwrap_or_default();
                Ok(state.starts_with(['T', 'Z']).then_some(()))
            })?;
            self.paused = true;
        }
        Ok(())
    }

    /// SIGCONT.
    pub(crate) fn resume(&mut self) -> anyhow::Result<()> {
        if let Some(child) = self.child.as_ref().filter(|_| self.paused) {
            child.signal(Signal::CONT)?;
        }
        self.paused = false;
        Ok(())
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        self.measure();
        if let Some(child) = self.child.take() {
            let status = child.stop(PATIENCE)?;
            anyhow::ensure!(status.success(), "{} stopped with {status}", self.name);
        }
        Ok(())
    }

    /// Whether a process of it runs.
    pub(crate) fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// What it answers to `status`.
    pub(crate) fn status(&self) -> anyhow::Result<Value> {
        let text = self.command(&["status", "--json"])?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Runs a command of it with its configuration.
    pub(crate) fn command(&self, args: &[&str]) -> anyhow::Result<String> {
        let config = self.config.to_str().context("path is not UTF-8")?;
        let args: Vec<&str> = args.iter().copied().chain(["--config", config]).collect();
        self.programs.run(&self.program(), &args)
    }

    /// Starts it again after it has ended by itself.
    pub(crate) fn restart(&mut self) -> anyhow::Result<()> {
        self.child = None;
        self.start()
    }

    /// Runs a command of it that takes no configuration.
    pub(crate) fn bare(&self, args: &[&str]) -> anyhow::Result<String> {
        self.programs.run(&self.program(), args)
    }

    /// Notes how much memory it has.
    pub(crate) fn measure(&mut self) {
        if let Some((now, peak)) = self.child.as_ref().and_then(Child::memory_kib) {
            self.peak_kib = self.peak_kib.max(peak);
            self.resident_kib.push(now);
        }
    }

    /// What it had resident in the first and in the last quarter of all looks, in KiB: in the median, and the most.
    pub(crate) fn quarters(&self) -> [(u64, u64); 2] {
        let looks = &self.resident_kib;
        let of = |looks: &[u64]| {
            let mut looks = looks.to_vec();
            looks.sort_unstable();
            let median = looks.get(looks.len() / 2).copied().unwrap_or(0);
            (median, looks.last().copied().unwrap_or(0))
        };
        let quarter = looks.len() / 4;
        [of(&looks[..quarter]), of(&looks[looks.len() - quarter..])]
    }

    /// Files that it has open for writing or reading, by device and inode.
    pub(crate) fn open_files(&self) -> Vec<(u64, u64)> {
        use std::os::unix::fs::MetadataExt as _;
        let Some(child) = &self.child else {
            return Vec::new();
        };
        let Ok(entries) = fs::read_dir(format!("/proc/{}/fd", child.pid())) else {
            return Vec::new();
        };
        let metas = entries
            .flatten()
            .filter_map(|entry| fs::metadata(entry.path()).ok());
        metas.map(|meta| (meta.dev(), meta.ino())).collect()
    }

    /// The last lines of what it has printed.
    pub(crate) fn last_words(&self) -> String {
        let bytes = fs::read(&self.messages).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

/// CA, master and one worker.
pub(crate) fn enrol(
    programs: &Programs,
    data: &Path,
    identity: &Path,
    worker: &str,
) -> anyhow::Result<()> {
    let data = data.to_str().context("path is not UTF-8")?;
    let identity = identity.to_str().context("path is not UTF-8")?;
    programs.run(
        "logferry-listener",
        &["init", "--data", data, "--san", "127.0.0.1"],
    )?;
    programs.run(
        "logferry-listener",
        &["enroll", worker, "--data", data, "--out", identity],
    )?;
    Ok(())
}
