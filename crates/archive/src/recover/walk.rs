//! One epoch's files against its entry: frames beyond the index are kept, `.log` bytes are cut.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};

use framing::Decoder;
use offsets::{Entries, Fact};

use super::{MAX_FRAME, QUARANTINE, Recovery};
use crate::archive::{LEDGER, now_ms};
use crate::dir::Dir;
use crate::index::Entry;
use crate::name::{ARCHIVE_DIR, Form, segment_name};
use crate::segment::{bases, closed, fact, hash_file, is_full};

/// How an epoch's files compare with its entry.
pub(super) enum Walked {
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

impl Recovery<'_> {
    /// Keeps every whole frame beyond the index, across segments, and cuts a torn one.
    pub(super) fn keep_frames(&self, dir: &Dir, entry: &mut Entry) -> io::Result<Walked> {
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
            let Some(mut file) = open_segment(dir, base, entry.form)? else {
                return Ok(Walked::Short(end_below(dir, base, entry)?));
            };
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
        if end == entry.committed && cut == 0 {
            return Ok(Walked::Agrees);
        }
        dir.sync()?;
        Ok(Walked::Beyond { end, cut, facts })
    }

    /// Cuts what a `.log` epoch holds beyond the index, into quarantine: its sender still has it. More than a commit
    /// window can explain means that the index is wrong, and the segments are right.
    pub(super) fn cut_log(&self, dir: &Dir, entry: &mut Entry) -> io::Result<Walked> {
        let end = entry.committed;
        let current = entry.segment.map(|(base, _)| base);
        let later: Vec<u64> = bases(dir, entry.form)?
            .into_iter()
            .filter(|&base| base >= end && Some(base) != current)
            .collect();
        let held = match current {
            None => end,
            Some(base) => match open_segment(dir, base, entry.form)? {
                Some(file) => base + file.metadata()?.len(),
                None => end_below(dir, base, entry)?,
            },
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
            let root = Dir::root(self.data)?;
            let dir = root.ensure(QUARANTINE)?;
            root.sync()?;
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
}

pub(super) fn segment_len(dir: &Dir, base: u64, form: Form) -> io::Result<u64> {
    Ok(dir
        .open_file(&segment_name(base, form), false)?
        .metadata()?
        .len())
}

fn has_segment(dir: &Dir, base: u64, form: Form) -> io::Result<bool> {
    Ok(open_segment(dir, base, form)?.is_some())
}

fn open_segment(dir: &Dir, base: u64, form: Form) -> io::Result<Option<File>> {
    match dir.open_file(&segment_name(base, form), true) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Where an epoch ends whose segment at `missing` is gone.
fn end_below(dir: &Dir, missing: u64, entry: &Entry) -> io::Result<u64> {
    let bases = bases(dir, entry.form)?;
    match bases.into_iter().rfind(|&base| base < missing) {
        Some(base) => Ok(base + segment_len(dir, base, entry.form)?),
        None => Ok(entry.base),
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
