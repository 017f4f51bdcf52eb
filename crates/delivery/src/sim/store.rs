//! A master's disk: epochs, a ledger, a witness and an index, with what is written, what is synced, and what a crash
//! leaves of the difference.
//!
//! A window becomes durable in this order: bytes, ledger, witness, index. The witness has the window's number and what
//! the index is going to say. An index with the number of the witness is the last one; one that is older by one window
//! is either, after a crash, the one before, or a copy of it: it makes no difference, for the witness has what it lacks.
//! With any other index nothing is cut.

use std::collections::{BTreeMap, BTreeSet};

use super::{Chance, HOLE, PROOF, met};
use crate::bug::Bug;
use crate::control::{Held, Missing, Proof};
use crate::receiver::{Opening, Standing};
use crate::{EpochId, Hash, Offset, Print};

#[derive(Debug, Clone)]
pub(super) struct Epoch {
    pub(super) of: Option<EpochId>,
    pub(super) base: u64,
    /// From the base on; [`HOLE`] where bytes are missing.
    pub(super) bytes: Vec<u8>,
    /// So many survive a crash for certain.
    pub(super) synced: usize,
}

/// Where each epoch ends, as of a window.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    window: u64,
    ends: BTreeMap<EpochId, usize>,
}

#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) epochs: BTreeMap<EpochId, Epoch>,
    /// In the order in which they were opened.
    order: Vec<EpochId>,
    /// Holes that are recorded, durably and in the current window.
    pub(super) ledger: Vec<(EpochId, u64, u64)>,
    noted: Vec<(EpochId, u64, u64)>,
    /// Epochs that were rolled, and those to which nothing may be appended.
    rolled: BTreeSet<EpochId>,
    sealed: BTreeSet<EpochId>,
    witness: Index,
    index: Option<Index>,
    copies: Vec<Index>,
    /// Unsynced bytes may have become anything.
    torn: bool,
    pub(super) full: bool,
    pub(super) bug: Option<Bug>,
}

/// How far a commit comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Written,
    Synced,
    Ledgered,
    Witnessed,
    Indexed,
}

impl Store {
    pub(super) fn new(bug: Option<Bug>) -> Self {
        Self {
            index: Some(Index::default()),
            bug,
            ..Self::default()
        }
    }

    pub(super) fn open(&mut self, opening: &Opening) -> Standing {
        let Opening {
            epoch, of, base, ..
        } = *opening;
        let base = base.get();
        self.epochs.entry(epoch).or_insert_with(|| {
            self.order.push(epoch);
            Epoch {
                of,
                base,
                bytes: Vec::new(),
                synced: 0,
            }
        });
        let index = self.index.get_or_insert_default();
        index.ends.entry(epoch).or_insert(0);
        let it = &self.epochs[&epoch];
        let sealed = self.sealed.contains(&epoch);
        if sealed {
            met("resume of a sealed epoch");
        }
        Standing {
            offset: at(it.base + it.bytes.len() as u64),
            tail: it.tail(),
            ledger: self.ledger_head(),
            in_line: it.bytes.last().is_some_and(|b| *b != b'\n' && *b != HOLE),
            sealed,
        }
    }

    pub(super) fn ledger_head(&self) -> Hash {
        Hash::of(&[self.ledger.len() as u8])
    }

    pub(super) fn held(&self) -> Vec<Held> {
        let newest = self.order.iter().rev();
        let held = |id: &EpochId| {
            let it = &self.epochs[id];
            let from = it.bytes.iter().take_while(|b| **b == HOLE).count();
            let head = it.bytes[from..].iter().take(PROOF);
            let to = from + head.take_while(|b| **b != HOLE).count();
            Held {
                epoch: *id,
                end: at(it.base + it.bytes.len() as u64),
                head: Print::of(at(it.base + to as u64), &it.bytes[from..to]),
                tail: it.tail(),
            }
        };
        newest.map(held).collect()
    }

    pub(super) fn proof(&self, epoch: EpochId, end: u64, len: u64) -> Proof {
        let from = end - len;
        let it = match self.epochs.get(&epoch) {
            Some(it) if end <= it.base + it.bytes.len() as u64 => it,
            _ => return None.into(),
        };
        let below = (it.base > 0).then_some((0, it.base));
        let mut missing = below.into_iter().chain(it.holes());
        match missing.rfind(|hole| hole.0 < end && hole.1 > from) {
            Some((from, to)) => Some(Missing {
                from: at(from),
                to: at(to),
            })
            .into(),
            None => Hash::of(&it.bytes[(from - it.base) as usize..(end - it.base) as usize]).into(),
        }
    }

    /// The holes of an epoch that are recorded or will be with the window.
    pub(super) fn holes_of(&self, epoch: EpochId) -> Vec<(u64, u64)> {
        let all = self.ledger.iter().chain(&self.noted);
        let its = all.filter(|(id, ..)| *id == epoch);
        its.map(|(_, from, to)| (*from, *to)).collect()
    }

    /// Bytes that the current window has.
    pub(super) fn uncommitted(&self) -> usize {
        let known = self.index.as_ref();
        let beyond = |(id, it): (&EpochId, &Epoch)| {
            it.bytes.len() - known.and_then(|i| i.ends.get(id)).map_or(0, |n| *n)
        };
        self.epochs.iter().map(beyond).sum()
    }

    pub(super) fn append(&mut self, epoch: EpochId, bytes: &[u8]) {
        if let Some(it) = self.epochs.get_mut(&epoch) {
            it.bytes.extend_from_slice(bytes);
        }
    }

    pub(super) fn gap(&mut self, epoch: EpochId, from: u64, to: u64) {
        if let Some(it) = self.epochs.get_mut(&epoch) {
            it.bytes.resize((to - it.base) as usize, HOLE);
            self.noted.push((epoch, from, to));
        }
    }

