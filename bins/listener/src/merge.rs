//! The merged outputs: one `.log` and one `.json` of all workers, written after the commit, exactly once.
//!
//! The archive is what they are made from; the queue of committed batches only saves reading it again. When the queue
//! is full its newest batches are left out, and the merger reads them from the archive when it gets there. Its place
//! in each epoch is stored with the lines, by planned append, so that a restart goes on where the files end. A full
//! disk under the merged files holds up nothing but them.
//!
//! Which epochs there are, and in which order they come, a stream's ledger says; the merger's place in the ledger is
//! stored in the same way. So an epoch that is sealed and merged can be forgotten: its opening is behind that place.

mod feed;
mod gather;
mod ledger;
mod lines;
mod merger;
mod places;
mod stream;
mod text;

#[cfg(test)]
pub(crate) use feed::Inbox;
#[cfg(test)]
pub(crate) use feed::Merged;
pub(crate) use feed::{Feed, Step};
pub(crate) use merger::{Outputs, Tools, keep};

#[cfg(test)]
mod tests;
