//! A process that we started: it is ended by us or with us, by pid, and its messages are kept in a file.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;

use crate::wait::until;

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    messages: PathBuf,
    name: String,
}

impl Child {
    /// Starts `program`; stdout and stderr are appended to `messages`.
    ///
    /// # Errors
    /// The program can't be started or the file can't be opened.
    pub fn start<I, S>(
        program: &Path,
        args: I,
        env: &[(&str, &str)],
        messages: &Path,
    ) -> anyhow::Result<Child>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(messages)
            .with_context(|| format!("open {}", messages.display()))?;
        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        for (key, value) in env {
            command.env(key, value);
        }
        let process = command
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let name = program
            .file_name()
            .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        Ok(Child {
            process,
            messages: messages.to_path_buf(),
            name,
        })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The exit status, if it has ended.
    ///
    /// # Errors
    /// The process can't be asked.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.process.try_wait()?)
    }

    /// What it has printed so far.
    pub fn messages(&self) -> String {
        std::fs::read(&self.messages)
            .map(|b| String::from_utf8_lossy(&b).into_owned())
            .unwrap_or_default()
    }

    /// Fails, with the last messages, if the process has ended.
    ///
    /// # Errors
    /// It has ended.
    pub fn check_alive(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.ended()? {
            let messages = self.messages();
            let tail: Vec<&str> = messages.lines().rev().take(12).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            anyhow::bail!("{} ended with {status}:\n{}", self.name, tail.join("\n"));
        }
        Ok(())
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// The process is gone.
    pub fn signal(&self, signal: rustix::process::Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.process.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.context("process id out of range")?, signal)
            .with_context(|| format!("signal {}", self.name))
    }

    /// Asks it to stop (SIGTERM) and waits; after `limit` it is killed and that is an error.
    ///
    /// # Errors
    /// It did not stop in time.
    pub fn stop(mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        self.signal(rustix::process::Signal::TERM)?;
        let name = self.name.clone();
        until(&format!("{name} stops on SIGTERM"), limit, || self.ended())
    }

    /// Kills it at once (SIGKILL) and reaps it.
    ///
    /// # Errors
    /// It can't be killed.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Resident memory now, in KiB (`VmRSS`), and the highest so far (`VmHWM`).
    pub fn memory_kib(&self) -> Option<(u64, u64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        let field = |name: &str| {
            let line = status.lines().find(|l| l.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse().ok()
        };
        Some((field("VmRSS:")?, field("VmHWM:")?))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
