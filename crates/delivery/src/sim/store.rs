//! A master's disk: epochs, a ledger of gaps and an index, with what is written, what is synced, and what a crash
//! leaves of the difference.

use std::collections::BTreeMap;

use super::{Chance, HOLE, PROOF, WINDOW};
use crate::bug::Bug;
use crate::control::Held;
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

pub(super) type Index = BTreeMap<EpochId, usize>;

#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) epochs: BTreeMap<EpochId, Epoch>,
    /// In the order in which they were opened.
    order: Vec<EpochId>,
    /// Holes that are recorded, durably and in the current window.
    pub(super) ledger: Vec<(EpochId, u64, u64)>,
    noted: Vec<(EpochId, u64, u64)>,
    pub(super) index: Option<Index>,
    copies: Vec<Index>,
    pub(super) full: bool,
    pub(super) bug: Option<Bug>,
}

/// How far a commit comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Written,
    Synced,
    Ledgered,
    Indexed,
}

impl Store {
    pub(super) fn new(bug: Option<Bug>) -> Self {
        Self {
            index: Some(Index::new()),
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
        self.index.get_or_insert_default().entry(epoch).or_insert(0);
        self.standing(epoch)
    }

    fn standing(&self, epoch: EpochId) -> Standing {
        let it = &self.epochs[&epoch];
        Standing {
            offset: at(it.base + it.bytes.len() as u64),
            tail: it.tail(),
            ledger: Hash::of(&[self.ledger.len() as u8]),
            in_line: it.bytes.last().is_some_and(|b| *b != b'\n' && *b != HOLE),
            sealed: false,
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
            let head = it.bytes[from..]
                .iter()
                .take(PROOF)
                .take_while(|b| **b != HOLE)
                .count();
            let to = from + head;
            Held {
                epoch: *id,
                end: at(it.base + it.bytes.len() as u64),
                head: Print::of(at(it.base + to as u64), &it.bytes[from..to]),
                tail: it.tail(),
            }
        };
        newest.map(held).collect()
    }

    pub(super) fn proof(&self, epoch: EpochId, end: u64, len: u64) -> Option<Hash> {
        let it = self.epochs.get(&epoch)?;
        let from = end.checked_sub(len)?.checked_sub(it.base)?;
        let found = it.bytes.get(from as usize..(end - it.base) as usize)?;
        (!found.contains(&HOLE)).then(|| Hash::of(found))
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
            it.bytes.len() - known.and_then(|i| i.get(id)).map_or(0, |n| *n)
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

    /// Makes the window stand, or comes as far as a crash lets it.
    pub(super) fn commit(&mut self, until: Stage, chance: &mut Chance) {
        if until >= Stage::Synced {
            self.epochs
                .values_mut()
                .for_each(|it| it.synced = it.bytes.len());
        }
        if until >= Stage::Ledgered {
            self.ledger.append(&mut self.noted);
        }
        if until >= Stage::Indexed {
            if chance.one_in(4)
                && let Some(index) = &self.index
            {
                self.copies.push(index.clone());
            }
            let now = self.epochs.iter().map(|(id, it)| (*id, it.bytes.len()));
            self.index = Some(now.collect());
        }
    }

    /// A sync failed: back to the index.
    pub(super) fn void(&mut self) {
        self.noted.clear();
        let index = self.index.clone().unwrap_or_default();
        for (id, it) in &mut self.epochs {
            it.bytes.truncate(index.get(id).copied().unwrap_or(0));
            it.synced = it.synced.min(it.bytes.len());
        }
    }

    /// The machine stops: of what is not synced, anything may be left.
    pub(super) fn crash(&mut self, chance: &mut Chance) {
        self.noted.clear();
        let index_lost = chance.one_in(6);
        let index_old = !index_lost && chance.one_in(3);
        for it in self.epochs.values_mut() {
            let unsynced = &it.bytes[it.synced..];
            let whole = unsynced.iter().take_while(|b| **b != HOLE).count();
            let left = chance.below(whole + 1);
            it.bytes.truncate(it.synced + left);
            if left > 0 && !index_lost && !index_old && chance.one_in(3) {
                // Torn: the length was written, the bytes were not.
                let torn = it.synced + chance.below(left);
                it.bytes[torn..].fill(0);
            }
        }
        if index_lost {
            self.index = None;
        } else if index_old {
            self.put_old_index(chance);
        }
    }

    /// An older copy of the index. One that is older by less than a window looks like a crash, so that nobody can tell.
    fn put_old_index(&mut self, chance: &mut Chance) {
        let epochs = &self.epochs;
        self.copies.retain(|copy| {
            epochs.iter().all(|(id, it)| {
                let known = copy.get(id).copied();
                known.is_none_or(|n| n == it.synced || it.synced > n + WINDOW)
            })
        });
        if !self.copies.is_empty() {
            let at = chance.below(self.copies.len());
            self.index = Some(self.copies[at].clone());
        }
    }

    /// What a listener does at its start.
    pub(super) fn recover(&mut self) {
        let index = self.index.take();
        let mut end = Index::new();
        for (id, it) in &mut self.epochs {
            if let Some(known) = index.as_ref().and_then(|index| index.get(id)) {
                let beyond = it.bytes.len() - known;
                let cut = beyond <= WINDOW || self.bug == Some(Bug::CutByOldIndex);
                if cut {
                    it.bytes.truncate(*known);
                }
            }
            // What a rebuilt epoch misses is ledgered, if a crash was in the way.
            for (from, to) in it.holes() {
                if !self.ledger.contains(&(*id, from, to)) {
                    self.ledger.push((*id, from, to));
                }
            }
            it.synced = it.bytes.len();
            end.insert(*id, it.bytes.len());
        }
        self.index = Some(end);
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

    /// The last bytes before any gap.
    fn tail(&self) -> Print {
        let end = self
            .bytes
            .iter()
            .rposition(|b| *b != HOLE)
            .map_or(0, |at| at + 1);
        let start = self.bytes[..end]
            .iter()
            .rposition(|b| *b == HOLE)
            .map_or(0, |at| at + 1);
        let start = start.max(end.saturating_sub(PROOF));
        Print::of(at(self.base + end as u64), &self.bytes[start..end])
    }
}

fn at(n: u64) -> Offset {
    Offset::new(n).expect("a run is short")
}
