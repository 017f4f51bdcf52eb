//! The archive itself: epochs by handle, and the commit window over all of them.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use offsets::{Fact, Ledger, LedgerError};

use crate::api::{Compression, Held, Origin, Print, Retained, Retention, Stand};
use crate::dir::Dir;
use crate::epoch::{Epoch, SegmentLimits, WriteError};
use crate::error::{AppendError, CommitError, OpenError, VoidError};
use crate::fault::{Fault, Step};
use crate::index::{Entry, Index, IndexError};
use crate::name::{ARCHIVE_DIR, ArchiveId, EpochId, Form, StreamKey, archive_id};
use crate::recover::{self, Recovered};

/// How an archive is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// A segment that would grow over this many bytes is closed; one append is never split.
    pub segment_max_bytes: u64,
    /// A segment older than this is closed.
    pub segment_max_age: Duration,
    /// Most bytes that the caller puts into one commit window. A `.log` epoch that holds more than this beyond the
    /// index means that the index is not its own.
    pub window_bytes: u64,
    /// Room on the file system at which no window is begun, in bytes, so that the index can still move.
    pub reserve_bytes: u64,
    /// Most segment files held open between windows.
    pub max_open_files: usize,
    /// For tests: asked before each step.
    pub fault: Fault,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_max_bytes: 256 << 20,
            segment_max_age: Duration::from_secs(24 * 3600),
            window_bytes: 16 << 20,
            reserve_bytes: 64 << 20,
            max_open_files: 1024,
            fault: Fault::default(),
        }
    }
}

/// An epoch that can be appended to, in the [`Archive`] that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle(usize);

/// What a commit window added to an epoch, or where an epoch stands: everything below `to` is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Committed {
    /// The epoch, for [`Archive::append`].
    pub handle: Handle,
    /// The worker and stream.
    pub key: StreamKey,
    /// The epoch.
    pub epoch: EpochId,
    /// What its bytes are.
    pub form: Form,
    /// The end before the window; of a standing epoch, its first offset.
    pub from: u64,
    /// The end now.
    pub to: u64,
    /// The head hash of the stream's ledger, as of this window.
    pub ledger: [u8; 32],
}

/// Segments, ledgers and index of one data directory, of which the caller holds the lock.
#[derive(Debug)]
pub struct Archive {
    id: ArchiveId,
    path: PathBuf,
    root: Dir,
    options: Options,
    index: Index,
    epochs: Vec<Epoch>,
    by_id: HashMap<(StreamKey, EpochId), usize>,
    /// Epochs that the current window has something of.
    touched: Vec<usize>,
    open_files: usize,
    room_checked: bool,
    void: bool,
    recovered: Vec<Recovered>,
}

