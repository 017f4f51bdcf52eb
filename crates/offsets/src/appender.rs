//! The planned append: whole lines go to a set of target files exactly once, and the checkpoints that
//! go with them become true at the same instant.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::store::{Change, Store};

mod api;
mod core;
mod disk;
mod locate;
mod matching;
mod record;
mod recover;
mod slot;
mod target;

pub use api::{AppendError, Appended, Counters, Limits, Recovered, UNCERTAIN};
use core::Core;
use disk::{Disk, Step};
pub(crate) use record::Tagged;
use slot::Slots;
use target::Target;

/// Appends batches of whole lines to target files exactly once.
///
/// A batch is *announced* by writing its bytes, its plan and its changes into a redo slot and syncing
/// that: one sync a batch. From then on it will stand in its targets, and its changes are true, whatever
/// happens. Then it is written to the targets, which are synced while the caller prepares the next
/// batch. The SQLite file follows at most a second of appending later. `docs/decisions/0001` has the
/// alternatives and figures.
///
/// A future may be dropped: a batch that was taken is kept, and [`Appender::resume`] goes on with it.
#[derive(Debug)]
pub struct Appender {
    store: Store,
    place: String,
    limits: Limits,
    targets: usize,
    state: State,
    counters: Counters,
}

#[derive(Debug)]
enum State {
    Idle(Box<Core>),
    /// A blocking thread has the core: it drives a batch, and settles it after having said so.
    Busy(JoinHandle<(Box<Core>, Result<(), AppendError>)>),
    /// The thread was lost with the core.
    Lost,
}

impl Appender {
    /// Opens the appender whose redo files are in `dir` (made with mode 0700), finishes the batch that
    /// a crash left, on the paths it was announced for, and takes `targets` for those to come. They are
    /// made, with their directories, by the first batch that has something for them.
    ///
    /// What is reported as [`Recovered::Uncertain`] is reported by every open until the first append or
    /// flush, so that its caller can ledger it first.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was lost, and the call can be repeated.
    pub async fn open(
        store: Store,
        dir: impl AsRef<Path>,
        targets: &[PathBuf],
        limits: Limits,
    ) -> Result<(Self, Vec<Recovered>), AppendError> {
        Self::open_with(store, dir.as_ref(), targets, limits, Disk::default()).await
    }

    async fn open_with(
        store: Store,
        dir: &Path,
        targets: &[PathBuf],
        limits: Limits,
        mut disk: Disk,
    ) -> Result<(Self, Vec<Recovered>), AppendError> {
        let place = place(dir, store.path());
        let applied = store.applied(&place).await?;
        let path = dir.to_path_buf();
        let (mut slots, mut disk) = blocking(move || {
            make_dir(&path).map_err(|source| AppendError::Blocked {
                path: path.clone(),
                source,
            })?;
            let slots = Slots::open(&path, applied.is_some(), &mut disk)?;
            Ok::<_, AppendError>((slots, disk))
        })
        .await??;
        store.found(&place).await?;
        let applied = applied.unwrap_or(0);
        let record;
        let closed;
        (slots, disk, record, closed) = blocking(move || {
            let (record, closed) = slots.newest()?;
            let path = slots.path(record.seq).to_path_buf();
            if record.base > applied {
                return Err(AppendError::Damaged {
                    path,
                    what: "the checkpoint store is older",
                });
            }
            if record.seq < applied {
                return Err(AppendError::Damaged {
                    path,
                    what: "it is older than the checkpoint store",
                });
            }
            // It may have been read from memory: a power loss must not take back what recovery builds on.
            slots
                .sync(record.seq, &mut disk)
                .map_err(|source| AppendError::Sync { path, source })?;
            Ok((slots, disk, record, closed))
        })
        .await??;
        store.start_ahead(&place, applied, record.seq, record.changes.clone());
        disk.ask(Step::Transaction, store.path(), 0)
            .map_err(core::blocked(store.path()))?;
        store.commit(&[]).await?;
        let mut core = Box::new(Core::new(
            store.clone(),
            place.clone(),
            slots,
            disk,
            record.seq,
        ));
        let (mut core, recovered) = blocking(move || {
            let recovered = if closed {
                Vec::new()
            } else {
                core.recover(&record)?
            };
            Ok::<_, AppendError>((core, recovered))
        })
        .await??;
        core.targets = targets.iter().cloned().map(Target::new).collect();
        let counters = core.counters;
        let targets = targets.len();
        Ok((
            Self {
                store,
                place,
                limits,
                targets,
                state: State::Idle(core),
                counters,
            },
            recovered,
        ))
    }

    /// Appends `parts[i]` to target `i` and makes `changes` true: both or neither, whatever happens.
    /// A part is empty or whole lines, the last one ended by LF. Returns when the batch will stand even
    /// if power is lost and can be read in the targets; gives the buffers back.
    ///
    /// # Errors
    /// [`AppendError`]. After [`AppendError::Blocked`] the batch is kept and [`Appender::resume`] goes on.
    pub async fn append(
        &mut self,
        parts: Vec<Vec<u8>>,
        changes: Vec<Change>,
    ) -> Result<Appended, AppendError> {
        self.refuse(&parts, &changes)?;
        let mut core = self.idle().await?;
        if core.is_pending() {
            self.state = State::Idle(core);
            return Err(AppendError::Pending { parts, changes });
        }
        core.take(parts, changes);
        self.state = State::Idle(core);
        self.resume().await
    }

