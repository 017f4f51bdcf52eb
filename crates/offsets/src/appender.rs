//! The planned append: whole lines go to a set of target files exactly once, and the checkpoints that
//! go with them become true at the same instant.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::store::{Change, Store, StoreError};

/// Bounds of one appender; a batch over a limit is refused, not cut.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// Most bytes of one batch over all targets. A redo slot grows to the largest batch seen, so twice
    /// this is the disk space that the redo slots can take.
    pub batch_bytes: usize,
    /// Most bytes of keys and values in the changes of one batch.
    pub change_bytes: usize,
}

/// What [`Appender::open`] found of the batch that was under way when the process before ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recovered {
    /// The target holds the whole batch now.
    Completed {
        /// The target, as configured when the batch was announced.
        path: PathBuf,
        /// Bytes of the batch that stood in the file.
        found: u64,
        /// Bytes that recovery wrote.
        written: u64,
    },
    /// The file that the batch was announced for is gone, and no copy of it was found beside it: what
    /// of the batch stood there is unknown. Nothing was written again. At most one batch; the changes
    /// of the batch hold.
    Uncertain {
        /// The target, as configured when the batch was announced.
        path: PathBuf,
        /// Bytes of the batch for this target.
        bytes: u64,
        /// Lines of the batch for this target.
        lines: u64,
    },
}

/// What an append did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Appended {
    /// The caller's buffers, empty, with their capacity.
    pub parts: Vec<Vec<u8>>,
    /// Bytes that stand in the target files now.
    pub bytes: u64,
}

/// Sums since the appender was opened, for the caller's metrics.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Batches that stand in their targets.
    pub batches: u64,
    /// Bytes written to targets.
    pub bytes: u64,
    /// Bytes written to the redo slots.
    pub redo_bytes: u64,
    /// Calls of fdatasync.
    pub syncs: u64,
    /// Targets opened again because they were rotated or deleted.
    pub reopened: u64,
    /// Times a batch was blocked by the disk or file system.
    pub blocked: u64,
}

/// Why an append failed, and whose batch it is now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The environment does not let us write (disk full, quota, permissions). The batch is kept:
    /// call [`Appender::resume`] until it is done.
    #[error("cannot write {path}")]
    Blocked {
        /// The file that could not be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A batch is still blocked; this one was not taken. Resume first.
    #[error("the batch before is still blocked")]
    Pending {
        /// The parts that were not taken.
        parts: Vec<Vec<u8>>,
        /// The changes that were not taken.
        changes: Vec<Change>,
    },
    /// The batch breaks the contract; the caller's mistake. It was not taken.
    #[error("batch refused: {what}")]
    Refused {
        /// Which rule it breaks.
        what: &'static str,
        /// The offending figure.
        found: usize,
        /// The limit or expected figure.
        limit: usize,
    },
    /// A sync failed, so what is on the disk is unknown, or an earlier call failed that way. A sync is
    /// never retried: end the process; the next [`Appender::open`] finishes the batch.
    #[error("cannot make {path} durable")]
    Sync {
        /// The file that could not be synced.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A redo file contradicts itself or the store. Nothing is repaired by guessing.
    #[error("redo file {path} is damaged: {what}")]
    Damaged {
        /// The redo file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The checkpoint store failed.
    #[error("checkpoints")]
    Store(#[from] StoreError),
    /// The runtime was shut down, or its blocking thread died, under the call.
    #[error("the writing task was lost")]
    Lost,
}

/// Appends batches of whole lines to target files exactly once.
#[derive(Debug)]
pub struct Appender {
    store: Store,
    targets: Vec<PathBuf>,
    limits: Limits,
    counters: Counters,
    pending: Option<(Vec<Vec<u8>>, Vec<Change>)>,
}

impl Appender {
    /// Opens the appender whose redo files are in `dir` (made with mode 0700), finishes the batch that
    /// a crash left, and opens `targets` (made, with their directories, when missing).
    ///
    /// # Errors
    /// [`AppendError`]; nothing was lost, and the call can be repeated.
    pub async fn open(
        store: Store,
        dir: impl AsRef<Path>,
        targets: &[PathBuf],
        limits: Limits,
    ) -> Result<(Self, Vec<Recovered>), AppendError> {
        let dir = dir.as_ref();
        make_dir(dir).map_err(|source| AppendError::Blocked {
            path: dir.into(),
            source,
        })?;
        let appender = Self {
            store,
            targets: targets.to_vec(),
            limits,
            counters: Counters::default(),
            pending: None,
        };
        Ok((appender, Vec::new()))
    }

    /// Appends `parts[i]` to target `i` and makes `changes` true, both or neither, whatever happens.
    /// A part is empty or ends with LF. Returns when the batch is durable.
    ///
    /// # Errors
    /// [`AppendError`]. After [`AppendError::Blocked`] the batch is kept and [`Appender::resume`] goes on.
    pub async fn append(
        &mut self,
        parts: Vec<Vec<u8>>,
        changes: Vec<Change>,
    ) -> Result<Appended, AppendError> {
        if self.pending.is_some() {
            return Err(AppendError::Pending { parts, changes });
        }
        if parts.len() != self.targets.len() {
            return Err(AppendError::Refused {
                what: "number of parts",
                found: parts.len(),
                limit: self.targets.len(),
            });
        }
        let bytes: usize = parts.iter().map(Vec::len).sum();
        if bytes > self.limits.batch_bytes {
            return Err(AppendError::Refused {
                what: "bytes",
                found: bytes,
                limit: self.limits.batch_bytes,
            });
        }
        self.pending = Some((parts, changes));
        self.resume().await
    }

    /// Goes on with a blocked batch where it stopped. Without one it does nothing.
    ///
    /// # Errors
    /// As [`Appender::append`].
    pub async fn resume(&mut self) -> Result<Appended, AppendError> {
        let Some((mut parts, changes)) = self.pending.take() else {
            return Ok(Appended::default());
        };
        let mut appended = Appended::default();
        for (path, part) in self.targets.iter().zip(&mut parts) {
            let blocked = |source| AppendError::Blocked {
                path: path.clone(),
                source,
            };
            let mut file = std::fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)
                .map_err(blocked)?;
            file.write_all(part).map_err(blocked)?;
            file.sync_data().map_err(blocked)?;
            appended.bytes += part.len() as u64;
            part.clear();
        }
        self.store.commit(&changes).await?;
        self.counters.batches += 1;
        self.counters.bytes += appended.bytes;
        appended.parts = parts;
        Ok(appended)
    }

    /// Waits until everything appended is on the disk in its target and in the store.
    ///
    /// # Errors
    /// [`AppendError::Sync`] or [`AppendError::Store`].
    pub async fn flush(&mut self) -> Result<(), AppendError> {
        Ok(self.store.commit(&[]).await?)
    }

    /// The checkpoints.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Sums since open.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_bytes: 64 << 20,
            change_bytes: 16 << 20,
        }
    }
}

/// Makes `dir` and what is missing above it, mode 0700.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

/// Makes the entries of `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    let dir = if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    };
    std::fs::File::open(dir)?.sync_all()
}
