//! What happens to an archive at start: the index is checked against the witness of the last window and the segments,
//! and what a crash left beyond it is kept or cut. [`crate::witness`] says why that is right.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use offsets::Fact;

use self::walk::Walked;
use crate::archive::Options;
use crate::dir::Dir;
use crate::entry::{Change, Entry, LedgerMark};
use crate::epoch::existing_dir;
use crate::error::OpenError;
use crate::facts;
use crate::index::{Index, IndexError, State};
use crate::name::{ARCHIVE_DIR, EpochId, Form, StreamKey};
use crate::witness::{Record, Witness};

mod ledgers;
mod rebuild;
mod walk;

/// Something that recovery found when the archive was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recovered {
    /// The index was damaged, of an earlier version, or an older copy; it is in quarantine, and a new one was made from
    /// segments and ledgers.
    IndexRebuilt,
    /// The index did not know a stream, or knew less than one commit window can explain.
    StreamRebuilt {
        /// The stream.
        key: StreamKey,
    },
    /// An epoch held bytes beyond the index.
    Beyond {
        /// The stream.
        key: StreamKey,
        /// The epoch.
        epoch: EpochId,
        /// Where the index said it ended.
        indexed: u64,
        /// Bytes kept: whole frames that nobody sends again.
        kept: u64,
        /// Bytes cut into quarantine: a torn frame, or bytes that their sender still has.
        cut: u64,
    },
    /// Bytes that the index calls durable are not there.
    Missing {
        /// The stream.
        key: StreamKey,
        /// The epoch.
        epoch: EpochId,
        /// Where the index said it ended.
        indexed: u64,
        /// Where it ends.
        found: u64,
    },
    /// A ledger does not go on from the line that the index knew as its last: lines are gone, or were changed.
    Ledger {
        /// The stream.
        key: StreamKey,
    },
}

/// The largest frame that recovery understands, in bytes: no listener may accept larger ones.
pub const MAX_FRAME: u32 = 64 << 20;

/// What an archive begins with.
pub(crate) struct Begun {
    pub(crate) index: Index,
    pub(crate) witness: Witness,
    /// The last window that stands.
    pub(crate) number: i64,
    /// Unix milliseconds of the newest window; none: there was none.
    pub(crate) newest_ms: Option<i64>,
    pub(crate) live: Vec<Entry>,
    pub(crate) resting: Vec<Entry>,
    pub(crate) ledgers: HashMap<StreamKey, LedgerMark>,
    pub(crate) recovered: Vec<Recovered>,
}

/// Opens the index of a data directory and brings it and the segments together.
pub(crate) async fn run(data: &Path, root: &Dir, options: &Options) -> Result<Begun, OpenError> {
    let recovery = Recovery {
        data,
        root,
        options,
    };
    let (mut witness, record) =
        Witness::open(root).map_err(|e| OpenError::Io(data.join(ARCHIVE_DIR), e))?;
    let mut recovered = Vec::new();
    let mut index = match recovery.known(record.as_ref()).await? {
        Some(index) => index,
        None => {
            // Far from every number that an older copy of the index can have: the newest record may be the one that
            // is lost.
            let number = record.as_ref().map_or(0, |record| record.window)
                + 2
                + i64::from(rand::random::<u32>());
            let index = recovery.rebuild_all(number, &mut recovered).await?;
            witness
                .overrule(root, number, options.clock.now_ms())
                .map_err(|e| OpenError::Io(data.join(ARCHIVE_DIR), e))?;
            index
        }
    };
    let at_index = |e| OpenError::Index(data.to_owned(), e);
    index.set_clean(false).await.map_err(at_index)?;
    let mut live = index.live().await.map_err(at_index)?;
    let mut ledgers: HashMap<StreamKey, LedgerMark> = index
        .ledgers()
        .await
        .map_err(at_index)?
        .into_iter()
        .collect();
    live.extend(
        recovery
            .unknown_streams(&mut index, &live, &mut ledgers, &mut recovered)
            .await?,
    );
    let mut notes: BTreeMap<StreamKey, Vec<Fact>> = BTreeMap::new();
    let mut changed = Vec::new();
    for entry in &mut live {
        if let Some((what, facts)) = recovery.epoch(entry)? {
            recovered.push(what);
            notes.entry(entry.key.clone()).or_default().extend(facts);
            changed.push(entry.clone());
        }
    }
    let moved = recovery
        .ledgers(&mut index, &live, &ledgers, notes, &mut recovered)
        .await?;
    ledgers.extend(moved.iter().cloned());
    let change = Change {
        entries: changed,
        ledgers: moved,
    };
    if change != Change::default() {
        index.put(&change, None).await.map_err(at_index)?;
    }
    live.retain(|entry| entry.live);
    let state = index.state().await.map_err(at_index)?;
    Ok(Begun {
        resting: index.resting().await.map_err(at_index)?,
        number: state.window,
        newest_ms: (state.at_ms > 0).then_some(state.at_ms),
        index,
        witness,
        live,
        ledgers,
        recovered,
    })
}

