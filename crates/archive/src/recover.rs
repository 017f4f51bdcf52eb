//! What happens to an archive at start: the index is checked against the segments, and what a crash left beyond it
//! is kept or cut.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use offsets::Fact;

use self::walk::{Walked, segment_len};
use crate::archive::{now_ms, write_ledger};
use crate::dir::Dir;
use crate::error::OpenError;
use crate::index::{Entry, Index, PROOF, Proof};
use crate::name::{ARCHIVE_DIR, EpochId, Form, StreamKey, parse_segment};
use crate::segment::{bases, fact, read_back};

mod walk;

/// Something that recovery found when the archive was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recovered {
    /// The index was damaged; it is in quarantine, and a new one was made from segments and ledgers.
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
}

/// The largest frame that recovery understands, in bytes: no listener may accept larger ones.
pub const MAX_FRAME: u32 = 64 << 20;

/// Opens the index of a data directory and brings it and the segments together.
pub(crate) async fn run(
    data: &Path,
    root: &Dir,
    window_bytes: u64,
) -> Result<(Index, Vec<Entry>, Vec<Recovered>), OpenError> {
    let mut found = Vec::new();
    let at_index = |e| OpenError::Index(data.to_owned(), e);
    let (mut index, mut entries, known) = open_index(data, &mut found).await?;
    let recovery = Recovery {
        data,
        root,
        window_bytes,
    };
    let mut changed = Vec::new();
    for key in recovery.streams()? {
        if !known.contains(&key) {
            found.push(Recovered::StreamRebuilt { key: key.clone() });
            let rebuilt = recovery.rebuild(&key)?;
            index.put(&rebuilt).await.map_err(at_index)?;
            entries.extend(rebuilt);
        }
    }
    for entry in &mut entries {
        if let Some(what) = recovery.epoch(entry)? {
            found.push(what);
            changed.push(entry.clone());
        }
    }
    if !changed.is_empty() {
        index.put(&changed).await.map_err(at_index)?;
    }
    entries.retain(|entry| entry.end.is_none());
    Ok((index, entries, found))
}

type Opened = (Index, Vec<Entry>, HashSet<StreamKey>);

async fn open_index(data: &Path, found: &mut Vec<Recovered>) -> Result<Opened, OpenError> {
    let path = data.join(INDEX);
    let read = async || {
        let mut index = Index::open(&path).await?;
        if !index.check().await? {
            return Ok(None);
        }
        let entries = index.open_epochs().await?;
        let known = index.streams().await?.into_iter().collect();
        Ok(Some((index, entries, known)))
    };
    match read().await {
        Ok(Some(opened)) => return Ok(opened),
        Err(e) if !crate::IndexError::is_damage(&e) => {
            return Err(OpenError::Index(data.to_owned(), e));
        }
        _ => {}
    }
    found.push(Recovered::IndexRebuilt);
    put_aside(data).map_err(|e| OpenError::Io(path.clone(), e))?;
    match read().await {
        Ok(Some(opened)) => Ok(opened),
        Ok(None) => Err(OpenError::Io(
            path.clone(),
            io::ErrorKind::InvalidData.into(),
        )),
        Err(e) => Err(OpenError::Index(data.to_owned(), e)),
    }
}

/// Moves a damaged index and its journal into quarantine.
fn put_aside(data: &Path) -> io::Result<()> {
    let root = Dir::root(data)?;
    root.ensure(QUARANTINE)?;
    let stamp = now_ms();
    for suffix in ["", "-wal", "-shm"] {
        let name = format!("{INDEX}{suffix}");
        match std::fs::rename(
            data.join(&name),
            data.join(QUARANTINE).join(format!("{stamp}.{name}")),
        ) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    root.sync()
}

struct Recovery<'a> {
    data: &'a Path,
    root: &'a Dir,
    window_bytes: u64,
}

