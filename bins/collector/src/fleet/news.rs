//! What goes into the fleet and what comes out of it.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    select::{Facts, Verdict},
    source::{Container, Cursor},
};

/// A container that is to be collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// What Docker says of it.
    pub facts: Facts,
    /// Why it is collected.
    pub why: Verdict,
}

/// What the watcher of the daemon reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// A whole listing.
    Listed {
        /// The containers to collect.
        chosen: Vec<Chosen>,
        /// The ids of all containers there are.
        present: BTreeSet<String>,
    },
    /// One container changed.
    Seen(Chosen),
    /// A container was removed.
    Gone(String),
    /// A container that would have been collected was removed before it could be looked at.
    Missed {
        /// Its id.
        id: String,
        /// Its name as the event gave it.
        name: String,
    },
}

/// What the writer reports of a reader, after everything that the reader handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The container's id.
    pub id: String,
    /// The cursor after the reader's last batch; `None` if it handed out none.
    pub cursor: Option<Cursor>,
    /// `None`: everything was read. Else why the reader gave up.
    pub error: Option<String>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start a reader.
    Start {
        /// The container.
        container: Arc<Container>,
        /// The cursor to start from.
        cursor: Option<Cursor>,
        /// Through the API, not from the file.
        api: bool,
    },
    /// The container's output is over: its file reader drains it. An API stream ends by itself.
    Drain {
        /// The container's id.
        id: String,
    },
    /// The API reader stops and reports.
    Stop {
        /// The container's id.
        id: String,
    },
    /// The container has a (new) label or state: tell whoever shows it.
    Show {
        /// The container's id.
        id: String,
    },
    /// The container is drained: remember that this run needs no reading again.
    Drained {
        /// The container's id.
        id: String,
        /// Which run, by its start.
        started_ns: i64,
    },
    /// The container was removed before everything was read.
    Lost {
        /// The container's id.
        id: String,
        /// Its name.
        name: String,
    },
    /// The container does not exist any more: its cursor may be forgotten in time.
    Removed {
        /// The container's id.
        id: String,
    },
    /// It exists after all.
    Returned {
        /// The container's id.
        id: String,
    },
}

/// What is known from the time before this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The cursor after the last line that stands in the file.
    pub cursor: Option<Cursor>,
    /// The run that was drained, by its start.
    pub drained_ns: Option<i64>,
    /// Whether the container was gone when last looked for.
    pub gone: bool,
}
