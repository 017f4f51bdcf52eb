//! A group: what becomes durable together.

use offsets::{Change, Fact};

/// Octets for the files, what becomes true with them, and what the ledger is told then.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Whole lines for the log and for the JSON file.
    pub(crate) output: Output,
    /// Requests in it, empty ones included.
    pub(crate) batches: u64,
    /// Records in it.
    pub(crate) records: u64,
    /// States of sessions, and the last connection's number.
    pub(crate) changes: Vec<Change>,
    /// Gaps among the changes, by the keys under which they are announced.
    pub(crate) gaps: Vec<(String, Fact)>,
    /// Incidents.
    pub(crate) facts: Vec<Fact>,
}

/// The buffers of a group, which go round.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) log: Vec<u8>,
    pub(crate) json: Vec<u8>,
}

impl Output {
    /// Octets in both.
    pub(crate) fn len(&self) -> usize {
        self.log.len() + self.json.len()
    }

    /// Gives memory back over so many octets in each.
    pub(crate) fn shrink_to(&mut self, octets: usize) {
        self.log.shrink_to(octets);
        self.json.shrink_to(octets);
    }
}

impl Group {
    /// An empty group that writes into `output`.
    pub(crate) fn with(output: Output) -> Self {
        Self {
            output,
            ..Self::default()
        }
    }
}