impl Recovery<'_> {
    /// The streams that have a directory. Grows with the fleet, not with what it sent.
    fn streams(&self) -> Result<Vec<StreamKey>, OpenError> {
        let mut keys = Vec::new();
        let io = |e| OpenError::Io(self.data.join(ARCHIVE_DIR), e);
        for worker in self.root.names().map_err(io)? {
            let Ok(dir) = self.root.open(&worker) else {
                continue;
            };
            for stream in dir.names().map_err(io)? {
                if let Ok(key) = StreamKey::new(&worker, &stream) {
                    keys.push(key);
                }
            }
        }
        Ok(keys)
    }

    /// Entries for all epochs of a stream, from their directories: segments say what is there, and the newest one is
    /// read again by [`Recovery::epoch`].
    fn rebuild(&self, key: &StreamKey) -> Result<Vec<Entry>, OpenError> {
        let io = |e| self.io(key, e);
        let stream = self
            .root
            .open(key.worker())
            .and_then(|dir| dir.open(key.stream()))
            .map_err(io)?;
        let mut entries = Vec::new();
        for name in stream.names().map_err(io)? {
            let Ok(epoch) = EpochId::parse(&name) else {
                continue;
            };
            let dir = stream.open(&name).map_err(io)?;
            let names = dir.names().map_err(io)?;
            let Some((base, form)) = names.iter().find_map(|name| parse_segment(name)) else {
                continue;
            };
            let last = bases(&dir, form)
                .map_err(io)?
                .last()
                .copied()
                .unwrap_or(base);
            let committed = match form {
                // Whole frames are counted from the newest segment's start.
                Form::Frames => last,
                Form::Log => last + segment_len(&dir, last, form).map_err(io)?,
            };
            entries.push(Entry {
                key: key.clone(),
                epoch,
                form,
                opened_ms: now_ms(),
                base,
                committed,
                segment: Some((last, now_ms())),
                head: Proof::of(
                    &read_back(&dir, form, base, (base + PROOF as u64).min(committed))
                        .map_err(io)?,
                ),
                tail: Proof::of(&read_back(&dir, form, base, committed).map_err(io)?),
                end: None,
            });
        }
        Ok(entries)
    }

    /// Brings one epoch and its entry together; `None` when they agree.
    fn epoch(&self, entry: &mut Entry) -> Result<Option<Recovered>, OpenError> {
        let key = entry.key.clone();
        let io = |e| self.io(&key, e);
        let indexed = entry.committed;
        let path = [key.worker(), key.stream(), &entry.epoch.to_string()]
            .iter()
            .try_fold(None, |dir: Option<Dir>, name| {
                dir.as_ref().unwrap_or(self.root).open(name).map(Some)
            });
        let dir = match path {
            Ok(Some(dir)) => dir,
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io(e)),
            // The index knows an epoch before its directory is made.
            _ if indexed == entry.base => return Ok(None),
            _ => return Ok(Some(missing(entry, entry.base))),
        };
        let walked = match entry.form {
            Form::Frames => self.keep_frames(&dir, entry).map_err(io)?,
            Form::Log => self.cut_log(&dir, entry).map_err(io)?,
        };
        let (what, facts) = match walked {
            Walked::Agrees => return Ok(None),
            Walked::Short(found) => (missing(entry, found), Vec::new()),
            Walked::Wrong(end) => {
                entry.committed = end;
                (Recovered::StreamRebuilt { key: key.clone() }, Vec::new())
            }
            Walked::Beyond { end, cut, facts } => {
                entry.committed = end;
                let kept = end - indexed;
                (
                    Recovered::Beyond {
                        key: key.clone(),
                        epoch: entry.epoch,
                        indexed,
                        kept,
                        cut,
                    },
                    facts,
                )
            }
        };
        self.note(entry, &what, facts)?;
        let head_end = (entry.base + PROOF as u64).min(entry.committed);
        entry.head = Proof::of(&read_back(&dir, entry.form, entry.base, head_end).map_err(io)?);
        entry.tail =
            Proof::of(&read_back(&dir, entry.form, entry.base, entry.committed).map_err(io)?);
        Ok(Some(what))
    }

    /// Ledgers what recovery did, before the index says it.
    fn note(&self, entry: &Entry, what: &Recovered, mut facts: Vec<Fact>) -> Result<(), OpenError> {
        let path = self
            .data
            .join(ARCHIVE_DIR)
            .join(entry.key.worker())
            .join(entry.key.stream());
        let (indexed, kept, cut) = match *what {
            Recovered::Beyond {
                indexed, kept, cut, ..
            } => (indexed, kept, cut),
            Recovered::Missing { indexed, found, .. } => (found, 0, indexed - found),
            _ => (entry.committed, 0, 0),
        };
        let mut recovery = fact("recovery", entry.epoch, indexed);
        recovery.len = Some(kept);
        recovery.more.insert("cut".to_owned(), cut.into());
        facts.push(recovery);
        Ok(write_ledger(&path, &facts)?)
    }

    fn io(&self, key: &StreamKey, e: io::Error) -> OpenError {
        OpenError::Io(
            self.data
                .join(ARCHIVE_DIR)
                .join(key.worker())
                .join(key.stream()),
            e,
        )
    }
}

/// The epoch lost bytes: it goes on from what is there.
fn missing(entry: &mut Entry, found: u64) -> Recovered {
    let indexed = entry.committed;
    entry.committed = found;
    if entry.segment.is_some_and(|(base, _)| base >= found) {
        entry.segment = None;
    }
    Recovered::Missing {
        key: entry.key.clone(),
        epoch: entry.epoch,
        indexed,
        found,
    }
}

/// The index, in the data directory.
pub(crate) const INDEX: &str = "index.sqlite";
/// Where cut bytes go, in the data directory.
const QUARANTINE: &str = "quarantine";
