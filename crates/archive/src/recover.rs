//! What happens to an archive at start: the index is checked against the witness of the last window and the segments,
//! and what a crash left beyond it is kept or cut. [`crate::witness`] says why that is right.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use offsets::Fact;

use self::walk::Walked;
use crate::api::Print;
use crate::archive::Options;
use crate::dir::Dir;
use crate::entry::{Change, Entry, LedgerMark};
use crate::epoch::existing_dir;
use crate::error::OpenError;
use crate::facts;
use crate::fault::Step;
use crate::index::Index;
use crate::name::{ARCHIVE_DIR, EpochId, Form, StreamKey};
use crate::witness::Witness;

mod behind;
mod ledgers;
mod rebuild;
mod walk;
mod whole;

pub(crate) use whole::note_damage;

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
    /// The open segment of an epoch is gone, or shorter than what was committed, while the archive is open: its handle
    /// is gone. Opened again, it goes on where its files end, which is told as [`Recovered::Missing`].
    Damaged {
        /// The stream.
        key: StreamKey,
        /// The epoch.
        epoch: EpochId,
        /// Where it ended.
        committed: u64,
        /// What is wrong with the file.
        what: String,
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
            // First of all: if this start does not come to its end, the next one must not believe what this one did
            // not believe.
            recovery.step()?;
            witness
                .overrule(root, number, options.clock.now_ms())
                .map_err(|e| OpenError::Io(data.join(ARCHIVE_DIR), e))?;
            recovery.rebuild_all(number, &mut recovered).await?
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
    // What a window told that does not stand is taken back before its files are cut: a ledger must not speak of
    // segments that are gone.
    let mut moved = recovery
        .ledgers(&mut index, &live, &ledgers, BTreeMap::new(), &mut recovered)
        .await?;
    ledgers.extend(moved.iter().cloned());
    let mut notes: BTreeMap<StreamKey, Vec<Fact>> = BTreeMap::new();
    let mut changed = Vec::new();
    for entry in &mut live {
        if let Some((what, facts)) = recovery.epoch(entry)? {
            recovered.push(what);
            notes.entry(entry.key.clone()).or_default().extend(facts);
            changed.push(entry.clone());
        }
    }
    let noted = recovery
        .ledgers(&mut index, &live, &ledgers, notes, &mut recovered)
        .await?;
    ledgers.extend(noted.iter().cloned());
    moved.extend(noted);
    let change = Change {
        entries: changed,
        ledgers: moved,
    };
    if change != Change::default() {
        recovery.step()?;
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
) -> Result<Option<(Recovered, Vec<Fact>)>, OpenError> {
    let recovery = Recovery {
        data,
        root,
        options,
    };
    recovery.epoch(entry)
}

struct Recovery<'a> {
    data: &'a Path,
    root: &'a Dir,
    options: &'a Options,
}

impl Recovery<'_> {
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
                // Found at start, the index was made again before. It is at the next one.
                note_damage(self.data);
                let mut looked = self.look(&key)?;
                let epoch = Some(entry.epoch.to_string());
                looked.facts.retain(|fact| fact.epoch == epoch);
                let mut entries = looked.entries.into_iter();
                if let Some(found) = entries.find(|found| found.epoch == entry.epoch) {
                    *entry = found;
                }
                Ok(Some((Recovered::StreamRebuilt { key }, looked.facts)))
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
        if entry.mark.tail.end > found {
            // Nothing can be said of bytes that are gone; those before them are read where they are held.
            entry.mark.tail = Print::of(entry.base, b"");
            entry.mark.in_line = false;
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

    /// Before each change to a file.
    fn step(&self) -> Result<(), OpenError> {
        let step = self.options.fault.check(Step::Recover);
        step.map_err(|e| OpenError::Io(self.data.to_owned(), e))
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

/// The index, in the data directory.
pub(crate) const INDEX: &str = "index.sqlite";
/// Where cut bytes go, in the data directory.
const QUARANTINE: &str = "quarantine";
