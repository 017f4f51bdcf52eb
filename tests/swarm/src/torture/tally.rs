//! How often what went wrong.

use std::fmt;

/// How often what happened.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Kills of a program that had done something since its start.
    pub(super) working: u64,
    pub(super) cuts: u64,
    pub(super) held: u64,
    pub(super) stale: u64,
    pub(super) half_open: u64,
    pub(super) pauses: u64,
    pub(super) renames: u64,
    pub(super) truncates: u64,
    pub(super) compressions: u64,
    pub(super) full: u64,
    /// Programs that ended by themselves while their disk was full.
    pub(super) ended: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kills at work, {} cuts, {} delays, {} stale connections, {} half open, {} pauses, {} renames, \
             {} copytruncates, {} compressed, {} full disks, {} ended by themselves",
            self.working,
            self.cuts,
            self.held,
            self.stale,
            self.half_open,
            self.pauses,
            self.renames,
            self.truncates,
            self.compressions,
            self.full,
            self.ended
        )
    }
}
