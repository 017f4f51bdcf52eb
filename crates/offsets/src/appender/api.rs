//! What goes into an appender beside bytes, and what comes out of it.

use std::io;
use std::path::PathBuf;

use serde_json::json;
use tracing::{info, warn};

use crate::ledger::Fact;
use crate::store::{Change, StoreError};

/// Bounds of one appender; a batch over a limit is refused, not cut.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// Most bytes of one batch over all targets. A redo slot grows to the largest batch seen, so twice
    /// this is the disk space that the redo slots can take.
    pub batch_bytes: usize,
    /// Most bytes of keys and values in the changes of one batch.
    pub change_bytes: usize,
}

/// What [`crate::Appender::open`] found of the batch that was under way when the process before ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recovered {
    /// The target holds the whole batch now.
    Completed {
        /// The target, as configured when the batch was announced.
        path: PathBuf,
        /// Bytes of the batch that stood in the file.
        found: u64,
        /// Bytes that recovery wrote.
        written: u64,
    },
    /// The file that the batch was announced for is gone, and no copy of it was found beside it: what
    /// of the batch stood there is unknown. Nothing was written again. At most one batch; the changes
    /// of the batch hold.
    Uncertain {
        /// The target, as configured when the batch was announced.
        path: PathBuf,
        /// Bytes of the batch for this target.
        bytes: u64,
        /// Lines of the batch for this target.
        lines: u64,
        /// Number of the batch: with the path it names the loss, which may be reported again.
        batch: u64,
    },
}

/// Kind and cause of the ledger's line about a batch of which nobody knows whether it stood in a file that is gone.
pub const UNCERTAIN: &str = "uncertain";

impl Recovered {
    /// Says in the log what was found, and gives what a ledger has to know of it: the batch that is uncertain, if one
    /// is. Kind, `base` (the batch's number) and path name it, so that telling it again after a crash is harmless.
    #[must_use]
    pub fn tell(&self) -> Option<Fact> {
        match self {
            Self::Completed {
                path,
                found,
                written,
            } => {
                info!(path = %path.display(), found, written, "batch of the run before completed");
                None
            }
            Self::Uncertain {
                path,
                bytes,
                lines,
                batch,
            } => {
                warn!(path = %path.display(), bytes, lines, "file gone with a batch under way");
                let more = json!({"path": path, "lines": lines, "cause": UNCERTAIN});
                Some(Fact {
                    kind: UNCERTAIN.to_owned(),
                    base: Some(*batch),
                    len: Some(*bytes),
                    more: more.as_object().cloned().unwrap_or_default(),
                    ..Fact::default()
                })
            }
        }
    }
}

/// What an append did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Appended {
    /// The caller's buffers, empty, with their capacity.
    pub parts: Vec<Vec<u8>>,
    /// Bytes that stand in the target files now.
    pub bytes: u64,
}

/// Sums since the appender was opened, for the caller's metrics.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Batches that stand in their targets.
    pub batches: u64,
    /// Bytes written to targets.
    pub bytes: u64,
    /// Bytes written to the redo slots.
    pub redo_bytes: u64,
    /// Calls of fdatasync.
    pub syncs: u64,
    /// Targets opened again because they were rotated or deleted.
    pub reopened: u64,
    /// Times a batch was blocked by the disk or file system.
    pub blocked: u64,
}

/// Why an append failed, and whose batch it is now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The environment does not let us write (disk full, quota, permissions). The batch is kept:
    /// call [`crate::Appender::resume`] until it is done.
    #[error("cannot write {path}")]
    Blocked {
        /// The file that could not be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A batch is still blocked; this one was not taken. Resume first.
    #[error("the batch before is still blocked")]
    Pending {
        /// The parts that were not taken.
        parts: Vec<Vec<u8>>,
        /// The changes that were not taken.
        changes: Vec<Change>,
    },
    /// The batch breaks the contract; the caller's mistake. It was not taken.
    #[error("batch refused: {what}")]
    Refused {
        /// Which rule it breaks.
        what: &'static str,
        /// The offending figure.
        found: usize,
        /// The limit or expected figure.
        limit: usize,
    },
    /// A sync failed, so what is on the disk is unknown, or an earlier call failed that way. A sync is
    /// never retried: end the process; the next [`crate::Appender::open`] finishes the batch.
    #[error("cannot make {path} durable")]
    Sync {
        /// The file that could not be synced.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A redo file contradicts itself or the store. Nothing is repaired by guessing.
    #[error("redo file {path} is damaged: {what}")]
    Damaged {
        /// The redo file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The checkpoint store failed.
    #[error("checkpoints")]
    Store(#[from] StoreError),
    /// The runtime was shut down, or its blocking thread died, under the call.
    #[error("the writing task was lost")]
    Lost,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_bytes: 64 << 20,
            change_bytes: 16 << 20,
        }
    }
}
