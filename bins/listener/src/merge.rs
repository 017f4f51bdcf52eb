//! The merged outputs: one `.log` and one `.json` of all workers, written after the commit, exactly once.
//!
//! The archive is what they are made from; the queue of committed batches only saves reading it again. When the queue
//! is full its newest batches are left out, and the merger reads them from the archive when it gets there. Its place
//! in each stream is stored with the lines, by planned append, so that a restart goes on where the files end. A full
//! disk under the merged files holds up nothing but them.

mod feed;
mod lines;
mod merger;
mod places;

pub(crate) use feed::Feed;
#[cfg(test)]
pub(crate) use feed::{Inbox, Mail};
pub(crate) use merger::{Outputs, Tools, keep};
