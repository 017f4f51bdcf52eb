//! Epochs that come to nothing or to their end: written off, or let go of.

use std::os::unix::fs::MetadataExt as _;

use crate::entry::{Entry, Stage};
use crate::epoch::Now;
use crate::follower::Follower;
use crate::source::Ident;
use crate::step::{Cause, RollCause};

/// Finished epochs watched for late writes, at most.
const MAX_LATE: usize = 8;
/// Finished epochs remembered so that their files are recognised.
const MAX_SEALED: usize = 8;

impl Follower {
    /// What was not found is lost, once something newer proves that the rotation is through.
    pub(crate) fn write_off(&mut self, proven: bool, inode: Option<Ident>) -> bool {
        let count = self.chain.len();
        let mut lost = false;
        let waits = |(_, next): (&Entry, &Entry)| next.suspect;
        let waits: Vec<bool> = self
            .chain
            .iter()
            .zip(self.chain.iter().skip(1))
            .map(waits)
            .collect();
        for (index, entry) in self.chain.iter_mut().enumerate() {
            if entry.source.is_some() || entry.sealed || entry.lost.is_some() || entry.spent {
                continue;
            }
            if entry.roll == Stage::Done {
                entry.sealed = entry.settled();
            } else if proven && index + 1 < count && !waits[index] {
                let cut = entry.cause == Some(RollCause::Truncated)
                    || inode.is_some_and(|inode| inode.same_birth(&entry.ident));
                let (cause, roll) = if cut {
                    (Cause::Truncated, RollCause::Truncated)
                } else {
                    (Cause::RotatedAway, RollCause::Gone)
                };
                entry.lost = Some(cause);
                entry.cause = Some(roll);
                lost = true;
            }
        }
        lost
    }

    /// Lets go of finished epochs: gone, long quiet, or too many.
    pub(crate) fn tidy(&mut self, now: Now) {
        let (late, late_gone) = (self.options.late, self.options.late_gone);
        let mut watched = 0;
        for entry in self.chain.iter_mut().rev() {
            if entry.sealed || !entry.settled() {
                continue;
            }
            watched += 1;
            let over = match &entry.source {
                None => true,
                Some(source) if !source.is_plain() => entry.sent >= entry.size,
                Some(source) => match source.look() {
                    Ok(Some(meta)) if meta.len() > entry.sent => false,
                    // To hold a deleted file open keeps its place on the disk.
                    Ok(Some(meta)) if meta.nlink() == 0 => entry.quiet(now, late_gone),
                    _ => entry.quiet(now, late),
                },
            };
            if over || watched > MAX_LATE {
                entry.sealed = true;
                entry.source = None;
            }
        }
        // From the front only: a file between two that we know would pass for a new one.
        let sealed = self.chain.iter().take_while(|entry| entry.sealed).count();
        self.chain.drain(..sealed.saturating_sub(MAX_SEALED));
    }
}
