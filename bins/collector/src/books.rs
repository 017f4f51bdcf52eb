//! The books of a container: what was read is what was written plus what was dropped, and why.

use serde::{Deserialize, Serialize};

/// Counts of one container since it was first seen; stored with its cursor in one transaction, so
/// that they outlive a crash as exactly as the lines do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Books {
    /// Lines read; each marked part of an over-long line counts as one.
    pub read: u64,
    /// Lines written to `.log`.
    pub written: u64,
    /// Octets written to `.log`, line ends included.
    pub bytes: u64,
    /// Lines that were not written, by reason.
    pub dropped: Dropped,
    /// Lines among the written ones that got a header.
    pub wrapped: u64,
    /// What became of the records.
    pub records: Records,
    /// Entries of Docker's log that could not be read and were passed over.
    pub corrupt: u64,
    /// Gaps recorded for this container.
    pub gaps: u64,
}

/// Lines that did not go into `.log`, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dropped {
    /// Lines of zero octets.
    pub blank: u64,
    /// Lines of stderr, which is off.
    pub stderr: u64,
}

/// What became of the lines that parse as records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Records {
    /// Written to `.json`.
    pub written: u64,
    /// Left out: the same event came within the window.
    pub repeated: u64,
    /// Left out: its service is on the drop list.
    pub service: u64,
}

impl Books {
    /// Whether every line that was read is accounted for.
    #[must_use]
    pub fn balance(&self) -> bool {
        self.read == self.written + self.dropped.blank + self.dropped.stderr
    }
}
