//! One epoch being written: its open segment, what the current window added, and the way back when that is void.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use offsets::Fact;

use crate::dir::Dir;
use crate::fault::{Fault, Step};
use crate::index::{Entry, PROOF, Proof};
use crate::name::{EpochId, Form, StreamKey, segment_name};
use crate::segment::{closed, fact, hash_file, is_full, is_old, push_tail, read_back};

/// When a segment is closed and the next one begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SegmentLimits {
    pub(crate) max_bytes: u64,
    pub(crate) max_age: Duration,
}

/// Where an epoch stands: its end, and its open segment's base and opening time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) end: u64,
    pub(crate) segment: Option<(u64, i64)>,
}

/// An epoch that can be appended to. Files and proofs are loaded at the first append.
#[derive(Debug)]
pub(crate) struct Epoch {
    pub(crate) key: StreamKey,
    pub(crate) id: EpochId,
    pub(crate) form: Form,
    opened_ms: i64,
    pub(crate) base: u64,
    /// What the index says.
    pub(crate) committed: Mark,
    /// What the files hold, the current window included.
    pub(crate) now: Mark,
    pub(crate) end: Option<u64>,
    head: Proof,
    tail: Proof,
    open: Option<Open>,
    /// Segments that the current window closed; still to be synced.
    closing: Vec<Closing>,
    /// Bases of segments that the current window made.
    created: Vec<u64>,
    facts: Vec<Fact>,
    /// Whether the current window has anything of this epoch.
    pub(crate) touched: bool,
}

/// What is only held while an epoch is being written.
#[derive(Debug, Default)]
struct Open {
    file: Option<File>,
    /// The hash of the open segment so far; none when it has to be read again at the close.
    hasher: Option<Box<blake3::Hasher>>,
    /// The first bytes, as long as they are fewer than [`PROOF`].
    head: Vec<u8>,
    /// The last bytes, at most [`PROOF`].
    tail: Vec<u8>,
}

#[derive(Debug)]
struct Closing {
    file: File,
    base: u64,
    len: u64,
    hash: Option<blake3::Hash>,
}

/// Why bytes could not be appended.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// No room; the epoch is as it was before the call.
    Full(io::Error),
    /// Anything else; the window has to be voided.
    Failed(io::Error),
}

impl Epoch {
    /// A new epoch that starts at `base`.
    pub(crate) fn new(key: StreamKey, id: EpochId, form: Form, base: u64, now_ms: i64) -> Epoch {
        let proof = Proof::of(b"");
        let entry = Entry {
            key,
            epoch: id,
            form,
            opened_ms: now_ms,
            base,
            committed: base,
            segment: None,
            head: proof,
            tail: proof,
            end: None,
        };
        Epoch::from_entry(entry)
    }

    /// An epoch as the index knows it.
    pub(crate) fn from_entry(entry: Entry) -> Epoch {
        let mark = Mark {
            end: entry.committed,
            segment: entry.segment,
        };
        Epoch {
            key: entry.key,
            id: entry.epoch,
            form: entry.form,
            opened_ms: entry.opened_ms,
            base: entry.base,
            committed: mark,
            now: mark,
            end: entry.end,
            head: entry.head,
            tail: entry.tail,
            open: None,
            closing: Vec::new(),
            created: Vec::new(),
            facts: Vec::new(),
            touched: false,
        }
    }

    /// What the index shall say when the current window stands.
    pub(crate) fn entry(&self) -> Entry {
        let (head, tail) = match &self.open {
            Some(open) => (self.head_of(open), Proof::of(&open.tail)),
            None => (self.head, self.tail),
        };
        Entry {
            key: self.key.clone(),
            epoch: self.id,
            form: self.form,
            opened_ms: self.opened_ms,
            base: self.base,
            committed: self.now.end,
            segment: self.now.segment,
            head,
            tail,
            end: self.end,
        }
    }

    fn head_of(&self, open: &Open) -> Proof {
        if self.head.len >= PROOF as u64 {
            self.head
        } else {
            Proof::of(&open.head)
        }
    }