/// Brings an epoch that was not live and its entry together. Nothing stands behind what the index says, unless the
/// index is a copy from before the epoch was opened, and of no older window.
pub(crate) fn settle(
    data: &Path,
    root: &Dir,
    options: &Options,
    entry: &mut Entry,
) -> Result<Option<Vec<Fact>>, OpenError> {
    let recovery = Recovery {
        data,
        root,
        options,
    };
    let settled = recovery.epoch(entry)?;
    Ok(settled.map(|(what, facts)| {
        tracing::warn!(stream = %entry.key, epoch = %entry.epoch, ?what, "an epoch held what the index did not know");
        facts
    }))
}

/// Notes that the index is damaged: the next start makes it again.
pub(crate) fn note_damage(data: &Path) {
    tracing::error!("the index is damaged; the next start makes it again");
    // Without the note the next start finds the damage as this one did.
    let _ = std::fs::write(data.join(DAMAGED), "");
}

/// Moves an index that is not to be used, and its journal, into quarantine.
fn put_aside(data: &Path, stamp: i64) -> io::Result<()> {
    let root = Dir::root(data)?;
    root.ensure(QUARANTINE)?;
    for suffix in ["", "-wal", "-shm"] {
        let name = format!("{INDEX}{suffix}");
        let to = data.join(QUARANTINE).join(format!("{stamp}.{name}"));
        match std::fs::rename(data.join(&name), to) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    root.remove_file(DAMAGED)?;
    root.sync()
}

struct Recovery<'a> {
    data: &'a Path,
    root: &'a Dir,
    options: &'a Options,
}