impl Archive {
    /// Opens the archive of a data directory and recovers what a crash left behind, in time that does not grow with
    /// what is archived.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was changed that recovery would not change again.
    pub async fn open(data: &Path, options: Options) -> Result<Archive, OpenError> {
        let id = archive_id(data).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => OpenError::NotInitialised(data.to_owned()),
            _ => OpenError::Io(data.to_owned(), e),
        })?;
        let path = data.join(ARCHIVE_DIR);
        let root = Dir::root(data)
            .and_then(|data| data.ensure(ARCHIVE_DIR))
            .map_err(|e| OpenError::Io(path.clone(), e))?;
        let (index, entries, recovered) = recover::run(data, &root, options.window_bytes).await?;
        let mut archive = Archive {
            id,
            path,
            root,
            options,
            index,
            epochs: Vec::new(),
            by_id: HashMap::new(),
            touched: Vec::new(),
            open_files: 0,
            room_checked: false,
            void: false,
            recovered,
        };
        for entry in entries {
            archive.insert(Epoch::from_entry(entry));
        }
        Ok(archive)
    }

    /// The archive's identity.
    pub fn id(&self) -> ArchiveId {
        self.id
    }

    /// What recovery found and did when the archive was opened, for log and metrics.
    pub fn recovered(&self) -> &[Recovered] {
        &self.recovered
    }

    /// Where every epoch that is not over stands.
    pub fn standing(&self) -> impl Iterator<Item = Committed> + '_ {
        self.epochs
            .iter()
            .enumerate()
            .map(|(slot, epoch)| Committed {
                handle: Handle(slot),
                key: epoch.key.clone(),
                epoch: epoch.id,
                form: epoch.form,
                from: epoch.base,
                to: epoch.committed.end,
                ledger: [0; 32],
            })
    }

    /// The one epoch of a plain stream, opened if this is its first.
    ///
    /// # Errors
    /// [`CommitError::Index`]: the epoch is not there, and may be asked for again.
    pub async fn plain(&mut self, key: &StreamKey) -> Result<Handle, CommitError> {
        let known = self
            .epochs
            .iter()
            .enumerate()
            .filter(|(_, e)| e.form == Form::Frames && e.key == *key);
        // A second one can only be an empty one whose making failed half-way.
        match known.max_by_key(|(_, e)| e.now.end) {
            Some((slot, _)) => Ok(Handle(slot)),
            None => {
                self.open_epoch(key, EpochId::random(), Form::Frames, 0, Origin::default())
                    .await
            }
        }
    }

    /// An epoch by its identifier, opened at `base` if it is new. The index knows of it before the directory exists,
    /// so that nothing in the archive is unknown to the index.
    ///
    /// # Errors
    /// [`CommitError::Index`], as in [`Archive::plain`].
    pub async fn open_epoch(
        &mut self,
        key: &StreamKey,
        id: EpochId,
        form: Form,
        base: u64,
        origin: Origin,
    ) -> Result<Handle, CommitError> {
        let _ = origin;
        if self.void {
            return Err(CommitError::Void);
        }
        if let Some(&slot) = self.by_id.get(&(key.clone(), id)) {
            return Ok(Handle(slot));
        }
        let epoch = Epoch::new(key.clone(), id, form, base, now_ms());
        self.index.put(&[epoch.entry()]).await?;
        Ok(self.insert(epoch))
    }

    /// Whether the epoch is known, also when nothing of it is held.
    ///
    /// # Errors
    /// The index can't be asked.
    pub async fn known(&mut self, key: &StreamKey, id: EpochId) -> Result<bool, IndexError> {
        Ok(self.by_id.contains_key(&(key.clone(), id)))
    }

    /// Where an epoch stands. Only of use when nothing of it is uncommitted.
    ///
    /// # Errors
    /// [`AppendError::Refused`] for a handle that is gone.
    pub fn stand(&self, handle: Handle) -> Result<Stand, AppendError> {
        let epoch = &self.epochs[handle.0];
        let entry = epoch.entry();
        let tail = Print {
            end: entry.committed,
            len: u32::try_from(entry.tail.len).unwrap_or(0),
            blake3: entry.tail.hash,
        };
        Ok(Stand {
            end: entry.committed,
            tail,
            in_line: false,
            sealed: false,
            ledger: [0; 32],
        })
    }

    /// The newest epochs of a stream, newest first.
    ///
    /// # Errors
    /// The index can't be asked.
    pub async fn epochs(&mut self, key: &StreamKey, most: usize) -> Result<Vec<Held>, IndexError> {
        let _ = (key, most);
        Ok(Vec::new())
    }

    /// The hash of the `len` bytes before `end`; `None` when they are not held, or not committed.
    ///
    /// # Errors
    /// The bytes should be there and can't be read.
    pub async fn prove(
        &mut self,
        key: &StreamKey,
        epoch: EpochId,
        end: u64,
        len: u32,
    ) -> io::Result<Option<[u8; 32]>> {
        let _ = (key, epoch, end, len);
        Err(io::ErrorKind::Unsupported.into())
    }

    fn unbuilt(&self, handle: Handle) -> AppendError {
        AppendError::Refused {
            key: self.epochs[handle.0].key.clone(),
            what: "not built yet",
        }
    }

    /// Records that the bytes from the end to `to` will never come, and goes on at `to`. Part of the window.
    ///
    /// # Errors
    /// [`AppendError::Refused`] for a gap backwards or in a sealed epoch; [`AppendError::Failed`] voids the window.
    pub fn gap(&mut self, handle: Handle, to: u64, cause: &str) -> Result<(), AppendError> {
        let _ = (to, cause);
        Err(self.unbuilt(handle))
    }

    /// Records that the epoch ended where it stands, and that `next` follows. `lost`: bytes known to be lost at its
    /// end; none: unknown. The same again changes nothing. Part of the window.
    ///
    /// # Errors
    /// As [`Archive::gap`].
    pub fn roll(
        &mut self,
        handle: Handle,
        next: EpochId,
        cause: &str,
        lost: Option<u64>,
    ) -> Result<(), AppendError> {
        let _ = (next, cause, lost);
        Err(self.unbuilt(handle))
    }

    /// Records that nothing may be appended to the epoch any more. Part of the window.
    ///
    /// # Errors
    /// As [`Archive::gap`].
    pub fn seal(&mut self, handle: Handle) -> Result<(), AppendError> {
        Err(self.unbuilt(handle))
    }

    /// Closes the epoch's segment if it has bytes. Part of the window.
    ///
    /// # Errors
    /// As [`Archive::gap`].
    pub fn close_segment(&mut self, handle: Handle) -> Result<(), AppendError> {
        Err(self.unbuilt(handle))
    }

    /// Records a fact of a stream that belongs to no bytes: `takeover`, `conflict`. Part of the window.
    ///
    /// # Errors
    /// [`AppendError::Void`].
    pub fn note(&mut self, key: &StreamKey, fact: Fact) -> Result<(), AppendError> {
        let _ = fact;
        Err(AppendError::Refused {
            key: key.clone(),
            what: "not built yet",
        })
    }

    /// Removes closed segments that are over a limit, oldest first; a bounded number a call. `needed` gives the lowest
    /// offset of an epoch that somebody still has to read, none: nobody has.
    ///
    /// # Errors
    /// [`CommitError`]; what was removed is removed, and the rest can be tried again.
    pub async fn retain(
        &mut self,
        limits: Retention,
        needed: &dyn Fn(&StreamKey, EpochId) -> Option<u64>,
    ) -> Result<Retained, CommitError> {
        let _ = (limits, needed);
        Ok(Retained::default())
    }

    /// Compresses closed segments, oldest first; reads about `budget` bytes a call.
    ///
    /// # Errors
    /// [`CommitError`]; nothing is lost, and it can be tried again.
    pub async fn compress_next(&mut self, budget: u64) -> Result<Compression, CommitError> {
        let _ = budget;
        Ok(Compression::Idle)
    }

    fn insert(&mut self, epoch: Epoch) -> Handle {
        let slot = self.epochs.len();
        self.by_id.insert((epoch.key.clone(), epoch.id), slot);
        self.epochs.push(epoch);
        Handle(slot)
    }

    /// Appends bytes to an epoch: whole frames to one of [`Form::Frames`]. They are durable when [`Archive::commit`]
    /// says so.
    ///
    /// # Errors
    /// [`AppendError::Full`] leaves the window as it was, anything else voids it.
    pub fn append(&mut self, handle: Handle, bytes: &[u8]) -> Result<(), AppendError> {
        if self.void {
            return Err(AppendError::Void);
        }
        self.check_room()?;
        let Options {
            segment_max_bytes: max_bytes,
            segment_max_age: max_age,
            ..
        } = self.options;
        let epoch = &mut self.epochs[handle.0];
        let (was_touched, was_open) = (epoch.touched, epoch.is_open());
        let limits = SegmentLimits { max_bytes, max_age };
        let result = epoch.append(&self.root, bytes, now_ms(), limits, &self.options.fault);
        if epoch.touched && !was_touched {
            self.touched.push(handle.0);
        }
        self.open_files += usize::from(epoch.is_open() && !was_open);
        let key = &epoch.key;
        result.map_err(|e| match e {
            WriteError::Full(e) => AppendError::Full(e),
            WriteError::Failed(source) => {
                self.void = true;
                AppendError::Failed {
                    key: key.clone(),
                    source,
                }
            }
        })
    }

    /// Looks once a window whether segments may still grow.
    fn check_room(&mut self) -> Result<(), AppendError> {
        if self.room_checked {
            return Ok(());
        }
        let available = self.root.available().map_err(AppendError::Full)?;
        let need = self.options.reserve_bytes;
        if available < need {
            let what = format!("{available} bytes available, {need} are reserved");
            return Err(AppendError::Full(io::Error::new(
                io::ErrorKind::StorageFull,
                what,
            )));
        }
        self.room_checked = true;
        Ok(())
    }

    /// Closes segments that are older than the limit, also of epochs that nobody writes to; part of the next window.
    ///
    /// # Errors
    /// [`AppendError::Failed`] voids the window.
    pub fn close_aged(&mut self) -> Result<(), AppendError> {
        if self.void {
            return Err(AppendError::Void);
        }
        let (now_ms, max_age) = (now_ms(), self.options.segment_max_age);
        for (slot, epoch) in self.epochs.iter_mut().enumerate() {
            let (was_touched, was_open) = (epoch.touched, epoch.is_open());
            let result = epoch.close_aged(&self.root, now_ms, max_age);
            self.open_files += usize::from(epoch.is_open() && !was_open);
            if epoch.touched && !was_touched {
                self.touched.push(slot);
            }
            if let Err(source) = result {
                self.void = true;
                return Err(AppendError::Failed {
                    key: epoch.key.clone(),
                    source,
                });
            }
        }
        Ok(())
    }

    /// Makes the window stand: segments synced, facts ledgered, index moved, in this order. One report an epoch.
    ///
    /// # Errors
    /// [`CommitError`]: the window does not stand, and has to be voided.
    pub async fn commit(&mut self) -> Result<Vec<Committed>, CommitError> {
        if self.void {
            return Err(CommitError::Void);
        }
        if self.touched.is_empty() {
            return Ok(Vec::new());
        }
        // Whatever ends this call early leaves a window that does not stand.
        self.void = true;
        self.sync()?;
        self.write_facts()?;
        let entries: Vec<Entry> = self
            .touched
            .iter()
            .map(|&slot| self.epochs[slot].entry())
            .collect();
        self.options
            .fault
            .check(Step::Index)
            .map_err(IndexError::Fault)?;
        self.index.put(&entries).await?;
        Ok(self.stood(&entries))
    }

    /// The index says what the files hold: the window is over.
    fn stood(&mut self, entries: &[Entry]) -> Vec<Committed> {
        self.void = false;
        let mut reports = Vec::with_capacity(entries.len());
        for (slot, entry) in self.touched.drain(..).zip(entries) {
            let epoch = &mut self.epochs[slot];
            let from = epoch.committed.end;
            epoch.stand(entry);
            reports.push(Committed {
                handle: Handle(slot),
                key: epoch.key.clone(),
                epoch: epoch.id,
                form: epoch.form,
                from,
                to: entry.committed,
                ledger: [0; 32],
            });
        }
        self.room_checked = false;
        self.release_files(&reports);
        reports
    }

    fn sync(&mut self) -> Result<(), CommitError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |e| CommitError::Sync(path, e)
        };
        self.options
            .fault
            .check(Step::Sync)
            .map_err(failed(&self.path))?;
        if self.touched.len() > SYNC_ONE_BY_ONE {
            return self.root.sync_file_system().map_err(failed(&self.path));
        }
        for &slot in &self.touched {
            let epoch = &self.epochs[slot];
            let path = self.path.join(epoch.key.worker()).join(epoch.key.stream());
            epoch.sync(&self.root).map_err(failed(&path))?;
        }
        Ok(())
    }

    fn write_facts(&mut self) -> Result<(), CommitError> {
        for &slot in &self.touched {
            let epoch = &mut self.epochs[slot];
            let path = self.path.join(epoch.key.worker()).join(epoch.key.stream());
            let facts = epoch
                .take_facts()
                .map_err(|e| CommitError::Sync(path.clone(), e))?;
            if !facts.is_empty() {
                self.options
                    .fault
                    .check(Step::Ledger)
                    .map_err(|e| CommitError::Sync(path.clone(), e))?;
                write_ledger(&path, &facts)?;
            }
        }
        Ok(())
    }

    /// Goes back to what the index says: the files of the window are closed, opened again and cut. Until this
    /// succeeded nothing can be appended; it may be called again.
    ///
    /// Gives reports, as [`Archive::commit`] would have, when the window stands after all: the index had moved, and
    /// could not say so.
    ///
    /// # Errors
    /// Any failure to ask the index, or to open or cut a file.
    pub async fn void(&mut self) -> Result<Vec<Committed>, VoidError> {
        self.void = true;
        if self.index.settle().await? {
            let entries: Vec<Entry> = self
                .touched
                .iter()
                .map(|&slot| self.epochs[slot].entry())
                .collect();
            return Ok(self.stood(&entries));
        }
        for &slot in &self.touched {
            let epoch = &mut self.epochs[slot];
            self.open_files -= usize::from(epoch.is_open());
            epoch
                .void(&self.root, &self.options.fault)
                .map_err(|e| VoidError::Io(epoch.key.clone(), e))?;
        }
        self.touched.clear();
        self.room_checked = false;
        self.void = false;
        Ok(Vec::new())
    }

    /// Keeps the number of open files in bounds by letting go of those that this window did not touch.
    fn release_files(&mut self, reports: &[Committed]) {
        if self.open_files <= self.options.max_open_files {
            return;
        }
        let mut busy = vec![false; self.epochs.len()];
        for report in reports {
            busy[report.handle.0] = true;
        }
        for (epoch, busy) in self.epochs.iter_mut().zip(busy) {
            if epoch.is_open() && !busy {
                epoch.release();
                self.open_files -= 1;
            }
        }
    }

    /// Closes the index in an orderly way. An uncommitted window stays for recovery, as in a crash.
    ///
    /// # Errors
    /// [`IndexError`]; everything committed stands nevertheless.
    pub async fn close(self) -> Result<(), IndexError> {
        self.index.close().await
    }
}

/// Appends facts to the ledger of the stream whose directory is `stream`.
pub(crate) fn write_ledger(stream: &Path, facts: &[Fact]) -> Result<(), LedgerError> {
    let opened = Ledger::open(stream.join(LEDGER))?;
    if let Some(torn) = &opened.torn {
        tracing::warn!(path = %torn.quarantine.display(), bytes = torn.len, "torn ledger line put aside");
    }
    let mut ledger = opened.ledger;
    ledger.append(facts, SystemTime::now())?;
    Ok(())
}

/// Unix milliseconds.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Up to so many files are synced one by one (about a millisecond each); more are cheaper with one syncfs.
const SYNC_ONE_BY_ONE: usize = 8;

/// The ledger's name, beside the epochs.
pub(crate) const LEDGER: &str = "ledger.jsonl";
