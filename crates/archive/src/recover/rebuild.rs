//! A stream's entries from its ledger and its segments, when the index does not know them. What is held is kept, and
//! what the ledger says is believed.

use std::collections::HashSet;
use std::io;
use std::time::UNIX_EPOCH;

use offsets::Fact;

use super::walk::{read_prints, whole_frames};
use super::{Form, Recovery};
use crate::dir::Dir;
use crate::entry::{Change, Closed, Entry, LedgerMark};
use crate::epoch::existing_dir;
use crate::error::OpenError;
use crate::facts::{self, LEDGER};
use crate::index::Index;
use crate::name::{EpochId, SegmentName, StreamKey, packed_name, segment_name};
use crate::pieces::{Pieces, Sum};
use crate::segment::{Segment, segments};
use crate::told::{EpochTold, SegmentTold, Told};

/// A segment that is compressed already, and what it takes on the disk.
type Stored = (EpochId, u64, u64);

/// What a look at a stream gave.
pub(super) struct Looked {
    /// In the order in which its epochs were opened.
    pub(super) entries: Vec<Entry>,
    /// What its ledger misses.
    pub(super) facts: Vec<Fact>,
    stored: Vec<Stored>,
}

impl Recovery<'_> {
    /// Puts a stream into the index.
    pub(super) async fn rebuild(
        &self,
        index: &mut Index,
        key: &StreamKey,
    ) -> Result<(Vec<Entry>, LedgerMark), OpenError> {
        let Looked {
            entries,
            facts,
            stored,
        } = self.look(key)?;
        let path = self.stream_path(key);
        // Also without facts: a torn line is cut, and the ledger's head is found.
        self.step()?;
        let mark = facts::write(&path, &mut None, &facts, self.options.clock.now())?;
        let change = Change {
            entries,
            ledgers: vec![(key.clone(), mark)],
        };
        let at_index = |e| OpenError::Index(self.data.to_owned(), e);
        index.put(&change, None).await.map_err(at_index)?;
        for (epoch, base, bytes) in stored {
            index
                .found_packed(key, epoch, base, bytes)
                .await
                .map_err(at_index)?;
        }
        Ok((change.entries, mark))
    }

    /// Puts a stream's entries together.
    pub(super) fn look(&self, key: &StreamKey) -> Result<Looked, OpenError> {
        let io = |e| self.io(key, e);
        let mut told = Told::read(&self.stream_path(key).join(LEDGER)).map_err(io)?;
        let mut ids = std::mem::take(&mut told.order);
        let known: HashSet<EpochId> = ids.iter().copied().collect();
        let stream = self
            .root
            .open(key.worker())
            .and_then(|dir| dir.open(key.stream()))
            .map_err(io)?;
        let names = stream.names().map_err(io)?;
        let named = names.iter().filter_map(|name| EpochId::parse(name).ok());
        ids.extend(named.filter(|id| !known.contains(id)));
        let (mut entries, mut facts, mut stored) = (Vec::new(), Vec::new(), Vec::new());
        for id in ids {
            let told = told.epochs.remove(&id);
            let found = Found {
                recovery: self,
                key,
                id,
                told: told.unwrap_or_default(),
                facts: &mut facts,
                stored: &mut stored,
            };
            entries.extend(found.entry().map_err(io)?);
        }
        let resting = entries.len().saturating_sub(self.options.max_open_epochs);
        for (n, entry) in entries.iter_mut().enumerate() {
            entry.live = !entry.mark.sealed && (n >= resting || entry.mark.segment.is_some());
        }
        Ok(Looked {
            entries,
            facts,
            stored,
        })
    }
}

/// An epoch that is being put together.
struct Found<'a> {
    recovery: &'a Recovery<'a>,
    key: &'a StreamKey,
    id: EpochId,
    told: EpochTold,
    facts: &'a mut Vec<Fact>,
    stored: &'a mut Vec<Stored>,
}

