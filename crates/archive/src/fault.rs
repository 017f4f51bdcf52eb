//! A seam for tests: asked before each step that can fail on a real disk.

use std::fmt;
use std::io;
use std::sync::Arc;

/// A step of an append or a commit, in the order in which they happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// A new segment file is made.
    Create,
    /// Bytes are written to a segment.
    Write,
    /// Touched segments and new directory entries are synced.
    Sync,
    /// Facts are appended to a ledger.
    Ledger,
    /// Facts were appended to a ledger.
    Ledgered,
    /// The witness of the window is written.
    Witness,
    /// The index moves.
    Index,
    /// A voided window is cut.
    Cut,
    /// Recovery changes something: before each change.
    Recover,
    /// Segments are removed, or replaced by compressed ones: before each change to a file.
    Upkeep,
}

/// A hook that may fail a [`Step`]; the default never does.
#[derive(Clone, Default)]
pub struct Fault(Option<Arc<Hook>>);

type Hook = dyn Fn(Step) -> io::Result<()> + Send + Sync;

impl Fault {
    /// Asks `hook` before each step.
    pub fn new(hook: impl Fn(Step) -> io::Result<()> + Send + Sync + 'static) -> Fault {
        Fault(Some(Arc::new(hook)))
    }

    pub(crate) fn check(&self, step: Step) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |hook| hook(step))
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Fault(hook)"
        } else {
            "Fault(none)"
        })
    }
}
