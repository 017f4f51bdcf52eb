//! Why a window does not stand yet.

use archive::{AppendError, CommitError, VoidError};

#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Void(#[from] VoidError),
}

impl Trouble {
    /// For the metric.
    pub(super) fn reason(&self) -> &'static str {
        if self.is_full() { "full" } else { "failed" }
    }

    /// Whether there was no room.
    pub(super) fn is_full(&self) -> bool {
        match self {
            Trouble::Append(e) => matches!(e, AppendError::Full(_)),
            Trouble::Commit(e) => e.is_full(),
            Trouble::Void(_) => false,
        }
    }

    /// Whether the index is damaged.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Trouble::Append(_) => false,
            Trouble::Commit(e) => e.is_damage(),
            Trouble::Void(e) => e.is_damage(),
        }
    }
}

/// An error with its sources, on one line.
pub(super) struct Chain<'a>(pub(super) &'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
