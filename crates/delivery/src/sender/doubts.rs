//! What masters could not prove, over the connections of a stream.

use super::*;
use crate::Acked;

/// The masters that do not hold enough of an epoch to tell from where on a file is another one, and up to where each could.
/// It outlives a connection: [`Why::Unproved`] gives it, [`Sender::with_doubts`] takes it. It decides who is believed, and
/// never what is common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Doubts {
    epoch: Option<EpochId>,
    /// One for each archive at most.
    asked: Vec<Acked>,
    /// How often it was the same one again, with the same.
    again: u32,
}

/// So often one archive is asked again and again while no other answers: a day, at half a minute between two connections.
/// An archive that is gone for good can't be waited for.
const MOST: u32 = 2880;

impl Doubts {
    /// Whether another archive than this one has acknowledged more than `found`, and was not asked, or could prove more.
    pub(super) fn is_better(&self, than: Acked, acked: &[Acked], epoch: EpochId) -> bool {
        let asked = self.of(epoch);
        if self.again >= MOST && asked.contains(&than) {
            return false;
        }
        let mut others = acked
            .iter()
            .filter(|other| other.archive != than.archive && other.offset > than.offset);
        others.any(|other| {
            let told = asked.iter().find(|told| told.archive == other.archive);
            told.is_none_or(|told| told.offset > than.offset)
        })
    }

    /// The same with what another archive could prove.
    pub(super) fn with(&self, told: Acked, epoch: EpochId) -> Self {
        let asked = self.of(epoch);
        let again = asked.last() == Some(&told);
        let others = asked.iter().filter(|other| other.archive != told.archive);
        Self {
            epoch: Some(epoch),
            asked: others.copied().chain([told]).collect(),
            again: if again { self.again + 1 } else { 0 },
        }
    }

    fn of(&self, epoch: EpochId) -> &[Acked] {
        if self.epoch == Some(epoch) {
            &self.asked
        } else {
            &[]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_that_never_answers_is_not_waited_for() {
        let epoch = EpochId::from_bytes([1; 16]);
        let acked = |id: u8, at: u64| Acked {
            archive: ArchiveId::from_bytes([id; 16]),
            offset: Offset::new(at).unwrap(),
        };
        let known = [acked(7, 100), acked(8, 100)];
        let mut doubts = Doubts::default();
        let mut rounds = 0;
        while doubts.is_better(acked(8, 40), &known, epoch) {
            doubts = doubts.with(acked(8, 40), epoch);
            rounds += 1;
        }
        assert_eq!(rounds, MOST + 1);
        // Another place is another question, and so is another epoch.
        assert!(doubts.is_better(acked(8, 50), &known, epoch));
        assert!(doubts.is_better(acked(8, 40), &known, EpochId::from_bytes([2; 16])));
    }
}
