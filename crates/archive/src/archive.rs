//! The archive itself: epochs by handle, and what can be asked of them.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use offsets::{Fact, LedgerEnd, LedgerError};

use crate::api::Origin;
use crate::clock::{Clock, Trust};
use crate::dir::Dir;
use crate::entry::{Change, Entry, LedgerMark};
use crate::epoch::{Epoch, sync_above};
use crate::error::{AppendError, CommitError, OpenError};
use crate::facts;
use crate::fault::Fault;
use crate::index::{Index, IndexError};
use crate::name::{ARCHIVE_DIR, ArchiveId, EpochId, Form, StreamKey, archive_id};
use crate::recover::{self, Recovered};
use crate::witness::Witness;

mod asked;
mod commit;
mod compress;
mod retain;
mod window;

use compress::Job;
use window::Window;

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
    /// Most epochs of a stream that can be written without being loaded again; one more closes the segment of the one
    /// that was opened longest ago.
    pub max_open_epochs: usize,
    /// What time it is.
    pub clock: Clock,
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
            max_open_epochs: 4,
            clock: Clock::default(),
            fault: Fault::default(),
        }
    }
}

/// An epoch that can be appended to, in the [`Archive`] that gave it. Never given twice; it is gone when its stream
/// has opened several other epochs since, or when it was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(u64);

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
    /// Nothing will ever be appended to the epoch.
    pub sealed: bool,
    /// The head hash of the stream's ledger, as of this window.
    pub ledger: [u8; 32],
}

/// Segments, ledgers and index of one data directory, of which the caller holds the lock.
#[derive(Debug)]
pub struct Archive {
    id: ArchiveId,
    data: PathBuf,
    path: PathBuf,
    root: Dir,
    options: Options,
    index: Index,
    witness: Witness,
    /// The number of the last window that stands.
    number: i64,
    /// Unix milliseconds of the newest window.
    newest_ms: Option<i64>,
    epochs: HashMap<Handle, Epoch>,
    by_id: HashMap<(StreamKey, EpochId), Handle>,
    streams: HashMap<StreamKey, Stream>,
    next_handle: u64,
    /// Epochs that were neither sealed nor loaded when the archive was opened.
    resting: Vec<Entry>,
    window: Window,
    open_files: usize,
    recovered: Vec<Recovered>,
    /// What was found since, and nobody has asked for.
    found: Vec<Recovered>,
    trust: Trust,
    job: Option<Box<Job>>,
}

