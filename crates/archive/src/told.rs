//! What a ledger's facts amount to: read in order, the last word on each thing wins, and a `recovery` takes back what
//! was told of its epoch from its base on.
//!
//! Lines are outside bytes here. What is missing or of another type is left out; nothing panics.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::Path;

use offsets::{Entries, LedgerError};
use serde_json::Value;

use crate::api::Print;
use crate::facts;
use crate::name::{EpochId, Form};
use crate::pieces::Node;

/// What is told of a stream.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) epochs: HashMap<EpochId, EpochTold>,
    /// In the order in which they were first told.
    pub(crate) order: Vec<EpochId>,
    /// Times and last known lines of a ledger that did not go on where it should have.
    pub(crate) broken: Vec<String>,
}

/// What is told of an epoch.
#[derive(Debug, Default)]
pub(crate) struct EpochTold {
    /// Whether anything is told of it.
    pub(crate) at_all: bool,
    pub(crate) form: Option<Form>,
    /// Whether its beginning is told, and so its base.
    pub(crate) begun: bool,
    pub(crate) base: u64,
    pub(crate) after: Option<EpochId>,
    pub(crate) of: Option<EpochId>,
    /// Segments that were not removed.
    pub(crate) segments: BTreeMap<u64, SegmentTold>,
    pub(crate) gaps: BTreeMap<u64, GapTold>,
    /// By where it ended; of one place in the order in which they were told, and the last one counts.
    rolls: BTreeMap<u64, Vec<RollTold>>,
    pub(crate) sealed: bool,
    /// Everything below was removed, as far as it was held.
    pub(crate) removed: u64,
    /// Segments that were removed; a crash may have left the files of the last ones.
    pub(crate) gone: BTreeSet<u64>,
    /// What was known of the epoch when a segment of it was removed.
    pub(crate) known: Option<KnownThen>,
}

/// What was known of an epoch at some time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownThen {
    pub(crate) end: u64,
    pub(crate) head: Print,
    pub(crate) tail: Print,
    pub(crate) in_line: bool,
}

/// What is told of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SegmentTold {
    Open,
    Closed {
        len: u64,
        hash: [u8; 32],
        /// Length and hashes of its pieces, where told.
        pieces: Option<(u64, Vec<Node>)>,
    },
}

/// What is told of a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GapTold {
    pub(crate) len: u64,
    pub(crate) cause: String,
    pub(crate) at: String,
}

/// What is told of a roll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RollTold {
    pub(crate) next: Option<EpochId>,
    pub(crate) cause: String,
    pub(crate) lost: Option<u64>,
    pub(crate) at: String,
}

impl Told {
    /// Reads the ledger at `path` as far as that is possible; none is an empty one.
    pub(crate) fn read(path: &Path) -> io::Result<Told> {
        let mut told = Told::default();
        let entries = match Entries::open(path) {
            Ok(entries) => entries,
            Err(LedgerError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(told);
            }
            Err(e) => return Err(io::Error::other(e)),
        };
        for line in entries {
            match line {
                Ok(line) => told.apply(&line),
                // It is for `verify` to say so.
                Err(LedgerError::Damaged { .. }) => {}
                Err(e) => return Err(io::Error::other(e)),
            }
        }
        Ok(told)
    }

    /// Takes the next line.
    pub(crate) fn apply(&mut self, line: &Value) {
        let kind = text(line, "kind").unwrap_or_default();
        if kind == facts::RECOVERY && line.get(facts::EXPECTED).is_some() {
            self.broken
                .push(text(line, "at").unwrap_or_default().to_owned());
        }
        let Some((epoch, base)) = id(line, "epoch").zip(number(line, "base")) else {
            return;
        };
        let known = [
            facts::EPOCH,
            facts::OPENED,
            facts::CLOSED,
            facts::GAP,
            facts::ROLLED,
            facts::SEALED,
            facts::RECOVERY,
            facts::REMOVED,
        ];
        if !known.contains(&kind) {
            return;
        }
        let told = self.epochs.entry(epoch).or_insert_with(|| {
            self.order.push(epoch);
            EpochTold {
                at_all: true,
                ..EpochTold::default()
            }
        });
        told.apply(kind, base, line);
    }
}

