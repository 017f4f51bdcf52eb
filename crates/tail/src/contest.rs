//! An epoch whose file is not what a receiver holds of it.
//!
//! From where both part the file is another epoch. It may have a name already, which an old copy of the checkpoint does
//! not know: so it is asked about like a file that nothing explains, behind those, before it is given a new one.

use crate::epoch::{EpochId, Now};
use crate::error::TailError;
use crate::follower::Follower;
use crate::source::Source;
use crate::strangers::Answer;

/// An epoch that waits for another name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contested {
    epoch: EpochId,
    of: Option<EpochId>,
    base: u64,
}

/// An epoch's file got another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renamed {
    /// The name that it had.
    pub epoch: EpochId,
    /// The name that it has.
    pub next: EpochId,
    /// Where the new epoch begins; 0 if a receiver knows it.
    pub base: u64,
}

impl Follower {
    /// The file of `epoch` is not what a receiver holds of it: from `base` on it is another history, of `of` if both
    /// begin alike. It waits with the files that have no name until [`Follower::name`] says which epoch it is.
    pub fn contest(&mut self, epoch: EpochId, of: Option<EpochId>, base: u64) {
        if self.place(epoch).is_some() {
            self.contested = Some(Contested { epoch, of, base });
            self.round += 1;
        }
    }

    /// What became of the last epoch that was contested, once.
    pub fn renamed(&mut self) -> Option<Renamed> {
        self.renamed.take()
    }

    pub(crate) fn contested_source(&mut self) -> Option<&mut Source> {
        let Contested { epoch, .. } = self.contested?;
        let entry = self.chain.iter_mut().find(|entry| entry.id == epoch)?;
        entry.source.as_mut()
    }

    /// How much of a file that waits is known to be held by a receiver, whatever the epoch.
    pub fn stranger_common(&self, at: usize) -> u64 {
        match &self.contested {
            Some(contested) if at >= self.waiting() => contested.base,
            _ => 0,
        }
    }

    /// Gives the contested epoch its new name, unless its file is not what it was a moment ago.
    pub(crate) fn rename(&mut self, answer: Answer, now: Now) -> Result<(), TailError> {
        let Some(Contested {
            epoch,
            mut of,
            mut base,
        }) = self.contested
        else {
            return Ok(());
        };
        let mut known = None;
        match answer {
            // What two files have in common proves neither.
            Answer::Is(id) if self.place(id).is_none() => (known, of, base) = (Some(id), None, 0),
            Answer::Branch { of: id, base: at } if at > base => (of, base) = (id, at),
            _ => {}
        }
        let same = self.verify(epoch, now)? && self.seek(epoch, base)?;
        self.contested = None;
        self.round += 1;
        if !same {
            return Ok(());
        }
        let next = known.unwrap_or_else(|| (self.ids)());
        if let Some(entry) = self.chain.iter_mut().find(|entry| entry.id == epoch) {
            (entry.id, entry.of, entry.base) = (next, of, base);
            self.changes += 1;
            self.renamed = Some(Renamed { epoch, next, base });
        }
        Ok(())
    }
}