    /// The epoch's directory, made if need be.
    pub(crate) fn dir(&self, root: &Dir) -> io::Result<Dir> {
        root.ensure(self.key.worker())?
            .ensure(self.key.stream())?
            .ensure(&self.id.to_string())
    }

    /// Whether a file of this epoch is held open.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Lets go of the file and the buffers; the next append loads them again.
    pub(crate) fn release(&mut self) {
        debug_assert!(!self.touched, "a window holds on to its files");
        self.open = None;
    }

    /// Appends bytes behind the last ones. Nothing is durable before the window is committed.
    pub(crate) fn append(
        &mut self,
        root: &Dir,
        bytes: &[u8],
        now_ms: i64,
        limits: SegmentLimits,
        fault: &Fault,
    ) -> Result<(), WriteError> {
        self.load(root).map_err(WriteError::Failed)?;
        self.touched = true;
        if let Some((base, since_ms)) = self.now.segment {
            let full = self.now.end - base + bytes.len() as u64 > limits.max_bytes;
            if self.now.end > base && (full || is_old(since_ms, now_ms, limits.max_age)) {
                self.close_segment().map_err(WriteError::Failed)?;
            }
        }
        if self.now.segment.is_none() {
            self.create_segment(root, now_ms, fault)?;
        }
        self.write(bytes, fault)
    }

