//! What a sender has, and was told.

use std::collections::BTreeMap;

use archive::{EpochId, StreamKey};

/// Numbers that are the same for the same seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below.max(1)
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.roll(n) == 0
    }
}

/// The source's byte at an offset.
pub(super) fn byte(epoch: usize, at: u64) -> u8 {
    let mixed = (at ^ (epoch as u64) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    if mixed.is_multiple_of(9) {
        b'\n'
    } else {
        b'a' + (mixed % 26) as u8
    }
}

pub(super) fn bytes(epoch: usize, from: u64, to: u64) -> Vec<u8> {
    (from..to).map(|at| byte(epoch, at)).collect()
}

/// What an epoch has up to `to`, from where the one before ends.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Run {
    pub(super) to: u64,
    pub(super) gap: bool,
}

/// The epoch ended there, for now, with so many bytes lost.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Roll {
    pub(super) end: u64,
    pub(super) next: EpochId,
    pub(super) lost: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Epoch {
    pub(super) key: StreamKey,
    pub(super) id: EpochId,
    pub(super) base: u64,
    /// What the sender was told that stands.
    pub(super) acked: Vec<Run>,
    /// What the open window has.
    pub(super) pending: Vec<Run>,
    /// The same of its rolls.
    pub(super) rolls: Vec<Roll>,
    pub(super) rolling: Vec<Roll>,
    pub(super) sealed: bool,
    pub(super) sealing: bool,
    /// Below this nobody needs anything any more.
    pub(super) floor: u64,
}

impl Epoch {
    pub(super) fn end(runs: &[Run], base: u64) -> u64 {
        runs.last().map_or(base, |run| run.to)
    }

    pub(super) fn acked_end(&self) -> u64 {
        Epoch::end(&self.acked, self.base)
    }

    pub(super) fn now(&self) -> u64 {
        Epoch::end(&self.pending, self.acked_end())
    }

    pub(super) fn stands(&mut self) {
        self.acked.append(&mut self.pending);
        self.rolls.append(&mut self.rolling);
        self.sealed |= self.sealing;
        self.sealing = false;
    }

    pub(super) fn void(&mut self) {
        self.pending.clear();
        self.rolling.clear();
        self.sealing = false;
    }

    /// A roll to an epoch with a loss, unless that is the last thing that happened.
    pub(super) fn roll(&mut self, next: EpochId, lost: u64) {
        let end = self.now();
        if self.rolled(end) == Some(next) {
            return;
        }
        self.rolling.retain(|roll| roll.end != end);
        if self.rolled(end) != Some(next) {
            self.rolling.push(Roll { end, next, lost });
        }
    }

    /// The epoch that followed, if this one ended at `end`.
    pub(super) fn rolled(&self, end: u64) -> Option<EpochId> {
        let last = self.rolling.last().or(self.rolls.last());
        last.filter(|roll| roll.end == end).map(|roll| roll.next)
    }

    /// Where it rolled and how much was lost then: the last one of each place.
    pub(super) fn losses(rolls: &[Roll]) -> BTreeMap<u64, u64> {
        rolls.iter().map(|roll| (roll.end, roll.lost)).collect()
    }

    /// Recorded gaps, adjacent ones as one.
    pub(super) fn gaps(&self) -> Vec<(u64, u64)> {
        let mut gaps: Vec<(u64, u64)> = Vec::new();
        let mut at = self.base;
        for run in &self.acked {
            match gaps.last_mut() {
                Some((_, to)) if run.gap && *to == at => *to = run.to,
                _ if run.gap => gaps.push((at, run.to)),
                _ => {}
            }
            at = run.to;
        }
        gaps
    }

    /// Takes over where the archive says that it stands after a crash.
    pub(super) fn resume(&mut self, end: u64) {
        assert!(
            end >= self.acked_end(),
            "acknowledged {} is cut to {end}",
            self.acked_end()
        );
        assert!(
            end <= self.now(),
            "{end} is beyond everything that was sent, {}",
            self.now()
        );
        for mut run in std::mem::take(&mut self.pending) {
            if self.acked_end() < end {
                run.to = run.to.min(end);
                self.acked.push(run);
            }
        }
    }
}