impl Recovery<'_> {
    /// The index, if it is the one that belongs to the segments; brought up to the witness.
    async fn known(&self, record: Option<&Record>) -> Result<Option<Index>, OpenError> {
        let path = self.data.join(INDEX);
        let at_index = |e| OpenError::Index(self.data.to_owned(), e);
        if !path.exists() && self.streams()?.is_empty() {
            // Nothing was ever archived.
            return Index::open(&path).await.map_err(at_index);
        }
        if !path.exists() || self.data.join(DAMAGED).exists() {
            return Ok(None);
        }
        let open = async || {
            let Some(mut index) = Index::open(&path).await? else {
                return Ok(None);
            };
            if !index.check(false).await? {
                return Ok(None);
            }
            let State { window, .. } = index.state().await?;
            match record {
                Some(record) if record.window == window => {}
                Some(record) if record.window == window + 1 => {
                    let Some(change) = &record.change else {
                        return Ok(None);
                    };
                    let stands = Some((record.window, record.at_ms));
                    index.put(change, stands).await?;
                }
                None if window == 0 => {}
                _ => return Ok(None),
            }
            // What the start needs can be read.
            index.live().await?;
            Ok(Some(index))
        };
        match open().await {
            Err(e) if !IndexError::is_damage(&e) => Err(at_index(e)),
            Err(_) => Ok(None),
            Ok(index) => Ok(index),
        }
    }

    /// Makes the index again from ledgers and segments, beside the old one, which it replaces when it is whole.
    async fn rebuild_all(
        &self,
        number: i64,
        recovered: &mut Vec<Recovered>,
    ) -> Result<Index, OpenError> {
        let at_index = |e| OpenError::Index(self.data.to_owned(), e);
        let io = |e| OpenError::Io(self.data.join(INDEX), e);
        let (path, new) = (self.data.join(INDEX), self.data.join(REBUILT));
        if path.exists() {
            recovered.push(Recovered::IndexRebuilt);
        }
        for suffix in ["", "-wal", "-shm"] {
            let left = self.data.join(format!("{REBUILT}{suffix}"));
            crate::segment::existing(std::fs::remove_file(left)).map_err(io)?;
        }
        let mut index = open_new(&new).await.map_err(at_index)?;
        for key in self.streams()? {
            self.rebuild(&mut index, &key).await?;
            recovered.push(Recovered::StreamRebuilt { key });
        }
        let window = Some((number, self.options.clock.now_ms()));
        index
            .put(&Change::default(), window)
            .await
            .map_err(at_index)?;
        index.close().await.map_err(at_index)?;
        put_aside(self.data, self.options.clock.now_ms()).map_err(io)?;
        std::fs::rename(&new, &path).map_err(io)?;
        Dir::root(self.data)
            .and_then(|data| data.sync())
            .map_err(io)?;
        open_new(&path).await.map_err(at_index)
    }

    /// Streams that have a directory and are not in the index; they are put there.
    async fn unknown_streams(
        &self,
        index: &mut Index,
        live: &[Entry],
        ledgers: &mut HashMap<StreamKey, LedgerMark>,
        recovered: &mut Vec<Recovered>,
    ) -> Result<Vec<Entry>, OpenError> {
        let at_index = |e| OpenError::Index(self.data.to_owned(), e);
        let mut found = Vec::new();
        for key in self.streams()? {
            if ledgers.contains_key(&key) || live.iter().any(|entry| entry.key == key) {
                continue;
            }
            if !index.newest(&key, 1).await.map_err(at_index)?.is_empty() {
                continue;
            }
            let (entries, mark) = self.rebuild(index, &key).await?;
            if !entries.is_empty() {
                recovered.push(Recovered::StreamRebuilt { key: key.clone() });
            }
            ledgers.insert(key, mark);
            found.extend(entries.into_iter().filter(|entry| entry.live));
        }
        Ok(found)
    }

    /// The streams that have a directory. Grows with the fleet, not with what it sent.
    fn streams(&self) -> Result<Vec<StreamKey>, OpenError> {
        let mut keys = Vec::new();
        let io = |e| OpenError::Io(self.data.join(ARCHIVE_DIR), e);
        for worker in self.root.names().map_err(io)? {
            let Ok(dir) = self.root.open(&worker) else {
                continue;
            };
            for stream in dir.names().map_err(io)? {
                if let Ok(key) = StreamKey::new(&worker, &stream)
                    && dir.open(&stream).is_ok()
                {
                    keys.push(key);
                }
            }
        }
        Ok(keys)
    }

    /// Brings one epoch and its entry together, with the facts to be told; `None` when they agree.
    fn epoch(&self, entry: &mut Entry) -> Result<Option<(Recovered, Vec<Fact>)>, OpenError> {
        let key = entry.key.clone();
        let io = |e| self.io(&key, e);
        let indexed = entry.mark.end;
        let Some(dir) = existing_dir(self.root, &key, entry.epoch).map_err(io)? else {
            // The index knows an epoch before its directory is made.
            let open = entry.mark.segment;
            return Ok(open.map(|(base, _)| self.missing(entry, base)));
        };
        let before = facts::recovery(entry);
        let walked = match entry.form {
            Form::Frames => self.keep_frames(&dir, entry).map_err(io)?,
            Form::Log => self.cut_log(&dir, entry).map_err(io)?,
        };
        match walked {
            Walked::Agrees => Ok(None),
            Walked::Short(found) => {
                let missing = self.missing(entry, found);
                walk::read_prints(&dir, entry).map_err(io)?;
                Ok(Some(missing))
            }
            Walked::Wrong => {
                let looked = self.look(&key)?;
                if let Some(found) = looked
                    .entries
                    .into_iter()
                    .find(|found| found.epoch == entry.epoch)
                {
                    *entry = Entry {
                        live: true,
                        ..found
                    };
                }
                Ok(Some((Recovered::StreamRebuilt { key }, Vec::new())))
            }
            Walked::Beyond { end, cut, facts } => {
                entry.mark.end = end;
                walk::read_prints(&dir, entry).map_err(io)?;
                let kept = end - indexed;
                let mut first = before;
                first.len = Some(kept);
                first.more.insert("cut".to_owned(), cut.into());
                let what = Recovered::Beyond {
                    key,
                    epoch: entry.epoch,
                    indexed,
                    kept,
                    cut,
                };
                Ok(Some((what, [vec![first], facts].concat())))
            }
        }
    }

    /// The epoch lost bytes: it goes on from what is there.
    fn missing(&self, entry: &mut Entry, found: u64) -> (Recovered, Vec<Fact>) {
        let indexed = entry.mark.end;
        entry.mark.end = found;
        if entry.mark.segment.is_some_and(|(base, _)| base >= found) {
            entry.mark.segment = None;
        }
        entry.mark.rolled = None;
        let mut fact = facts::recovery(entry);
        fact.more
            .insert("missing".to_owned(), (indexed - found).into());
        let what = Recovered::Missing {
            key: entry.key.clone(),
            epoch: entry.epoch,
            indexed,
            found,
        };
        (what, vec![fact])
    }

    fn stream_path(&self, key: &StreamKey) -> PathBuf {
        self.data
            .join(ARCHIVE_DIR)
            .join(key.worker())
            .join(key.stream())
    }

    fn io(&self, key: &StreamKey, e: io::Error) -> OpenError {
        OpenError::Io(self.stream_path(key), e)
    }
}

async fn open_new(path: &Path) -> Result<Index, IndexError> {
    let index = Index::open(path).await?;
    index.ok_or_else(|| IndexError::Value("user_version".to_owned()))
}

/// The index, in the data directory.
pub(crate) const INDEX: &str = "index.sqlite";
/// The index while it is made again.
const REBUILT: &str = "index-new.sqlite";
/// Says that the index is not to be used.
const DAMAGED: &str = "index.damaged";
/// Where cut bytes go, in the data directory.
const QUARANTINE: &str = "quarantine";