    /// The epoch was rolled; nobody will go on with it if its file is gone.
    pub(super) fn roll(&mut self, epoch: EpochId, gone: bool) {
        self.rolled.insert(epoch);
        if gone {
            self.sealed.insert(epoch);
        }
    }

    /// Long enough ago that it was rolled.
    pub(super) fn seal_rolled(&mut self) {
        self.sealed.extend(&self.rolled);
    }

    /// Makes the window stand, or comes as far as a crash lets it.
    pub(super) fn commit(&mut self, until: Stage, chance: &mut Chance) {
        if until >= Stage::Synced {
            let all = self.epochs.values_mut();
            all.for_each(|it| it.synced = it.bytes.len());
        }
        if until >= Stage::Ledgered {
            self.ledger.append(&mut self.noted);
        }
        let ends = self.epochs.iter().map(|(id, it)| (*id, it.bytes.len()));
        let next = Index {
            window: self.witness.window + 1,
            ends: ends.collect(),
        };
        if until >= Stage::Witnessed {
            self.witness = next.clone();
        }
        if until >= Stage::Indexed {
            self.index = Some(next.clone());
            if chance.one_in(3) {
                self.copies.push(next);
            }
        }
    }

    /// A write failed: back to the index, or on to the witness.
    pub(super) fn void(&mut self) {
        if self.index.as_ref().map(|index| index.window) != Some(self.witness.window) {
            met("window that failed at the index");
            self.index = Some(self.witness.clone());
        }
        self.noted.clear();
        self.cut(&self.index.clone().unwrap_or_default());
    }

    fn cut(&mut self, to: &Index) {
        for (id, it) in &mut self.epochs {
            it.bytes.truncate(to.ends.get(id).copied().unwrap_or(0));
            it.synced = it.synced.min(it.bytes.len());
        }
    }

    /// The machine stops: of what is not synced, anything may be left.
    pub(super) fn lose_power(&mut self, chance: &mut Chance) {
        self.noted.clear();
        for it in self.epochs.values_mut() {
            let unsynced = &it.bytes[it.synced..];
            let whole = unsynced.iter().take_while(|b| **b != HOLE).count();
            let left = chance.below(whole + 1);
            if left < whole {
                met("master's unsynced bytes lost");
            }
            it.bytes.truncate(it.synced + left);
            if left > 0 && chance.one_in(3) {
                met("master's unsynced bytes torn");
                // The length was written, the bytes were not.
                let torn = it.synced + chance.below(left);
                it.bytes[torn..].fill(0);
                self.torn = true;
            }
        }
    }

    /// Somebody removes the index, or puts an older copy in its place. Together with torn bytes nobody could tell how
    /// much of the last window is one.
    pub(super) fn lose_index(&mut self, chance: &mut Chance) {
        if chance.one_in(3) && !self.torn {
            met("index lost");
            self.index = None;
            return;
        }
        let most = self.copies.len();
        let at = chance.below(most.max(1));
        let Some(copy) = self.copies.get(at).cloned() else {
            return;
        };
        match self.witness.window - copy.window {
            0 => {}
            1 => {
                met("index older by one window");
                self.index = Some(copy);
            }
            _ if !self.torn => {
                met("index older by several windows");
                self.index = Some(copy);
            }
            _ => {}
        }
    }

    /// What a listener does at its start.
    pub(super) fn recover(&mut self) {
        self.torn = false;
        let known = self.index.take().and_then(|mut index| {
            let behind = self.witness.window - index.window;
            if behind == 1 && self.bug != Some(Bug::CutByOldIndex) {
                met("index made whole by the witness");
                index.ends.extend(&self.witness.ends);
            }
            (behind <= 1 || self.bug == Some(Bug::CutByOldIndex)).then_some(index)
        });
        match known {
            Some(index) => self.cut(&index),
            None => met("index made again"),
        }
        for (id, it) in &mut self.epochs {
            // What a rebuilt epoch misses is ledgered, if a crash was in the way.
            for (from, to) in it.holes() {
                if !self.ledger.contains(&(*id, from, to)) {
                    self.ledger.push((*id, from, to));
                }
            }
            it.synced = it.bytes.len();
        }
        let ends = self.epochs.iter().map(|(id, it)| (*id, it.bytes.len()));
        self.witness = Index {
            window: self.witness.window + 1,
            ends: ends.collect(),
        };
        self.index = Some(self.witness.clone());
    }
}

impl Epoch {
    /// Where bytes are missing.
    pub(super) fn holes(&self) -> Vec<(u64, u64)> {
        let mut holes: Vec<(u64, u64)> = Vec::new();
        for (at, _) in self.bytes.iter().enumerate().filter(|(_, b)| **b == HOLE) {
            let at = self.base + at as u64;
            match holes.last_mut() {
                Some((_, to)) if *to == at => *to += 1,
                _ => holes.push((at, at + 1)),
            }
        }
        holes
    }

    /// How many bytes are held behind the last hole.
    pub(super) fn held_at_end(&self) -> usize {
        self.bytes.iter().rev().take_while(|b| **b != HOLE).count()
    }

    /// The last bytes before any gap.
    fn tail(&self) -> Print {
        let held = |b: &u8| *b != HOLE;
        let end = self.bytes.iter().rposition(held).map_or(0, |at| at + 1);
        let hole = self.bytes[..end].iter().rposition(|b| !held(b));
        let start = hole.map_or(0, |at| at + 1).max(end.saturating_sub(PROOF));
        Print::of(at(self.base + end as u64), &self.bytes[start..end])
    }
}

fn at(n: u64) -> Offset {
    Offset::new(n).expect("a run is short")
}
