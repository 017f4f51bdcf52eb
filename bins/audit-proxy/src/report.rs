//! What went wrong, added up: one ledger line a second and kind, not one per incident.

use std::collections::BTreeMap;

use offsets::Fact;
use serde_json::{Map, json};

use crate::event::{Broken, Peer};

/// A kind of incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum What {
    /// Records that will never come, by cause.
    Lost(&'static str),
    /// Records whose number had come before; they are kept.
    Duplicate,
    /// A connection that ended without one octet.
    Empty,
    /// A connection's last frame that was not taken; the client keeps it and sends it again.
    Broken(Broken),
}

/// Incidents that wait to be told.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    tallies: BTreeMap<Who, Tally>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Who {
    what: What,
    peer: Peer,
    session: String,
}

/// How much.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Incidents: frames, connections or status messages.
    pub(crate) times: u64,
    /// Records, as far as they could be counted.
    pub(crate) records: u64,
    /// Octets of frames that could not be read.
    pub(crate) bytes: u64,
}

impl Reports {
    /// Adds an incident of a client. `session` may be empty.
    pub(crate) fn add(&mut self, what: What, peer: Peer, session: &str, tally: Tally) {
        let mut who = Who {
            what,
            peer,
            session: session.to_owned(),
        };
        if self.tallies.len() >= MOST && !self.tallies.contains_key(&who) {
            (who.peer, who.session) = (Peer::default(), String::new());
        }
        let sum = self.tallies.entry(who).or_default();
        sum.times = sum.times.saturating_add(tally.times);
        sum.records = sum.records.saturating_add(tally.records);
        sum.bytes = sum.bytes.saturating_add(tally.bytes);
    }

    /// Whether there is nothing to tell.
    pub(crate) fn is_empty(&self) -> bool {
        self.tallies.is_empty()
    }

    /// Takes everything, as lines for the ledger.
    pub(crate) fn take(&mut self) -> Vec<Fact> {
        std::mem::take(&mut self.tallies)
            .into_iter()
            .map(|(who, tally)| who.fact(tally))
            .collect()
    }
}

impl Who {
    fn fact(self, tally: Tally) -> Fact {
        let (kind, cause) = match self.what {
            What::Lost(cause) => (GAP, Some(cause)),
            What::Duplicate => ("duplicate", None),
            What::Empty => ("closed-without-frame", None),
            What::Broken(why) => ("broken-frame", Some(why.as_str())),
        };
        let mut more = Map::new();
        if let Some(cause) = cause {
            more.insert("cause".to_owned(), cause.into());
        }
        more.insert("times".to_owned(), tally.times.into());
        if tally.records > 0 {
            more.insert("records".to_owned(), tally.records.into());
        }
        more.insert("pid".to_owned(), json!(self.peer.pid));
        more.insert("uid".to_owned(), json!(self.peer.uid));
        Fact {
            kind: kind.to_owned(),
            epoch: Some(self.session).filter(|session| !session.is_empty()),
            len: Some(tally.bytes).filter(|bytes| *bytes > 0),
            more,
            ..Fact::default()
        }
    }
}

/// Kinds that are told apart within a second; more are added up without peer and session.
const MOST: usize = 256;

/// The ledger's kind for records that will never come.
pub(crate) const GAP: &str = "gap";

#[cfg(test)]
mod tests;