impl Found<'_> {
    fn entry(mut self) -> io::Result<Option<Entry>> {
        let dir = existing_dir(self.recovery.root, self.key, self.id)?;
        let (form, files) = match &dir {
            None => (self.told.form.unwrap_or(Form::Log), Vec::new()),
            Some(dir) => {
                let form = match self.told.form {
                    Some(form) => form,
                    None if segments(dir, Form::Frames)?.is_empty() => Form::Log,
                    None => Form::Frames,
                };
                (form, self.files(dir, form)?)
            }
        };
        let was_told = self.told.at_all;
        // A seal stands for itself: what was told before it may be taken back, and is not told again.
        let nothing_stands =
            !self.told.begun && !self.told.sealed && self.told.end() == self.told.base;
        if files.is_empty() && (!was_told || nothing_stands) {
            return Ok(None);
        }
        // Nobody told where an untold one begins: what is not held of it from 0 on is a gap, rather than nothing.
        let base = self.told.base;
        let now_ms = self.recovery.options.clock.now_ms();
        let mut entry = Entry::new(self.key.clone(), self.id, form, base, now_ms);
        (entry.after, entry.of) = (self.told.after, self.told.of);
        if !was_told {
            self.facts.push(facts::epoch(&entry));
        }
        entry.mark.told = true;
        entry.mark.end = self.told.end();
        if let Some(known) = self.told.known {
            (entry.mark.head, entry.mark.tail) = (known.head, known.tail);
            entry.mark.in_line = known.in_line && known.end == entry.mark.end;
        }
        if let Some(dir) = &dir {
            self.segments(dir, &files, &mut entry)?;
            read_prints(dir, &mut entry)?;
        }
        let last = self.told.rolls().last();
        entry.mark.rolled = last
            .filter(|(end, _)| *end == entry.mark.end)
            .and_then(|(_, roll)| roll.next);
        entry.mark.sealed = self.told.sealed;
        Ok(Some(entry))
    }

    /// The segments that are there; files of those that retention had ledgered as removed go now, and those that
    /// were made and have nothing.
    fn files(&self, dir: &Dir, form: Form) -> io::Result<Vec<SegmentName>> {
        let mut files = Vec::new();
        for file in segments(dir, form)? {
            let name = segment_name(file.base, form);
            let gone = self.told.gone.contains(&file.base);
            if gone || (!file.packed && dir.open_file(&name, false)?.metadata()?.len() == 0) {
                dir.remove_file(&name)?;
                if gone {
                    dir.remove_file(&packed_name(file.base, form))?;
                }
            } else {
                files.push(file);
            }
        }
        Ok(files)
    }

    /// Takes the segments that are there, closes all but the last, and tells what the ledger misses.
    fn segments(&mut self, dir: &Dir, files: &[SegmentName], entry: &mut Entry) -> io::Result<()> {
        let mut at = entry.base.max(self.told.removed);
        for (n, file) in files.iter().enumerate() {
            let base = file.base;
            let Some(segment) = Segment::open(dir, base, entry.form)? else {
                continue;
            };
            let held = segment.len()?;
            self.hole(at, base);
            let is_last = n + 1 == files.len();
            let told = self.told.segments.get(&base).cloned();
            if told.is_none() {
                self.facts.push(facts::opened(self.id, base));
            }
            let len = match told {
                Some(SegmentTold::Closed { len, hash, .. }) => {
                    self.closed(dir, *file, entry, len, hash)?;
                    len
                }
                _ if is_last && !file.packed && self.told.end() <= base.saturating_add(held) => {
                    let since_ms = modified_ms(dir, *file, entry.form)?;
                    entry.mark.segment = Some((base, since_ms));
                    match entry.form {
                        Form::Log => held,
                        // A torn one is left to the walk that follows.
                        Form::Frames => {
                            let name = segment_name(base, entry.form);
                            whole_frames(&mut dir.open_file(&name, false)?, 0)?
                        }
                    }
                }
                _ => {
                    let sum = sum(segment, held)?;
                    self.facts.push(facts::closed(self.id, base, held, &sum));
                    self.closed(dir, *file, entry, held, sum.hash)?;
                    held
                }
            };
            at = at.max(base.saturating_add(len));
        }
        entry.mark.end = match entry.mark.segment {
            Some(_) => at,
            None => at.max(entry.mark.end),
        };
        Ok(())
    }

    /// Records what is neither held nor told between `from` and `to`.
    fn hole(&mut self, from: u64, to: u64) {
        if from >= to || self.told.segments.range(from..to).next().is_some() {
            // A segment is missing: that is damage, and no gap.
            return;
        }
        let from = self.told.gap_end(from).unwrap_or(from);
        if from < to {
            let gap = facts::gap(self.id, from, to - from, "unknown");
            self.facts.push(gap);
        }
    }

    fn closed(
        &mut self,
        dir: &Dir,
        file: SegmentName,
        entry: &mut Entry,
        len: u64,
        hash: [u8; 32],
    ) -> io::Result<()> {
        entry.closed.push(Closed {
            base: file.base,
            len,
            hash,
            at_ms: modified_ms(dir, file, entry.form)?,
        });
        if file.packed {
            let name = packed_name(file.base, entry.form);
            let bytes = dir.open_file(&name, false)?.metadata()?.len();
            self.stored.push((self.id, file.base, bytes));
        }
        Ok(())
    }
}

fn sum(mut segment: Segment, len: u64) -> io::Result<Sum> {
    let read = |buf: &mut [u8], at: u64| segment.read_exact_at(buf, at);
    Ok(Pieces::resume(Vec::new(), len, read)?.finish())
}

/// When a segment was last written: Unix milliseconds.
fn modified_ms(dir: &Dir, file: SegmentName, form: Form) -> io::Result<i64> {
    let name = if file.packed {
        packed_name(file.base, form)
    } else {
        segment_name(file.base, form)
    };
    let modified = dir.open_file(&name, false)?.metadata()?.modified()?;
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