    /// Closes the open segment if it has bytes and is older than `max_age`; whether it did.
    pub(crate) fn close_aged(
        &mut self,
        root: &Dir,
        now_ms: i64,
        max_age: Duration,
    ) -> io::Result<bool> {
        match self.now.segment {
            Some((base, since_ms)) if self.now.end > base && is_old(since_ms, now_ms, max_age) => {
                self.load(root)?;
                self.touched = true;
                self.close_segment()?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn write(&mut self, bytes: &[u8], fault: &Fault) -> Result<(), WriteError> {
        let (Some(open), Some((base, _))) = (&mut self.open, self.now.segment) else {
            return Err(WriteError::Failed(io::Error::other("no open segment")));
        };
        let Some(file) = &open.file else {
            return Err(WriteError::Failed(io::Error::other("no open file")));
        };
        let at = self.now.end - base;
        if let Err(error) = fault
            .check(Step::Write)
            .and_then(|()| file.write_all_at(bytes, at))
        {
            // Cut off what did get in, so that the epoch is as before.
            return match (is_full(&error), file.set_len(at)) {
                (true, Ok(())) => Err(WriteError::Full(error)),
                _ => Err(WriteError::Failed(error)),
            };
        }
        if let Some(hasher) = &mut open.hasher {
            hasher.update(bytes);
        }
        if self.head.len < PROOF as u64 && open.head.len() < PROOF {
            open.head
                .extend_from_slice(&bytes[..bytes.len().min(PROOF - open.head.len())]);
        }
        push_tail(&mut open.tail, bytes);
        self.now.end += bytes.len() as u64;
        Ok(())
    }

    /// Opens the segment and reads back the proofs, unless that was done.
    fn load(&mut self, root: &Dir) -> io::Result<()> {
        if self.open.is_some() {
            return Ok(());
        }
        let mut open = Open::default();
        if self.now.end > self.base || self.now.segment.is_some() {
            let dir = self.dir(root)?;
            open.file = self.open_segment(&dir)?;
            open.tail = read_back(&dir, self.form, self.base, self.now.end)?;
            if self.head.len < PROOF as u64 {
                let head_end = (self.base + PROOF as u64).min(self.now.end);
                open.head = read_back(&dir, self.form, self.base, head_end)?;
            }
        }
        self.open = Some(open);
        Ok(())
    }

    fn open_segment(&self, dir: &Dir) -> io::Result<Option<File>> {
        let Some((base, _)) = self.now.segment else {
            return Ok(None);
        };
        let file = dir.open_file(&segment_name(base, self.form), true)?;
        let (len, want) = (file.metadata()?.len(), self.now.end - base);
        if len < want {
            let what = format!(
                "segment {base} of {} holds {len} bytes, the index says {want}",
                self.key
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        if len > want {
            // Only a voided window of ours leaves bytes here: recovery ran before.
            file.set_len(want)?;
        }
        Ok(Some(file))
    }

    fn create_segment(&mut self, root: &Dir, now_ms: i64, fault: &Fault) -> Result<(), WriteError> {
        let make = || {
            fault.check(Step::Create)?;
            let dir = self.dir(root)?;
            let name = segment_name(self.now.end, self.form);
            // One that a voided window left behind holds nothing that stands.
            dir.remove_file(&name)?;
            dir.create_file(&name)
        };
        let file = make().map_err(|e| {
            if is_full(&e) {
                WriteError::Full(e)
            } else {
                WriteError::Failed(e)
            }
        })?;
        let base = self.now.end;
        if base == self.base {
            self.facts.push(self.fact("epoch", base));
        }
        self.facts.push(self.fact("opened", base));
        self.created.push(base);
        self.now.segment = Some((base, now_ms));
        let open = self.open.get_or_insert_default();
        open.file = Some(file);
        open.hasher = Some(Box::default());
        Ok(())
    }

    fn close_segment(&mut self) -> io::Result<()> {
        let (Some(open), Some((base, _))) = (&mut self.open, self.now.segment) else {
            return Ok(());
        };
        let Some(file) = open.file.take() else {
            return Err(io::Error::other("no open file"));
        };
        let hash = open.hasher.take().map(|hasher| hasher.finalize());
        self.closing.push(Closing {
            file,
            base,
            len: self.now.end - base,
            hash,
        });
        self.now.segment = None;
        Ok(())
    }

    /// Makes the bytes of the current window, and the names of its files, durable.
    pub(crate) fn sync(&self, root: &Dir) -> io::Result<()> {
        let open = self.open.as_ref().and_then(|open| open.file.as_ref());
        for file in self.closing.iter().map(|c| &c.file).chain(open) {
            file.sync_data()?;
        }
        if self.created.contains(&self.base) {
            // The epoch's first segment: the directories above it may be new as well.
            let worker = root.ensure(self.key.worker())?;
            worker.ensure(self.key.stream())?.sync()?;
            worker.sync()?;
            root.sync()?;
        }
        if !self.created.is_empty() {
            self.dir(root)?.sync()?;
        }
        Ok(())
    }

    /// The facts of the current window, for the ledger.
    pub(crate) fn take_facts(&mut self) -> io::Result<Vec<Fact>> {
        let mut facts = std::mem::take(&mut self.facts);
        for closing in &mut self.closing {
            let hash = match closing.hash {
                Some(hash) => hash,
                None => hash_file(&mut closing.file, closing.len)?,
            };
            // A segment is closed before the next one is opened.
            let opened = facts
                .iter()
                .position(|f| f.kind == "opened" && f.base == Some(closing.base));
            facts.insert(
                opened.map_or(0, |at| at + 1),
                closed(self.id, closing.base, closing.len, hash),
            );
        }
        Ok(facts)
    }

    fn fact(&self, kind: &str, base: u64) -> Fact {
        fact(kind, self.id, base)
    }

    /// Remembers that the index now says what the files hold.
    pub(crate) fn stand(&mut self, entry: &Entry) {
        debug_assert_eq!(
            entry.committed, self.now.end,
            "the index says what the files hold"
        );
        self.committed = self.now;
        self.head = entry.head;
        self.tail = entry.tail;
        if let Some(open) = &mut self.open
            && self.head.len >= PROOF as u64
        {
            open.head = Vec::new();
        }
        self.closing.clear();
        self.created.clear();
        self.facts.clear();
        self.touched = false;
    }

    /// Goes back to what the index says: files are closed, opened again and cut.
    pub(crate) fn void(&mut self, root: &Dir, fault: &Fault) -> io::Result<()> {
        self.open = None;
        self.closing.clear();
        self.facts.clear();
        fault.check(Step::Cut)?;
        let dir = self.dir(root)?;
        for &base in &self.created {
            dir.remove_file(&segment_name(base, self.form))?;
        }
        if !self.created.is_empty() {
            dir.sync()?;
        }
        self.now = self.committed;
        // Cuts the segment to what is committed.
        self.open_segment(&dir)?;
        self.created.clear();
        self.touched = false;
        Ok(())
    }
}
