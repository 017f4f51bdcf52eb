//! What takes a turn: a sender that follows a file, a receiver that writes one.

use std::path::PathBuf;

use swarm::Child;

use crate::stage::Turn;

/// Where lines wait that are read and not delivered; it decides what a crash of the sender costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queue {
    /// In the file that they came from, until the receiver has them on its disk.
    Source,
    /// On the sender's disk.
    Disk,
    /// In the sender's memory.
    Memory,
}

/// One who takes turns.
pub(crate) struct Named {
    /// As in `--only`.
    pub(crate) name: &'static str,
    /// Where lines wait.
    pub(crate) queue: Queue,
    pub(crate) pipeline: Box<dyn Pipeline>,
}

/// One way for lines from a file on the worker to a file on the master. Started anew each turn, with fresh state.
pub(crate) trait Pipeline {
    /// Starts the receiver and waits until it listens; gives the port.
    fn receive(&self, turn: &Turn<'_>) -> anyhow::Result<(Child, u16)>;

    /// Starts the sender. The time runs from here.
    fn send(&self, turn: &Turn<'_>, port: u16) -> anyhow::Result<Child>;

    /// Files of the receiver, in order.
    fn outputs(&self, turn: &Turn<'_>) -> anyhow::Result<Vec<PathBuf>> {
        Ok(vec![turn.output()])
    }

    /// Bytes that the receiver has written.
    fn arrived(&self, turn: &Turn<'_>) -> anyhow::Result<u64> {
        let size = |path| std::fs::metadata(path).map_or(0, |found| found.len());
        Ok(self.outputs(turn)?.iter().map(size).sum())
    }

    /// Asked when everything has arrived: whether it is delivered as far as this way can tell.
    fn is_done(&self, _turn: &Turn<'_>) -> anyhow::Result<bool> {
        Ok(true)
    }
}
