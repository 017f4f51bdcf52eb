//! One epoch being written: its open segment, what the current window added, and the way back when that is void.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use offsets::Fact;

use crate::api::{Origin, Print, Stand};
use crate::dir::Dir;
use crate::entry::{Closed, Entry, HexNode, Mark, PROOF};
use crate::facts;
use crate::fault::{Fault, Step};
use crate::name::{EpochId, Form, StreamKey, segment_name};
use crate::pieces::{Node, Pieces, whole};
use crate::segment::{Segment, existing, read_back};

mod writing;

pub(crate) use writing::WriteError;

/// When a segment is closed and the next one begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SegmentLimits {
    pub(crate) max_bytes: u64,
    pub(crate) max_age: Duration,
}

/// An epoch that can be appended to. Files, hashes and proofs are loaded at the first append.
#[derive(Debug)]
pub(crate) struct Epoch {
    pub(crate) key: StreamKey,
    pub(crate) id: EpochId,
    pub(crate) form: Form,
    origin: Origin,
    opened_ms: i64,
    pub(crate) moved_ms: i64,
    pub(crate) base: u64,
    /// What the index says.
    pub(crate) committed: Mark,
    /// What the files hold, the current window included. Its prints are behind while the epoch is written.
    pub(crate) now: Mark,
    /// Hashes of the committed whole pieces of the committed open segment.
    pieces: Vec<Node>,
    open: Option<Open>,
    /// Segments that the current window closed; still to be synced.
    closing: Vec<(File, Closed)>,
    /// Bases of segments that the current window made.
    created: Vec<u64>,
    facts: Vec<Fact>,
    /// Whether the current window has anything of this epoch.
    pub(crate) touched: bool,
    /// Whether the window lists it.
    pub(crate) listed: bool,
    /// It is let go of when the window stands.
    pub(crate) leaving: bool,
}

/// What is only held while an epoch is being written.
#[derive(Debug, Default)]
struct Open {
    file: Option<File>,
    /// The hash of the open segment so far.
    pieces: Pieces,
    /// The first bytes, while there is room for more of them.
    head: Option<Vec<u8>>,
    /// The last bytes since the last gap, at most [`PROOF`].
    tail: Vec<u8>,
}

impl Epoch {
    /// An epoch as the index knows it.
    pub(crate) fn from_entry(mut entry: Entry) -> Epoch {
        let begun = entry.mark.segment.map(|(base, _)| base);
        let len = begun.map_or(0, |base| entry.mark.end.saturating_sub(base));
        entry.pieces.1.truncate(whole(len));
        Epoch {
            key: entry.key,
            id: entry.epoch,
            form: entry.form,
            origin: Origin {
                after: entry.after,
                of: entry.of,
            },
            opened_ms: entry.opened_ms,
            moved_ms: entry.moved_ms,
            base: entry.base,
            now: entry.mark.clone(),
            committed: entry.mark,
            pieces: entry.pieces.1.into_iter().map(|node| node.0).collect(),
            open: None,
            closing: Vec::new(),
            created: Vec::new(),
            facts: Vec::new(),
            touched: false,
            listed: false,
            leaving: false,
        }
    }

    /// The epoch as the index knows it, but for the pieces.
    pub(crate) fn committed_entry(&self) -> Entry {
        Entry {
            key: self.key.clone(),
            epoch: self.id,
            form: self.form,
            after: self.origin.after,
            of: self.origin.of,
            opened_ms: self.opened_ms,
            moved_ms: self.moved_ms,
            base: self.base,
            mark: self.committed.clone(),
            live: true,
            pieces: (0, Vec::new()),
            closed: Vec::new(),
        }
    }

    /// What the index shall say when the current window stands.
    pub(crate) fn entry(&mut self, now_ms: i64) -> Entry {
        self.print();
        let same = self.same_segment();
        let known = if same { self.pieces.len() } else { 0 };
        let all = self
            .open
            .as_ref()
            .map_or(&[][..], |open| open.pieces.whole());
        let new = if self.now.segment.is_some() {
            all.get(known..).unwrap_or_default()
        } else {
            &[]
        };
        Entry {
            moved_ms: now_ms,
            mark: self.now.clone(),
            live: !self.leaving && !self.now.sealed,
            pieces: (known, new.iter().copied().map(HexNode).collect()),
            closed: self
                .closing
                .iter()
                .map(|(_, closed)| closed.clone())
                .collect(),
            ..self.committed_entry()
        }
    }

    /// Whether the open segment is the one that was open before the window.
    fn same_segment(&self) -> bool {
        let base = |mark: &Mark| mark.segment.map(|(base, _)| base);
        base(&self.now) == base(&self.committed)
    }

    /// Brings the prints up to the bytes.
    fn print(&mut self) {
        let Some(open) = &self.open else { return };
        if let Some(head) = open.head.as_ref().filter(|head| !head.is_empty()) {
            let start = self.now.head.end - u64::from(self.now.head.len);
            self.now.head = Print::of(start + head.len() as u64, head);
        }
        if let Some(last) = open.tail.last() {
            self.now.tail = Print::of(self.now.end, &open.tail);
            self.now.in_line = *last != b'\n';
        }
    }

    /// Where the epoch stands by what is committed.
    pub(crate) fn stand(&self, ledger: [u8; 32]) -> Stand {
        let Mark {
            end,
            tail,
            in_line,
            sealed,
            ..
        } = self.committed;
        Stand {
            end,
            tail,
            in_line,
            sealed,
            ledger,
        }
    }

