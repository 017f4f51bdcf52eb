//! Why an archive could not be opened, written or made to stand.

use std::io;
use std::path::PathBuf;

use offsets::LedgerError;

use crate::index::IndexError;
use crate::name::StreamKey;
use crate::segment::is_full;

/// Why an archive could not be opened. Always the environment's or the operator's fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// `init` was never run here.
    #[error("{0} holds no archive: run init first")]
    NotInitialised(PathBuf),
    /// A file or directory could not be used.
    #[error("{0}")]
    Io(PathBuf, #[source] io::Error),
    /// The index could not be read, nor put aside and made again.
    #[error("index of {0}")]
    Index(PathBuf, #[source] IndexError),
    /// A ledger could not be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Why bytes could not be appended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// There is no room, or only the index's reserve. The window is as it was: commit it, free room, append again.
    #[error("no room for segments")]
    Full(#[source] io::Error),
    /// The disk failed. The window is void: call [`Archive::void`](crate::Archive::void) before anything else.
    #[error("append to {key}")]
    Failed {
        /// The stream that was being written.
        key: StreamKey,
        /// What the system said.
        source: io::Error,
    },
    /// The handle's epoch is not loaded any more: [open it](crate::Archive::open_epoch) again.
    #[error("the epoch's handle is gone")]
    Gone,
    /// The caller's mistake: a sealed epoch, a gap backwards. The window is as it was.
    #[error("{key}: {what}")]
    Refused {
        /// The stream.
        key: StreamKey,
        /// What is not possible.
        what: &'static str,
    },
    /// A window was voided and not cut yet: call [`Archive::void`](crate::Archive::void).
    #[error("a void window is still to be cut")]
    Void,
}

/// Why a window does not stand. It is void: call [`Archive::void`](crate::Archive::void) before anything else.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// Segments or directories could not be synced. A sync is never tried again.
    #[error("sync of {0}")]
    Sync(PathBuf, #[source] io::Error),
    /// A ledger could not be written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The index or its witness did not move.
    #[error("index")]
    Index(#[from] IndexError),
    /// A window was voided and not cut yet.
    #[error("a void window is still to be cut")]
    Void,
}

/// Why a void window could not be cut yet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VoidError {
    /// The index can't be asked.
    #[error("index")]
    Index(#[from] IndexError),
    /// A ledger could not be written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A file of the stream can't be opened or cut.
    #[error("cut of {0}")]
    Io(StreamKey, #[source] io::Error),
}

impl CommitError {
    /// Whether there was no room, so that trying later makes sense without an operator.
    pub fn is_full(&self) -> bool {
        match self {
            CommitError::Sync(_, e) | CommitError::Ledger(LedgerError::Io { source: e, .. }) => {
                is_full(e)
            }
            CommitError::Index(e) => e.is_full(),
            _ => false,
        }
    }

    /// Whether the index is damaged, which ends when the archive is [opened](crate::Archive::open) again: that makes
    /// it anew.
    pub fn is_damage(&self) -> bool {
        matches!(self, CommitError::Index(e) if e.is_damage())
    }
}

impl VoidError {
    /// As [`CommitError::is_damage`].
    pub fn is_damage(&self) -> bool {
        matches!(self, VoidError::Index(e) if e.is_damage())
    }
}