    /// Goes on with a blocked batch, or one whose future was dropped, where it stopped. Without one it
    /// does nothing.
    ///
    /// # Errors
    /// As [`Appender::append`].
    pub async fn resume(&mut self) -> Result<Appended, AppendError> {
        let (bytes, age) = self.store.lag(&self.place);
        if bytes > AHEAD_BYTES || age > AHEAD_FOR {
            match self.store.commit(&[]).await {
                Err(error) if bytes <= AHEAD_MOST => {
                    // The slots carry the changes as long as the table can't take them.
                    tracing::warn!(%error, bytes, "checkpoints are late");
                }
                other => other?,
            }
        }
        let mut core = self.idle().await?;
        let (said, heard) = oneshot::channel();
        let job = tokio::task::spawn_blocking(move || {
            let result = core.drive();
            let stands = result.is_ok();
            // Nobody listens when the caller dropped its future.
            let _ = said.send((result, core.counters));
            let settled = if stands { core.settle() } else { Ok(()) };
            (core, settled)
        });
        self.state = State::Busy(job);
        let (result, counters) = heard.await.map_err(|_| AppendError::Lost)?;
        self.counters = counters;
        result
    }

    /// Whether the batch that is blocked is not lost if the process ends now: the next one that opens the appender
    /// completes it. It is not as long as the disk had no room for the batch itself.
    ///
    /// # Errors
    /// As [`Appender::append`].
    pub async fn is_kept(&mut self) -> Result<bool, AppendError> {
        let core = self.idle().await?;
        let kept = core.is_kept();
        self.state = State::Idle(core);
        Ok(kept)
    }

    /// Waits until everything appended is durable in its targets and in the store's table. For idle
    /// times and the orderly end; a crash without it loses nothing.
    ///
    /// # Errors
    /// [`AppendError::Sync`] or [`AppendError::Store`].
    pub async fn flush(&mut self) -> Result<(), AppendError> {
        let mut core = self.idle().await?;
        let job = tokio::task::spawn_blocking(move || {
            let result = core.acknowledge();
            (core, result)
        });
        self.state = State::Busy(job);
        let core = self.idle().await?;
        self.state = State::Idle(core);
        Ok(self.store.commit(&[]).await?)
    }

    /// The checkpoints.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Sums since open, as of the last finished batch.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Waits for the thread that has the core, if one has. The state is `Lost` until the caller puts the
    /// core back.
    async fn idle(&mut self) -> Result<Box<Core>, AppendError> {
        if let State::Busy(job) = &mut self.state {
            let (core, result) = match job.await {
                Ok(done) => done,
                Err(_) => {
                    self.state = State::Lost;
                    return Err(AppendError::Lost);
                }
            };
            self.counters = core.counters;
            self.state = State::Idle(core);
            result?;
        }
        match std::mem::replace(&mut self.state, State::Lost) {
            State::Idle(core) => Ok(core),
            State::Busy(_) | State::Lost => Err(AppendError::Lost),
        }
    }

    fn refuse(&self, parts: &[Vec<u8>], changes: &[Change]) -> Result<(), AppendError> {
        let refused = |what, found, limit| Err(AppendError::Refused { what, found, limit });
        if parts.len() != self.targets {
            return refused("number of parts", parts.len(), self.targets);
        }
        let bytes = parts.iter().map(Vec::len).sum();
        if bytes > self.limits.batch_bytes {
            return refused("bytes of a batch", bytes, self.limits.batch_bytes);
        }
        if let Some(part) = parts
            .iter()
            .position(|part| part.last().is_some_and(|last| *last != b'\n'))
        {
            return refused("part without a final LF", part, 0);
        }
        let size =
            |change: &Change| change.parts().0.len() + change.parts().1.map_or(0, <[u8]>::len);
        let bytes = changes.iter().map(size).sum();
        if bytes > self.limits.change_bytes {
            return refused("bytes of changes", bytes, self.limits.change_bytes);
        }
        Ok(())
    }
}

/// The name by which the store knows the appender of `dir`: relative to the store where possible, so
/// that a state directory can be moved as a whole.
fn place(dir: &Path, store: &Path) -> String {
    let relative = store
        .parent()
        .and_then(|parent| dir.strip_prefix(parent).ok());
    relative.unwrap_or(dir).to_string_lossy().into_owned()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, AppendError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| AppendError::Lost)
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

/// The table follows when this many bytes of changes are ahead of it: each slot carries them all.
const AHEAD_BYTES: usize = 1 << 20;

/// Above this an append waits for the table to follow; it bounds the slots' share for changes.
const AHEAD_MOST: usize = 16 << 20;

/// The table follows at the first append after this time: other processes read it.
const AHEAD_FOR: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