    /// Bytes of the open segment.
    pub(crate) fn open_bytes(&self) -> u64 {
        self.now
            .segment
            .map_or(0, |(base, _)| self.now.end.saturating_sub(base))
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

    /// Opens the segment and reads back what prints and hash need, unless that was done. At most a piece is hashed.
    fn load(&mut self, root: &Dir) -> io::Result<()> {
        if self.open.is_some() {
            return Ok(());
        }
        let mut open = Open::default();
        let Mark {
            end, head, tail, ..
        } = self.now;
        if self.now.segment.is_some() || (tail.len > 0 && tail.end == end) {
            let dir = self.dir(root)?;
            if let Some((base, _)) = self.now.segment {
                let file = self.open_segment(&dir, base)?;
                let mut reading = Segment::Plain(file.try_clone()?);
                let read = |buf: &mut [u8], at: u64| reading.read_exact_at(buf, at);
                open.pieces = Pieces::resume(self.pieces.clone(), end - base, read)?;
                open.file = Some(file);
            }
            if tail.len > 0 && tail.end == end {
                open.tail = read_back(&dir, self.form, end - u64::from(tail.len), end)?;
            }
        }
        if self.now.head_grows() {
            // It is as short as the tail, and the same bytes, unless those are no longer held.
            open.head = (open.tail.len() == head.len as usize).then(|| open.tail.clone());
        }
        self.open = Some(open);
        Ok(())
    }

    /// Opens the open segment for writing, as long as it is committed.
    fn open_segment(&self, dir: &Dir, base: u64) -> io::Result<File> {
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
        Ok(file)
    }

    /// Makes the bytes of the current window, and the names of its files, durable.
    pub(crate) fn sync(&self, root: &Dir) -> io::Result<()> {
        for file in self.written() {
            file.sync_data()?;
        }
        self.check_names()?;
        if self.created.is_empty() {
            return Ok(());
        }
        self.dir(root)?.sync()?;
        if self.committed.segment.is_none() {
            // The directories above may be new as well: an epoch that began with a gap has none before its first bytes,
            // and somebody may have removed those of one that had no open segment.
            sync_above(root, &self.key)?;
        }
        Ok(())
    }

    /// The files that the current window wrote to.
    fn written(&self) -> impl Iterator<Item = &File> {
        let written = self.now.segment.is_some() && self.now.end > self.committed.end;
        let open = self.open.as_ref().and_then(|open| open.file.as_ref());
        let closing = self.closing.iter().map(|(file, _)| file);
        closing.chain(open.filter(move |_| written))
    }

    /// Whether the files of the current window still have their names: what nobody can read does not stand.
    pub(crate) fn check_names(&self) -> io::Result<()> {
        for file in self.written() {
            if file.metadata()?.nlink() == 0 {
                let what = format!("a segment of {} was removed", self.key);
                return Err(io::Error::new(io::ErrorKind::NotFound, what));
            }
        }
        Ok(())
    }

    /// The facts of the current window, for the ledger.
    pub(crate) fn facts(&self) -> &[Fact] {
        &self.facts
    }

    /// Remembers that the index now says what the files hold.
    pub(crate) fn stood(&mut self, entry: &Entry) {
        debug_assert_eq!(entry.mark, self.now, "the index says what the files hold");
        let (first, new) = &entry.pieces;
        self.pieces.truncate(*first);
        self.pieces.extend(new.iter().map(|node| node.0));
        self.committed = self.now.clone();
        self.moved_ms = entry.moved_ms;
        if let Some(open) = &mut self.open
            && !self.now.head_grows()
        {
            open.head = None;
        }
        self.closing.clear();
        self.created.clear();
        self.facts.clear();
        self.touched = false;
        self.listed = false;
    }

    /// Goes back to what the index says: files are closed, opened again and cut.
    pub(crate) fn void(&mut self, root: &Dir, fault: &Fault) -> io::Result<()> {
        self.open = None;
        self.closing.clear();
        fault.check(Step::Cut)?;
        if !self.created.is_empty() || self.committed.segment.is_some() {
            let dir = self.dir(root)?;
            for &base in &self.created {
                dir.remove_file(&segment_name(base, self.form))?;
            }
            if !self.created.is_empty() {
                dir.sync()?;
            }
            self.now = self.committed.clone();
            if let Some((base, _)) = self.committed.segment {
                // Cuts it to what is committed.
                self.open_segment(&dir, base)?;
            }
        }
        self.now = self.committed.clone();
        self.created.clear();
        self.leaving = false;
        self.facts.clear();
        self.touched = false;
        self.listed = false;
        Ok(())
    }
}

/// Makes the directories of a stream durable in those above them.
pub(crate) fn sync_above(root: &Dir, key: &StreamKey) -> io::Result<()> {
    let worker = root.ensure(key.worker())?;
    worker.ensure(key.stream())?.sync()?;
    worker.sync()?;
    root.sync()
}

/// Whether the directory of an epoch is there.
pub(crate) fn existing_dir(root: &Dir, key: &StreamKey, id: EpochId) -> io::Result<Option<Dir>> {
    let mut dir: Option<Dir> = None;
    for name in [key.worker(), key.stream(), &id.to_string()] {
        match existing(dir.as_ref().unwrap_or(root).open(name))? {
            Some(inner) => dir = Some(inner),
            None => return Ok(None),
        }
    }
    Ok(dir)
}
