//! What happens to an archive at start: the index is checked against the segments, and what a crash left beyond it
//! is kept or cut.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use framing::Decoder;
use offsets::{Entries, Fact};

use crate::archive::{LEDGER, OpenError, now_ms, write_ledger};
use crate::dir::Dir;
use crate::epoch::{bases, closed, fact, hash_file, is_full, read_back};
use crate::index::{Entry, Index, PROOF, Proof};
use crate::name::{ARCHIVE_DIR, EpochId, Form, StreamKey, parse_segment, segment_name};

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

    /// Keeps every whole frame beyond the index, across segments, and cuts a torn one.
    fn keep_frames(&self, dir: &Dir, entry: &mut Entry) -> io::Result<Walked> {
        let mut end = entry.committed;
        let mut facts = Vec::new();
        let mut cut = 0;
        let mut base = match entry.segment {
            Some((base, _)) => base,
            None if has_segment(dir, end, entry.form)? => end,
            None => return Ok(Walked::Agrees),
        };
        if end == entry.base {
            facts.push(fact("epoch", entry.epoch, end));
        }
        if entry.segment.is_none() {
            facts.push(fact("opened", entry.epoch, base));
        }
        let mut ledgered = None;
        loop {
            let mut file = dir.open_file(&segment_name(base, entry.form), true)?;
            let len = file.metadata()?.len();
            if base + len < end {
                return Ok(Walked::Short(base + len));
            }
            let whole = whole_frames(&mut file, end - base)?;
            if base + len > end {
                file.sync_data()?;
            }
            end += whole;
            if base + len > end {
                cut = base + len - end;
                self.quarantine(&mut file, entry, end, end - base)?;
                file.set_len(end - base)?;
                file.sync_data()?;
            }
            entry.segment = Some((base, entry.segment.map_or_else(now_ms, |(_, since)| since)));
            if cut > 0 || end == base || !has_segment(dir, end, entry.form)? {
                break;
            }
            let known = match &mut ledgered {
                Some(known) => known,
                none => none.insert(self.closed_bases(entry)),
            };
            if !known.contains(&base) {
                facts.push(closed(
                    entry.epoch,
                    base,
                    end - base,
                    hash_file(&mut file, end - base)?,
                ));
                facts.push(fact("opened", entry.epoch, end));
            }
            base = end;
        }
        dir.sync()?;
        if end == entry.committed && cut == 0 {
            return Ok(Walked::Agrees);
        }
        Ok(Walked::Beyond { end, cut, facts })
    }

    /// Cuts what a `.log` epoch holds beyond the index, into quarantine: its sender still has it. More than a commit
    /// window can explain means that the index is wrong, and the segments are right.
    fn cut_log(&self, dir: &Dir, entry: &mut Entry) -> io::Result<Walked> {
        let end = entry.committed;
        let current = entry.segment.map(|(base, _)| base);
        let later: Vec<u64> = bases(dir, entry.form)?
            .into_iter()
            .filter(|&base| base >= end && Some(base) != current)
            .collect();
        let held = match current {
            Some(base) => base + segment_len(dir, base, entry.form)?,
            None => end,
        };
        if held < end {
            return Ok(Walked::Short(held));
        }
        let mut beyond = held - end;
        for &base in &later {
            beyond += segment_len(dir, base, entry.form)?;
        }
        if beyond > self.window_bytes {
            let last = later.last().copied().or(current).unwrap_or(end);
            entry.segment = Some((last, now_ms()));
            return Ok(Walked::Wrong(last + segment_len(dir, last, entry.form)?));
        }
        if beyond == 0 && later.is_empty() {
            return Ok(Walked::Agrees);
        }
        for &base in later.iter().rev() {
            let name = segment_name(base, entry.form);
            self.quarantine(&mut dir.open_file(&name, false)?, entry, base, 0)?;
            dir.remove_file(&name)?;
        }
        dir.sync()?;
        if let Some(base) = current
            && held > end
        {
            let mut file = dir.open_file(&segment_name(base, entry.form), true)?;
            self.quarantine(&mut file, entry, end, end - base)?;
            file.set_len(end - base)?;
            file.sync_data()?;
        }
        Ok(Walked::Beyond {
            end,
            cut: beyond,
            facts: Vec::new(),
        })
    }

    /// Copies a file from `from` on into quarantine, named by stream, epoch and offset. Without room it goes without:
    /// what is cut is nothing that was ever acknowledged.
    fn quarantine(&self, file: &mut File, entry: &Entry, offset: u64, from: u64) -> io::Result<()> {
        let mut copy = || {
            let dir = Dir::root(self.data)?.ensure(QUARANTINE)?;
            let (worker, stream) = (entry.key.worker(), entry.key.stream());
            let name = format!(
                "{}.{worker}.{stream}.{}.{offset:020}",
                now_ms(),
                entry.epoch
            );
            dir.remove_file(&name)?;
            let mut out = dir.create_file(&name)?;
            file.seek(SeekFrom::Start(from))?;
            io::copy(file, &mut out)?;
            out.flush()?;
            out.sync_data()?;
            dir.sync()
        };
        match copy() {
            Err(e) if is_full(&e) => {
                tracing::warn!(stream = %entry.key, offset, "no room for quarantine");
                Ok(())
            }
            other => other,
        }
    }

    /// Segments of an epoch that the ledger calls closed.
    fn closed_bases(&self, entry: &Entry) -> HashSet<u64> {
        let path = self
            .data
            .join(ARCHIVE_DIR)
            .join(entry.key.worker())
            .join(entry.key.stream())
            .join(LEDGER);
        let epoch = entry.epoch.to_string();
        let facts = Entries::open(path).into_iter().flatten().flatten();
        facts
            .filter(|fact| fact["kind"] == "closed" && fact["epoch"] == epoch.as_str())
            .filter_map(|fact| fact["base"].as_u64())
            .collect()
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

/// How an epoch's files compare with its entry.
enum Walked {
    Agrees,
    /// They end here, before the indexed end.
    Short(u64),
    /// They end here, further than a commit window can explain.
    Wrong(u64),
    Beyond {
        end: u64,
        cut: u64,
        facts: Vec<Fact>,
    },
}

/// The epoch lost bytes: it goes on from what is there.
fn missing(entry: &mut Entry, found: u64) -> Recovered {
    let indexed = entry.committed;
    entry.committed = found;
    if found == entry.base {
        entry.segment = None;
    }
    Recovered::Missing {
        key: entry.key.clone(),
        epoch: entry.epoch,
        indexed,
        found,
    }
}

fn segment_len(dir: &Dir, base: u64, form: Form) -> io::Result<u64> {
    Ok(dir
        .open_file(&segment_name(base, form), false)?
        .metadata()?
        .len())
}

fn has_segment(dir: &Dir, base: u64, form: Form) -> io::Result<bool> {
    match dir.open_file(&segment_name(base, form), false) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// How many bytes from `from` on are whole frames.
fn whole_frames(file: &mut File, from: u64) -> io::Result<u64> {
    file.seek(SeekFrom::Start(from))?;
    let decoder = Decoder::new(MAX_FRAME);
    let mut whole = 0;
    let mut buf = Vec::new();
    loop {
        let read = file.take(READ as u64).read_to_end(&mut buf)?;
        let (batch, broken) = match decoder.whole(&buf) {
            Ok(batch) => (batch, false),
            Err((batch, _)) => (batch, true),
        };
        whole += batch.len as u64;
        if broken || read == 0 {
            return Ok(whole);
        }
        buf.drain(..batch.len);
    }
}

/// How much is read at a time.
const READ: usize = 1 << 20;
/// The index, in the data directory.
pub(crate) const INDEX: &str = "index.sqlite";
/// Where cut bytes go, in the data directory.
const QUARANTINE: &str = "quarantine";