/// A stream of which something is known.
#[derive(Debug, Default)]
struct Stream {
    ledger: LedgerMark,
    /// Where its file was left, once it was written.
    written: Option<LedgerEnd>,
    /// Loaded epochs; the one that was opened last is the last.
    loaded: Vec<Handle>,
    /// Facts of the current window that belong to no epoch.
    notes: Vec<Fact>,
    /// Where the ledger stands when the current window does.
    next: Option<LedgerMark>,
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
        let begun = recover::run(data, &root, &options).await?;
        let mut archive = Archive {
            id,
            data: data.to_owned(),
            path,
            root,
            index: begun.index,
            witness: begun.witness,
            number: begun.number,
            newest_ms: begun.newest_ms,
            epochs: HashMap::new(),
            by_id: HashMap::new(),
            streams: HashMap::new(),
            next_handle: 0,
            resting: begun.resting,
            window: Window::default(),
            open_files: 0,
            recovered: begun.recovered,
            found: Vec::new(),
            trust: Trust::new(&options.clock, begun.newest_ms),
            options,
            job: None,
        };
        for (key, ledger) in begun.ledgers {
            archive.streams.entry(key).or_default().ledger = ledger;
        }
        for entry in begun.live {
            archive.insert(entry);
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

    /// What was found to be damaged, or was recovered, since the archive was opened or this was last asked.
    pub fn take_found(&mut self) -> Vec<Recovered> {
        std::mem::take(&mut self.found)
    }

    /// Lets go of an epoch whose open segment is gone or too short, so that the others go on: opened again, it goes on
    /// where its files end.
    fn lose(&mut self, handle: Handle, error: &io::Error) {
        let Some(epoch) = self.epochs.get(&handle) else {
            return;
        };
        let (key, id) = (epoch.key.clone(), epoch.id);
        self.found.push(Recovered::Damaged {
            key: key.clone(),
            epoch: id,
            committed: epoch.committed.end,
            what: error.to_string(),
        });
        self.forget(&key, id);
    }

    /// Appends facts to a stream's ledger, whose directory somebody may have removed.
    fn tell(
        &mut self,
        key: &StreamKey,
        facts: &[Fact],
        at: SystemTime,
    ) -> Result<LedgerMark, LedgerError> {
        let path = self.stream_path(key);
        let stream = self.streams.entry(key.clone()).or_default();
        match facts::write(&path, &mut stream.written, facts, at) {
            Err(LedgerError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                sync_above(&self.root, key).map_err(|source| LedgerError::Io {
                    path: path.clone(),
                    source,
                })?;
                facts::write(&path, &mut stream.written, facts, at)
            }
            told => told,
        }
    }

    fn ledger(&self, key: &StreamKey) -> [u8; 32] {
        self.streams
            .get(key)
            .map_or([0; 32], |stream| stream.ledger.head)
    }

    fn stream_path(&self, key: &StreamKey) -> PathBuf {
        self.path.join(key.worker()).join(key.stream())
    }

    /// The one epoch of a plain stream, opened if this is its first.
    ///
    /// # Errors
    /// [`CommitError::Index`]: the epoch is not there, and may be asked for again.
    pub async fn plain(&mut self, key: &StreamKey) -> Result<Handle, CommitError> {
        let known = self
            .epochs
            .iter()
            .filter(|(_, e)| e.form == Form::Frames && e.key == *key);
        // A second one can only be an empty one whose making failed half-way.
        if let Some((handle, _)) = known.max_by_key(|(_, e)| e.now.end) {
            return Ok(*handle);
        }
        let held = self.index.newest(key, usize::MAX).await?;
        let frames = held.iter().filter(|entry| entry.form == Form::Frames);
        let id = frames
            .max_by_key(|entry| entry.mark.end)
            .map_or_else(EpochId::random, |entry| entry.epoch);
        self.open_epoch(key, id, Form::Frames, 0, Origin::default())
            .await
    }

    /// An epoch by its identifier, opened at `base` if it is new. The index knows of it before the directory exists,
    /// so that nothing in the archive is unknown to the index. Form, base and origin of a known one stay as they are.
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
        if self.window.is_void() {
            return Err(CommitError::Void);
        }
        if let Some(&handle) = self.by_id.get(&(key.clone(), id)) {
            let loaded = &mut self.streams.entry(key.clone()).or_default().loaded;
            loaded.retain(|other| *other != handle);
            loaded.push(handle);
            if let Some(epoch) = self.epochs.get_mut(&handle) {
                epoch.leaving = false;
            }
            return Ok(handle);
        }
        let mut entry = match self.ask(async |index| index.find(key, id).await).await? {
            Some(entry) => entry,
            None => {
                let now_ms = self.options.clock.now_ms();
                let mut entry = Entry::new(key.clone(), id, form, base, now_ms);
                entry.live = false;
                (entry.after, entry.of) = (origin.after, origin.of);
                entry
            }
        };
        // Also if it is live: it may have been let go of because of damage.
        self.settle(&mut entry)?;
        // What is written to it from now on has to be looked at after a crash.
        entry.live = !entry.mark.sealed;
        let mut entries = self.make_room(key)?;
        let mut row = entry.clone();
        row.pieces = (0, Vec::new());
        entries.push(row);
        let change = Change {
            entries,
            ledgers: Vec::new(),
        };
        self.ask(async |index| index.put(&change, None).await)
            .await?;
        for gone in &change.entries[..change.entries.len() - 1] {
            self.forget(&gone.key.clone(), gone.epoch);
        }
        Ok(self.insert(entry))
    }

