//! One epoch's files against its entry: frames beyond the index are kept, `.log` bytes are cut.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};

use framing::Decoder;
use offsets::Fact;

use super::{MAX_FRAME, QUARANTINE, Recovery};
use crate::api::Print;
use crate::dir::Dir;
use crate::entry::{Closed, Entry};
use crate::facts;
use crate::fault::Step;
use crate::name::{Form, segment_name};
use crate::pieces::Pieces;
use crate::segment::{Segment, existing, is_full, read_back, read_on, segments};

/// How an epoch's files compare with its entry.
pub(super) enum Walked {
    Agrees,
    /// They end here, before the indexed end.
    Short(u64),
    /// They end further on than a commit window can explain.
    Wrong,
    Beyond {
        end: u64,
        cut: u64,
        facts: Vec<Fact>,
    },
}

impl Recovery<'_> {
    /// Keeps every whole frame beyond the index, across segments, and cuts a torn one.
    pub(super) fn keep_frames(&self, dir: &Dir, entry: &mut Entry) -> io::Result<Walked> {
        let indexed = entry.mark.end;
        let now_ms = self.options.clock.now_ms();
        let mut end = indexed;
        let mut told = Vec::new();
        let mut cut = 0;
        let (mut base, since_ms) = match entry.mark.segment {
            Some(segment) => segment,
            None if has_segment(dir, end, entry.form)? => {
                told.push(facts::opened(entry.epoch, end));
                (end, now_ms)
            }
            None => return Ok(Walked::Agrees),
        };
        loop {
            let Some(mut file) = open_segment(dir, base, entry.form)? else {
                return Ok(Walked::Short(base));
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
                cut += base + len - end;
                self.quarantine(&mut file, entry, end, end - base)?;
                self.options.fault.check(Step::Recover)?;
                file.set_len(end - base)?;
                file.sync_data()?;
            }
            entry.mark.segment = Some((base, since_ms));
            if cut > 0 || end == base || !has_segment(dir, end, entry.form)? {
                break;
            }
            let known = entry.pieces.1.drain(..).map(|node| node.0).collect();
            let mut segment = Segment::Plain(file);
            let read = |buf: &mut [u8], at: u64| segment.read_exact_at(buf, at);
            let sum = Pieces::resume(known, end - base, read)?.finish();
            told.push(facts::closed(entry.epoch, base, end - base, &sum));
            told.push(facts::opened(entry.epoch, end));
            entry.closed.push(Closed {
                base,
                len: end - base,
                hash: sum.hash,
                at_ms: now_ms,
            });
            base = end;
        }
        if end == base {
            // The last segment has nothing whole: it is made again when something comes.
            self.options.fault.check(Step::Recover)?;
            dir.remove_file(&segment_name(base, entry.form))?;
            entry.mark.segment = None;
            told.retain(|fact| fact.kind != facts::OPENED || fact.base != Some(base));
        }
        // What begins behind a torn frame is no frame that can be told from garbage.
        for segment in segments(dir, entry.form)? {
            if segment.base > base && !segment.packed {
                let name = segment_name(segment.base, entry.form);
                let mut file = dir.open_file(&name, false)?;
                cut += file.metadata()?.len();
                self.quarantine(&mut file, entry, segment.base, 0)?;
                self.options.fault.check(Step::Recover)?;
                dir.remove_file(&name)?;
            }
        }
        if end == indexed && cut == 0 {
            return Ok(Walked::Agrees);
        }
        dir.sync()?;
        if !entry.mark.told {
            told.insert(0, facts::epoch(entry));
            entry.mark.told = true;
        }
        Ok(Walked::Beyond {
            end,
            cut,
            facts: told,
        })
    }

    /// Cuts what a `.log` epoch holds beyond the index, into quarantine: its sender still has it. More than a commit
    /// window can explain means that the index is wrong, and the segments are right.
    pub(super) fn cut_log(&self, dir: &Dir, entry: &mut Entry) -> io::Result<Walked> {
        let end = entry.mark.end;
        let current = entry.mark.segment.map(|(base, _)| base);
        let Held {
            end: held,
            later,
            beyond,
        } = match held(dir, entry)? {
            Ok(held) => held,
            Err(found) => return Ok(Walked::Short(found)),
        };
        if beyond > self.options.window_bytes {
            return Ok(Walked::Wrong);
        }
        if beyond == 0 && later.is_empty() {
            return Ok(Walked::Agrees);
        }
        for &base in later.iter().rev() {
            let name = segment_name(base, entry.form);
            if let Some(mut file) = existing(dir.open_file(&name, false))? {
                self.quarantine(&mut file, entry, base, 0)?;
                self.options.fault.check(Step::Recover)?;
                dir.remove_file(&name)?;
            }
        }
        dir.sync()?;
        if let Some(base) = current
            && held > end
        {
            let mut file = dir.open_file(&segment_name(base, entry.form), true)?;
            self.quarantine(&mut file, entry, end, end - base)?;
            self.options.fault.check(Step::Recover)?;
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
        let stamp = self.options.clock.now_ms();
        let mut copy = || {
            let root = Dir::root(self.data)?;
            let dir = root.ensure(QUARANTINE)?;
            root.sync()?;
            let (worker, stream) = (entry.key.worker(), entry.key.stream());
            let name = format!("{stamp}.{worker}.{stream}.{}.{offset:020}", entry.epoch);
            self.options.fault.check(Step::Recover)?;
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
}

/// What the files of a `.log` epoch hold from its indexed end on.
pub(super) struct Held {
    /// Where the open segment ends, or the epoch without one.
    end: u64,
    /// Segments behind that, in order.
    later: Vec<u64>,
    /// How many bytes stand behind the indexed end.
    pub(super) beyond: u64,
}

/// Looks at lengths and names alone. `Err`: the files end here, before the indexed end.
pub(super) fn held(dir: &Dir, entry: &Entry) -> io::Result<Result<Held, u64>> {
    let end = entry.mark.end;
    let current = entry.mark.segment.map(|(base, _)| base);
    let held = match current {
        None => end,
        Some(base) => match open_segment(dir, base, entry.form)? {
            Some(file) => base + file.metadata()?.len(),
            None => return Ok(Err(base)),
        },
    };
    if held < end {
        return Ok(Err(held));
    }
    let later: Vec<u64> = segments(dir, entry.form)?
        .into_iter()
        .map(|segment| segment.base)
        .filter(|&base| base >= end && Some(base) != current)
        .collect();
    let mut beyond = held - end;
    for &base in &later {
        beyond += segment_len(dir, base, entry.form)?;
    }
    let end = held;
    Ok(Ok(Held { end, later, beyond }))
}

/// Reads the prints of an epoch from its segments, as far as they are held.
pub(super) fn read_prints(dir: &Dir, entry: &mut Entry) -> io::Result<()> {
    let form = entry.form;
    let all = segments(dir, form)?;
    let end = entry.mark.end;
    let Some(first) = all.first().filter(|first| first.base < end) else {
        return Ok(());
    };
    let known = &entry.mark.head;
    let start = known.end - u64::from(known.len);
    // An epoch's first bytes may be gone; what the index says of them stays true.
    if known.len == 0 || first.base <= start {
        let start = if known.len == 0 { first.base } else { start };
        let head = read_on(dir, form, start, end)?;
        entry.mark.head = Print::of(start + head.len() as u64, &head);
    }
    let mut held = 0;
    for segment in all.iter().rev().filter(|segment| segment.base < end) {
        if let Some(open) = Segment::open(dir, segment.base, form)? {
            held = (segment.base + open.len()?).min(end);
            break;
        }
    }
    let tail = read_back(dir, form, entry.base, held)?;
    if !tail.is_empty() {
        entry.mark.tail = Print::of(held, &tail);
        entry.mark.in_line = held == end && tail.last() != Some(&b'\n');
    }
    Ok(())
}

fn segment_len(dir: &Dir, base: u64, form: Form) -> io::Result<u64> {
    Segment::open(dir, base, form)?.map_or(Ok(0), |segment| segment.len())
}

fn has_segment(dir: &Dir, base: u64, form: Form) -> io::Result<bool> {
    dir.has(&segment_name(base, form))
}

fn open_segment(dir: &Dir, base: u64, form: Form) -> io::Result<Option<File>> {
    existing(dir.open_file(&segment_name(base, form), true))
}

/// How many bytes from `from` on are whole frames.
pub(super) fn whole_frames(file: &mut File, from: u64) -> io::Result<u64> {
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
