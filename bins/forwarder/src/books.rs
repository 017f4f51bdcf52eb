//! What becomes of a stream's octets: written = acknowledged + pending + gaps, over all epochs.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tail::{Checkpoint, EpochId, Gap, Known};

/// What is stored of the books. The rest follows from the checkpoint and from what was acknowledged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Books {
    /// Of epochs that are forgotten: octets acknowledged, or delivered in plain mode.
    acknowledged: u64,
    /// Of epochs that are forgotten: octets in gaps.
    gaps: u64,
    /// Gaps of epochs that are not.
    known: Vec<Gaps>,
}

/// The gaps of one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Gaps {
    epoch: EpochId,
    /// Octets passed over.
    inside: u64,
    /// Up to here they are counted: a gap that is told again after a crash counts once.
    to: u64,
    /// Octets known to be missing at its end.
    end: u64,
}

/// The sums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) written: u64,
    pub(crate) acknowledged: u64,
    pub(crate) pending: u64,
    pub(crate) gaps: u64,
}

impl Sums {
    /// For the status page.
    pub(crate) fn to_json(self) -> Value {
        json!({
            "written": self.written,
            "acknowledged": self.acknowledged,
            "pending": self.pending,
            "gaps": self.gaps,
            "balanced": self.written == self.acknowledged + self.pending + self.gaps,
        })
    }
}

impl Books {
    /// A gap was recorded.
    pub(crate) fn gap(&mut self, gap: &Gap) {
        let at = match self.known.iter().position(|gaps| gaps.epoch == gap.epoch) {
            Some(at) => at,
            None => {
                self.known.push(Gaps {
                    epoch: gap.epoch,
                    inside: 0,
                    to: 0,
                    end: 0,
                });
                self.known.len() - 1
            }
        };
        let gaps = &mut self.known[at];
        match gap.to {
            Some(to) => {
                gaps.inside += to.saturating_sub(gap.from.max(gaps.to));
                gaps.to = gaps.to.max(to);
            }
            None => gaps.end = gap.known,
        }
    }

    /// The checkpoint is another one: what epochs that are no longer in it have come to stays in the sums.
    pub(crate) fn turn(
        &mut self,
        before: &Checkpoint,
        after: &Checkpoint,
        acked: impl Fn(EpochId) -> u64,
    ) {
        let gone = |known: &&Known| after.epochs.iter().all(|now| now.epoch != known.epoch);
        for known in before.epochs.iter().filter(gone) {
            let sums = self.of(known, acked(known.epoch));
            self.acknowledged += sums.acknowledged;
            self.gaps += sums.gaps;
        }
        self.known
            .retain(|gaps| after.epochs.iter().any(|now| now.epoch == gaps.epoch));
    }

    /// The sums over the epochs of a checkpoint and those before it. `acked`: what any archive has of an epoch.
    pub(crate) fn sums(&self, checkpoint: &Checkpoint, acked: impl Fn(EpochId) -> u64) -> Sums {
        let mut sums = Sums {
            written: self.acknowledged + self.gaps,
            acknowledged: self.acknowledged,
            pending: 0,
            gaps: self.gaps,
        };
        for known in &checkpoint.epochs {
            let of = self.of(known, acked(known.epoch));
            sums.written += of.written;
            sums.acknowledged += of.acknowledged;
            sums.pending += of.pending;
            sums.gaps += of.gaps;
        }
        sums
    }

    fn of(&self, known: &Known, acked: u64) -> Sums {
        let gaps = self.known.iter().find(|gaps| gaps.epoch == known.epoch);
        let (inside, end) = gaps.map_or((0, 0), |gaps| (gaps.inside, gaps.end));
        let to = acked.max(known.offset());
        let size = known.ident.size.max(to);
        // A gap that was recorded and is not acknowledged yet is no longer waited for.
        let done = to.max(gaps.map_or(0, |gaps| gaps.to));
        let pending = size - done.min(size);
        Sums {
            written: size - known.base.min(size),
            acknowledged: done.saturating_sub(known.base + inside),
            pending: pending.saturating_sub(end),
            gaps: inside + end,
        }
    }
}

#[cfg(test)]
mod tests;
