//! The appender over real files: plain use, limits, rotation, deletion, full disks, damage; and in
//! `simulation` the end of the world between any two steps.

mod basics;
mod recovery;
mod simulation;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::*;

/// A state directory, a log directory, and two targets.
struct House {
    dir: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// In memory where the system has such a place: a simulation syncs thousands of times.
    fn in_memory() -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self { dir: dir.unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn targets(&self) -> Vec<PathBuf> {
        vec![self.path("log/decky.log"), self.path("log/decky.json")]
    }

    fn log(&self) -> PathBuf {
        self.path("log/decky.log")
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    async fn open(&self) -> (Appender, Vec<Recovered>) {
        self.try_open(&self.targets(), Disk::default())
            .await
            .unwrap()
    }

    async fn try_open(
        &self,
        targets: &[PathBuf],
        disk: Disk,
    ) -> Result<(Appender, Vec<Recovered>), AppendError> {
        let store = Store::open(self.path("state/offsets.sqlite")).await?;
        Appender::open_with(
            store,
            &self.path("state/redo"),
            targets,
            Limits::default(),
            disk,
        )
        .await
    }
}

impl Appender {
    /// Waits for the settling thread, so that a test can meddle with the files.
    async fn rest(&mut self) -> Result<(), AppendError> {
        let core = self.idle().await?;
        self.state = State::Idle(core);
        Ok(())
    }
}

fn put(key: &str, value: &str) -> Change {
    Change::Put {
        key: key.into(),
        value: value.into(),
    }
}

fn append_raw(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap()
        .write_all(bytes)
        .unwrap();
}

/// Compresses `path` the way gzip does: to `path.gz`, then the original goes.
fn gzip(path: &Path) -> PathBuf {
    let to = PathBuf::from(format!("{}.gz", path.display()));
    let mut out =
        flate2::write::GzEncoder::new(File::create(&to).unwrap(), flate2::Compression::fast());
    out.write_all(&fs::read(path).unwrap()).unwrap();
    out.finish().unwrap();
    fs::remove_file(path).unwrap();
    to
}

fn copytruncate(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
    OpenOptions::new()
        .write(true)
        .open(from)
        .unwrap()
        .set_len(0)
        .unwrap();
}

/// Waits for the next tick of the clock that files are stamped with.
fn wait_for_tick(dir: &Path) {
    let now = std::time::SystemTime::now();
    loop {
        let file = tempfile::tempfile_in(dir).unwrap();
        if file.metadata().unwrap().created().unwrap() > now {
            return;
        }
    }
}