    fn settle(&mut self, entry: &mut Entry) -> Result<(), CommitError> {
        let path = self.stream_path(&entry.key);
        let settled = recover::settle(&self.data, &self.root, &self.options, entry)
            .map_err(|e| CommitError::Sync(path.clone(), io::Error::other(e)))?;
        if let Some((found, facts)) = settled {
            let mark = self.tell(&entry.key, &facts, self.options.clock.now())?;
            self.streams.entry(entry.key.clone()).or_default().ledger = mark;
            self.found.push(found);
        }
        Ok(())
    }

    /// Keeps the number of a stream's loaded epochs in bounds: those of the oldest with nothing to write go at once,
    /// given as their rows; others with the window that closes their segment.
    fn make_room(&mut self, key: &StreamKey) -> Result<Vec<Entry>, CommitError> {
        let mut rows = Vec::new();
        let loaded = self
            .streams
            .get(key)
            .map_or_else(Vec::new, |stream| stream.loaded.clone());
        let over = (loaded.len() + 1).saturating_sub(self.options.max_open_epochs.max(1));
        for handle in loaded.into_iter().take(over) {
            let Some(epoch) = self.epochs.get_mut(&handle) else {
                continue;
            };
            if !epoch.touched && epoch.now.segment.is_none() {
                let mut entry = epoch.committed_entry();
                entry.live = false;
                rows.push(entry);
            } else {
                epoch.leaving = true;
                match self.close_segment(handle) {
                    Ok(()) | Err(AppendError::Gone) => {}
                    Err(AppendError::Failed { key, source }) => {
                        return Err(CommitError::Sync(self.stream_path(&key), source));
                    }
                    Err(_) => return Err(CommitError::Void),
                }
            }
        }
        Ok(rows)
    }

    fn insert(&mut self, entry: Entry) -> Handle {
        let handle = Handle(self.next_handle);
        self.next_handle += 1;
        let epoch = Epoch::from_entry(entry);
        self.by_id.insert((epoch.key.clone(), epoch.id), handle);
        let stream = self.streams.entry(epoch.key.clone()).or_default();
        stream.loaded.push(handle);
        self.epochs.insert(handle, epoch);
        handle
    }

    /// Lets go of an epoch of which nothing is uncommitted.
    fn forget(&mut self, key: &StreamKey, id: EpochId) {
        let Some(handle) = self.by_id.remove(&(key.clone(), id)) else {
            return;
        };
        if let Some(stream) = self.streams.get_mut(key) {
            stream.loaded.retain(|other| *other != handle);
        }
        if let Some(epoch) = self.epochs.remove(&handle) {
            self.open_files -= usize::from(epoch.is_open());
        }
        self.resting
            .retain(|entry| entry.epoch != id || entry.key != *key);
    }

    /// Asks the index; damage that shows is noted, so that the next start makes the index again.
    async fn ask<T>(
        &mut self,
        question: impl AsyncFnOnce(&mut Index) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        let answer = question(&mut self.index).await;
        if let Err(e) = &answer
            && e.is_damage()
        {
            recover::note_damage(&self.data);
        }
        answer
    }

    /// Closes the index in an orderly way. An uncommitted window stays for recovery, as in a crash.
    ///
    /// # Errors
    /// [`IndexError`]; everything committed stands nevertheless.
    pub async fn close(mut self) -> Result<(), IndexError> {
        if self.window.is_empty() {
            self.index.set_clean(true).await?;
        }
        self.index.close().await
    }
}

/// The handle of an epoch that is not loaded.
const GONE: Handle = Handle(u64::MAX);