impl EpochTold {
    fn apply(&mut self, kind: &str, base: u64, line: &Value) {
        let len = number(line, "len");
        let at = text(line, "at").unwrap_or_default();
        let cause = text(line, "cause").unwrap_or_default();
        match kind {
            facts::EPOCH => {
                self.begun = true;
                self.base = base;
                self.form = text(line, "form").and_then(Form::of).or(self.form);
                self.after = id(line, "after").or(self.after);
                self.of = id(line, "of").or(self.of);
            }
            facts::OPENED => {
                self.gone.remove(&base);
                self.segments.insert(base, SegmentTold::Open);
            }
            facts::CLOSED => {
                if let Some((len, hash)) = len.zip(text(line, "blake3").and_then(hash)) {
                    let pieces = pieces(line);
                    self.segments
                        .insert(base, SegmentTold::Closed { len, hash, pieces });
                }
            }
            facts::GAP => {
                let (cause, at) = (cause.to_owned(), at.to_owned());
                if let Some(len) = len {
                    self.gaps.insert(base, GapTold { len, cause, at });
                }
            }
            facts::ROLLED => {
                let roll = RollTold {
                    next: id(line, "next"),
                    cause: cause.to_owned(),
                    lost: number(line, "lost"),
                    at: at.to_owned(),
                };
                self.rolls.entry(base).or_default().push(roll);
            }
            facts::SEALED => self.sealed = true,
            facts::RECOVERY => self.take_back(base, line),
            _ => {
                self.segments.remove(&base);
                self.gone.insert(base);
                self.removed = self
                    .removed
                    .max(base.saturating_add(len.unwrap_or_default()));
                let print = |name| serde_json::from_value(line.get(name)?.clone()).ok();
                if let (Some(end), Some(head), Some(tail)) =
                    (number(line, "end"), print("head"), print("tail"))
                {
                    let in_line = line.get("in_line") == Some(&Value::Bool(true));
                    self.known = Some(KnownThen {
                        end,
                        head,
                        tail,
                        in_line,
                    });
                }
            }
        }
    }

    fn take_back(&mut self, end: u64, line: &Value) {
        // Without this field it is a fact of an older version, which took nothing back.
        let Some(open) = line.get("segment").map(Value::as_u64) else {
            return;
        };
        self.segments
            .retain(|base, _| *base < end || Some(*base) == open);
        if let Some(segment) = open.and_then(|base| self.segments.get_mut(&base)) {
            *segment = SegmentTold::Open;
        }
        self.gaps.retain(|base, gap| {
            gap.len = gap.len.min(end.saturating_sub(*base));
            *base < end
        });
        self.rolls.retain(|at, _| *at <= end);
        if let Some(rolled) = line.get("rolled") {
            self.take_rolls_back(end, rolled.as_str());
        }
        self.sealed = line.get("sealed") == Some(&Value::Bool(true));
        // Otherwise nothing of it stands, and it may as well begin elsewhere. An older version did not say so.
        let stands = line.get("told").and_then(Value::as_bool);
        self.begun &= stands.unwrap_or(end > self.base || self.sealed);
    }

    /// Of the rolls at `end` the last one to `next` stands, and those before it; without one none does.
    fn take_rolls_back(&mut self, end: u64, next: Option<&str>) {
        let Some(rolls) = self.rolls.get_mut(&end) else {
            return;
        };
        let next = next.and_then(|next| EpochId::parse(next).ok());
        let last = next.and_then(|next| rolls.iter().rposition(|roll| roll.next == Some(next)));
        rolls.truncate(last.map_or(0, |last| last + 1));
        if rolls.is_empty() {
            self.rolls.remove(&end);
        }
    }

    /// Where the epoch ended and went on elsewhere, in order.
    pub(crate) fn rolls(&self) -> impl Iterator<Item = (u64, &RollTold)> {
        self.rolls
            .iter()
            .filter_map(|(end, rolls)| Some((*end, rolls.last()?)))
    }

    /// Where the epoch ends by what is told; an open segment ends further on.
    pub(crate) fn end(&self) -> u64 {
        let segment = |(base, segment): (&u64, &SegmentTold)| match segment {
            SegmentTold::Open => *base,
            SegmentTold::Closed { len, .. } => base.saturating_add(*len),
        };
        let gap = |(base, gap): (&u64, &GapTold)| base.saturating_add(gap.len);
        [self.base, self.removed]
            .into_iter()
            .chain(self.segments.iter().map(segment))
            .chain(self.gaps.iter().map(gap))
            .chain(self.known.map(|known| known.end))
            .fold(0, u64::max)
    }

    /// The segment that is told to be open.
    pub(crate) fn open(&self) -> Option<u64> {
        let last = self.segments.last_key_value();
        last.filter(|(_, told)| **told == SegmentTold::Open)
            .map(|(base, _)| *base)
    }

    /// The end of the told gaps that hold `offset`, and of those that follow at once.
    pub(crate) fn gap_end(&self, offset: u64) -> Option<u64> {
        let mut end = None;
        let mut at = offset;
        while let Some((base, gap)) = self.gaps.range(..=at).next_back()
            && base.saturating_add(gap.len) > at
        {
            at = base.saturating_add(gap.len);
            end = Some(at);
        }
        end
    }
}

fn number(line: &Value, name: &str) -> Option<u64> {
    line.get(name).and_then(Value::as_u64)
}

fn text<'a>(line: &'a Value, name: &str) -> Option<&'a str> {
    line.get(name).and_then(Value::as_str)
}

fn id(line: &Value, name: &str) -> Option<EpochId> {
    text(line, name).and_then(|text| EpochId::parse(text).ok())
}

fn hash(text: &str) -> Option<[u8; 32]> {
    blake3::Hash::from_hex(text)
        .ok()
        .map(|hash| *hash.as_bytes())
}

fn pieces(line: &Value) -> Option<(u64, Vec<Node>)> {
    let piece = number(line, "piece").filter(|piece| *piece > 0)?;
    let text = text(line, "pieces")?;
    let nodes = text
        .as_bytes()
        .chunks(64)
        .map(|digits| hash(std::str::from_utf8(digits).ok()?));
    Some((piece, nodes.collect::<Option<Vec<_>>>()?))
}
