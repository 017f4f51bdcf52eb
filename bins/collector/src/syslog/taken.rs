//! What was taken from senders, set against the books at the end: what they lack then is lost, as nobody sends it again.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use offsets::{Fact, Ledger, LedgerError};

use super::{
    Transport,
    metrics::{LossLabel, Metrics},
};
use crate::{gap::Notice, roster::Roster, source::Cause};

/// Lines of each transport; clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    counts: Arc<[AtomicU64; 3]>,
}

/// Lines of a transport that were taken and never became durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsaved {
    transport: Transport,
    lines: u64,
}

impl Taken {
    /// Begins where the durable books stand.
    #[must_use]
    pub fn new(roster: &Roster) -> Taken {
        let taken = Taken::default();
        for transport in Transport::ALL {
            taken.add(transport, roster.books(&transport.id()).read);
        }
        taken
    }

    pub(super) fn add(&self, transport: Transport, lines: u64) {
        self.counts[transport as usize].fetch_add(lines, Ordering::Relaxed);
    }

    /// What is missing in the books, once everybody who took or wrote anything has ended.
    #[must_use]
    pub fn unsaved(&self, roster: &Roster) -> Vec<Unsaved> {
        let unsaved = Transport::ALL.into_iter().map(|transport| {
            let taken = self.counts[transport as usize].load(Ordering::Relaxed);
            let lines = taken.saturating_sub(roster.books(&transport.id()).read);
            Unsaved { transport, lines }
        });
        unsaved.filter(|unsaved| unsaved.lines > 0).collect()
    }
}

impl Unsaved {
    /// Its transport and how many lines.
    #[must_use]
    pub fn parts(&self) -> (&'static str, u64) {
        (self.transport.as_str(), self.lines)
    }

    /// Counts it.
    pub fn count(&self, metrics: &Metrics) {
        let label = LossLabel {
            transport: self.transport.as_str(),
            cause: Cause::Unsaved.as_str(),
        };
        metrics.lost.get_or_create(&label).inc_by(self.lines);
    }

    /// The ledger's line. It has no number, as it was not announced, and is told once.
    fn fact(&self) -> Fact {
        let notice = Notice {
            id: self.transport.id(),
            container: super::NAME.to_owned(),
            lines: Some(self.lines),
            cause: Cause::Unsaved.as_str().to_owned(),
            ..Notice::default()
        };
        Fact {
            base: None,
            ..notice.fact()
        }
    }
}

/// Tells the ledger, whose owner has ended. Blocks.
///
/// # Errors
/// A ledger that can't be written, as may be on a full disk.
pub fn tell(ledger: &Path, unsaved: &[Unsaved]) -> Result<(), LedgerError> {
    let facts: Vec<Fact> = unsaved.iter().map(Unsaved::fact).collect();
    let mut ledger = Ledger::open(ledger)?.ledger;
    ledger.append(&facts, SystemTime::now()).map(|_| ())
}
