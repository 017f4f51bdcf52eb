//! One epoch: its facts, what the index says of it, and its files.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::Damage;
use super::closed::{Sums, compare};
use crate::dir::Dir;
use crate::entry::Entry;
use crate::name::{EpochId, Form, SegmentName, packed_name, parse_segment, segment_name};
use crate::pieces::{Node, PIECE};
use crate::segment::Segment;
use crate::told::{EpochTold, SegmentTold, Told};

/// An epoch that is being checked.
pub(super) struct EpochCheck<'a> {
    pub(super) path: PathBuf,
    pub(super) ledger: &'a Path,
    pub(super) id: EpochId,
    pub(super) told: &'a EpochTold,
    pub(super) entry: Option<Entry>,
    pub(super) clean: bool,
    pub(super) dir: Option<Dir>,
    pub(super) each: &'a mut dyn FnMut(Damage),
}

impl EpochCheck<'_> {
    /// Checks it.
    pub(super) fn run(mut self) -> io::Result<()> {
        let form = match (&self.entry, self.told.form) {
            (Some(entry), _) => entry.form,
            (None, Some(form)) => form,
            (None, None) => self.guess_form()?,
        };
        let files = self.files(form)?;
        let told: Vec<(u64, SegmentTold)> = self
            .told
            .segments
            .iter()
            .map(|(base, told)| (*base, told.clone()))
            .collect();
        for (base, told) in &told {
            match told {
                SegmentTold::Closed { len, hash, pieces } => {
                    let pieces = pieces.as_ref().map(|(len, nodes)| (*len, &nodes[..]));
                    let sums = Sums {
                        len: *len,
                        hash: Some(*hash),
                        pieces,
                    };
                    self.closed(*base, form, files.get(base), &sums)?;
                }
                SegmentTold::Open => self.open(*base, form, files.get(base))?,
            }
        }
        for (base, packed) in &files {
            if !self.told.segments.contains_key(base) {
                self.stranger(*base, form, *packed);
            }
        }
        self.order(form);
        Ok(())
    }

    fn guess_form(&self) -> io::Result<Form> {
        let Some(dir) = &self.dir else {
            return Ok(Form::Log);
        };
        let frames = crate::segment::segments(dir, Form::Frames)?;
        Ok(if frames.is_empty() {
            Form::Log
        } else {
            Form::Frames
        })
    }

    /// The segments in the directory, and whether they are compressed only.
    fn files(&mut self, form: Form) -> io::Result<BTreeMap<u64, bool>> {
        let names = match &self.dir {
            Some(dir) => dir.names()?,
            None => Vec::new(),
        };
        let mut files = BTreeMap::new();
        for name in names {
            match parse_segment(&name, form) {
                Some(SegmentName { base, packed }) => {
                    let both = files.entry(base).or_insert(packed);
                    *both &= packed;
                }
                // What compression did not finish.
                None if is_unfinished(&name, form) => {}
                None => self.tell(
                    self.path.join(&name),
                    0,
                    "no segment of this epoch".to_owned(),
                ),
            }
        }
        Ok(files)
    }

    fn tell(&mut self, segment: PathBuf, offset: u64, what: String) {
        (self.each)(Damage {
            segment,
            offset,
            what,
        });
    }

    fn file(&self, base: u64, form: Form, packed: bool) -> PathBuf {
        self.path.join(if packed {
            packed_name(base, form)
        } else {
            segment_name(base, form)
        })
    }

    fn closed(
        &mut self,
        base: u64,
        form: Form,
        packed: Option<&bool>,
        sums: &Sums<'_>,
    ) -> io::Result<()> {
        let path = self.file(base, form, packed.copied().unwrap_or_default());
        let dir = self.dir.as_ref();
        match dir.map_or(Ok(None), |dir| Segment::open(dir, base, form)) {
            Ok(Some(mut segment)) => self.compare(path, base, &mut segment, sums),
            Ok(None) if self.was_removed(base)? => Ok(()),
            Ok(None) => {
                let what = format!("the segment is missing, {} bytes", sums.len);
                self.tell(path, base, what);
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                self.tell(path, base, format!("it can't be read: {e}"));
                Ok(())
            }
            Err(e) => Err(e),
        }
    }

    fn compare(
        &mut self,
        path: PathBuf,
        base: u64,
        segment: &mut Segment,
        sums: &Sums<'_>,
    ) -> io::Result<()> {
        let each = &mut *self.each;
        compare(segment, sums, &mut |(at, what)| {
            each(Damage {
                segment: path.clone(),
                offset: base.saturating_add(at),
                what,
            });
        })
    }

    /// Whether retention removed a segment since the ledger was read.
    fn was_removed(&self, base: u64) -> io::Result<bool> {
        let now = Told::read(self.ledger)?;
        let epoch = now.epochs.get(&self.id);
        Ok(epoch.is_some_and(|epoch| !epoch.segments.contains_key(&base)))
    }

    /// A segment that is not complete: what the index knows of it is compared.
    fn open(&mut self, base: u64, form: Form, packed: Option<&bool>) -> io::Result<()> {
        let path = self.file(base, form, false);
        let is_last = self.told.segments.range(base + 1..).next().is_none();
        if !is_last {
            let what = "it was never closed, and another follows".to_owned();
            self.tell(path.clone(), base, what);
        }
        let mark = self.entry.as_ref().map(|entry| &entry.mark);
        let committed = match mark {
            Some(mark) if mark.segment.is_some_and(|(open, _)| open == base) => mark.end - base,
            // Of a window that does not stand.
            Some(mark) if mark.end <= base => return Ok(()),
            _ => 0,
        };
        let segment = self
            .dir
            .as_ref()
            .map_or(Ok(None), |dir| Segment::open(dir, base, form))?;
        let Some(mut segment) = segment else {
            if !self.was_removed(base)? {
                self.tell(path, base, "the open segment is missing".to_owned());
            }
            return Ok(());
        };
        if packed == Some(&true) {
            self.tell(
                path,
                base,
                "it is compressed, and was never closed".to_owned(),
            );
            return Ok(());
        }
        let held = segment.len()?;
        if self.clean && mark.is_some() && held > committed {
            let what = format!("{} bytes that nobody committed", held - committed);
            self.tell(path.clone(), base.saturating_add(committed), what);
        }
        let nodes: Vec<Node> = self
            .entry
            .iter()
            .flat_map(|entry| entry.pieces.1.iter().map(|node| node.0))
            .collect();
        let whole = usize::try_from(committed / PIECE).unwrap_or(usize::MAX);
        let sums = Sums {
            len: committed,
            hash: None,
            pieces: Some((PIECE, &nodes[..nodes.len().min(whole)])),
        };
        self.compare(path.clone(), base, &mut segment, &sums)?;
        self.tail(path, base, committed, &mut segment)
    }

    /// The last bytes of an open segment are known by the index.
    fn tail(
        &mut self,
        path: PathBuf,
        base: u64,
        committed: u64,
        segment: &mut Segment,
    ) -> io::Result<()> {
        let Some(tail) = self.entry.as_ref().map(|entry| entry.mark.tail) else {
            return Ok(());
        };
        let start = tail.end.saturating_sub(u64::from(tail.len));
        if committed == 0 || tail.end != base + committed || start < base {
            return Ok(());
        }
        let mut bytes = vec![0; tail.len as usize];
        let read = segment.read_exact_at(&mut bytes, start - base);
        if read.is_ok() && *blake3::hash(&bytes).as_bytes() != tail.blake3 {
            let what = format!("these {} bytes are not what was committed", tail.len);
            self.tell(path, start, what);
        }
        Ok(())
    }

    /// A segment that the ledger does not know: of a window that is not committed yet, or nobody's.
    fn stranger(&mut self, base: u64, form: Form, packed: bool) {
        let end = match &self.entry {
            Some(entry) => entry.mark.end,
            None => self.told.end(),
        };
        let uncommitted = !self.clean && !packed && base >= end;
        // One that retention had ledgered, and not yet removed, when it was stopped.
        if !uncommitted && !self.told.gone.contains(&base) {
            let path = self.file(base, form, packed);
            self.tell(path, base, "a segment that nobody ledgered".to_owned());
        }
    }

    /// Segments and gaps follow each other without holes and overlaps, up to the end that the index knows.
    fn order(&mut self, form: Form) {
        let mut runs: Vec<(u64, u64, bool)> = Vec::new();
        for (base, told) in &self.told.segments {
            if let SegmentTold::Closed { len, .. } = told {
                runs.push((*base, base.saturating_add(*len), true));
            } else {
                runs.push((*base, *base, true));
            }
        }
        let gaps = self.told.gaps.iter();
        runs.extend(gaps.map(|(base, gap)| (*base, base.saturating_add(gap.len), false)));
        runs.sort_unstable();
        let base = match &self.entry {
            // Opened, and nothing came yet.
            Some(entry) if !self.told.begun => entry.base,
            _ => self.told.base,
        };
        let mut at = base.max(self.told.removed);
        for (from, to, is_segment) in runs {
            if !is_segment && to <= at {
                continue;
            }
            let path = self.file(from, form, false);
            if from > at {
                let what = format!("a hole of {} bytes without a gap", from - at);
                self.tell(path, at, what);
            } else if from < at && is_segment && to > from {
                let what = format!("it overlaps what is before it by {} bytes", at - from);
                self.tell(path, from, what);
            }
            at = at.max(to);
        }
        let known = self.entry.as_ref().map(|entry| &entry.mark);
        if let Some(mark) = known
            && mark.segment.is_none()
            && self.told.open().is_none()
            && mark.end > at
        {
            let what = format!(
                "what it knows of {} ends at {at}, the index says {}",
                self.id, mark.end
            );
            let (ledger, at) = (self.ledger.to_owned(), at);
            self.tell(ledger, at, what);
        }
    }
}

fn is_unfinished(name: &str, form: Form) -> bool {
    name.strip_suffix(".new")
        .and_then(|name| parse_segment(name, form))
        .is_some_and(|name| name.packed)
}
