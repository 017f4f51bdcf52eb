//! The folder of a run: the lines, the identities, the programs; and a folder in it for each turn.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use swarm::{Child, Master, Programs, until};
use tempfile::TempDir;

use crate::args::Bench;
use crate::lines;

/// What all turns share.
#[derive(Debug)]
pub(crate) struct Stage {
    dir: TempDir,
    /// The lines, on the disk and in the page cache.
    pub(crate) input: PathBuf,
    /// How many there are, and how many bytes.
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
    pub(crate) programs: Programs,
    /// Identities: `ca.crt worker.crt worker.key` each.
    pub(crate) master: PathBuf,
    pub(crate) worker: PathBuf,
    stop: Arc<AtomicBool>,
}

impl Stage {
    /// Makes the folder below `bench.dir`.
    ///
    /// # Errors
    /// It can't be written, or is no disk; `init` or `enroll` fail.
    pub(crate) fn new(
        bench: &Bench,
        programs: Programs,
        stop: Arc<AtomicBool>,
    ) -> anyhow::Result<Stage> {
        let above = &bench.dir;
        fs::create_dir_all(above).with_context(|| format!("make {}", above.display()))?;
        let above = fs::canonicalize(above)?;
        let kind = rustix::fs::statfs(&above)?.f_type;
        ensure!(
            kind != TMPFS,
            "{} is in memory: an fsync there costs nothing (--dir)",
            above.display()
        );
        let room = rustix::fs::statvfs(&above)?;
        let room = room.f_bavail.saturating_mul(room.f_frsize);
        let needed = bench.lines.saturating_mul(ROOM_PER_LINE);
        ensure!(
            room >= needed,
            "{} has {room} bytes left, {needed} are needed",
            above.display()
        );
        let dir = tempfile::Builder::new().prefix("run-").tempdir_in(&above)?;
        let input = dir.path().join("lines.log");
        let file = File::create(&input)?;
        let bytes = lines::write_all(bench.lines, &file).context("write the lines")?;
        file.sync_all()?;
        let master = Master::init(&programs, &dir.path().join("trust"))?;
        Ok(Stage {
            input,
            lines: bench.lines,
            bytes,
            worker: master.enroll(WORKER)?,
            master: dir.path().join("trust/data/ca/master"),
            programs,
            stop,
            dir,
        })
    }

    /// Makes a folder for one turn.
    pub(crate) fn turn(&self, name: &str) -> anyhow::Result<Turn<'_>> {
        let dir = self.dir.path().join(name);
        fs::create_dir(&dir).with_context(|| format!("make {}", dir.display()))?;
        Ok(Turn { stage: self, dir })
    }

    /// Fails when the run is to end.
    pub(crate) fn check_going(&self) -> anyhow::Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            bail!("stopped");
        }
        Ok(())
    }

    /// The longest that the lines may take.
    pub(crate) fn limit(&self) -> Duration {
        Duration::from_secs(60 + self.lines / SLOWEST)
    }
}

/// One turn; its folder goes away with it.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) dir: PathBuf,
}

impl Turn<'_> {
    /// Where a receiver writes that is told.
    pub(crate) fn output(&self) -> PathBuf {
        self.dir.join("received.log")
    }

    /// Makes a folder in the turn's.
    pub(crate) fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        Ok(dir)
    }

    /// Writes a configuration with its `@NAMES@` filled in.
    pub(crate) fn configure(
        &self,
        name: &str,
        template: &str,
        values: &[(&str, &str)],
    ) -> anyhow::Result<PathBuf> {
        let mut text = template.to_owned();
        for (key, value) in values {
            text = text.replace(&format!("@{key}@"), value);
        }
        let path = self.dir.join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // The run's folder goes anyway.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Waits until a program listens on a port, without disturbing it.
pub(crate) fn listens(child: &mut Child, port: u16) -> anyhow::Result<()> {
    until("the receiver listens", Duration::from_secs(20), || {
        child.check_alive()?;
        let sockets = fs::read_to_string("/proc/net/tcp").context("read /proc/net/tcp")?;
        Ok(is_listening(&sockets, port).then_some(()))
    })
}

/// Looks a port up in a table as in proc_pid_net(5): local address, remote address, state (`0A`: listening).
pub(crate) fn is_listening(table: &str, port: u16) -> bool {
    let end = format!(":{port:04X}");
    table.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next();
        local.is_some_and(|local| local.ends_with(&end)) && fields.nth(1) == Some("0A")
    })
}

/// A path for a configuration file.
pub(crate) fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path is not UTF-8")
}

/// The worker's name.
pub(crate) const WORKER: &str = "bench";
/// statfs(2).
const TMPFS: rustix::fs::FsWord = 0x0102_1994;
/// Lines, what arrives, and what a peer queues on disk in between, with air.
const ROOM_PER_LINE: u64 = 1500;
/// Lines a second; who is slower is given up.
const SLOWEST: u64 = 5_000;
