//! Faults that the simulator puts in on purpose, to show that it would find them. There are none outside tests.

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "only the simulator knows the faults of the disk")
)]
pub(crate) enum Bug {
    /// The listener acknowledges what it has only read.
    AckBeforeFsync,
    /// The listener resumes one byte too far.
    ResumeOffByOne,
    /// The forwarder believes any resume.
    NoTailProof,
    /// A takeover does not wait for the older connection.
    NoFence,
    /// The forwarder sends of a new epoch before it is told where to resume.
    EarlyEpoch,
    /// Recovery cuts to the index, however far that is.
    CutByOldIndex,
    /// The forwarder gives a file that branched off another name without asking whether it has one.
    UnaskedBranch,
}

/// Which fault is in, if any.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bugs {
    #[cfg(test)]
    pub(crate) bug: Option<Bug>,
}

impl Bugs {
    /// Whether this one is in.
    #[cfg(test)]
    pub(crate) fn has(self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Whether this one is in.
    #[cfg(not(test))]
    pub(crate) fn has(self, _: Bug) -> bool {
        false
    }
}
