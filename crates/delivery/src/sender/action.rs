//! What goes in and out of a [`Sender`](super::Sender).

use std::time::Duration;

use super::Doubts;
use crate::{Acked, ArchiveId, Control, EpochId, GapCause, Hash, Offset, Refuse, RollCause};

/// How patient a sender is, and how much it does at a time.
#[derive(Debug, Clone)]
pub struct SenderLimits {
    /// Longest wait for an answer: to a hello, a roll or a proof.
    pub answer: Duration,
    /// Longest wait for any `ack` while data is unacknowledged.
    pub ack: Duration,
    /// Time between two beats.
    pub beat: Duration,
    /// Most bytes of one read.
    pub batch: u64,
    /// Most bytes between two marks; one longer line may be between them.
    pub mark: u64,
    /// Most epochs of one connection that are over and not acknowledged.
    pub rolls: usize,
    /// Most questions about another file.
    pub proofs: u32,
    /// So many bytes prove that two files are alike.
    pub head: u32,
}

impl Default for SenderLimits {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(30),
            ack: Duration::from_secs(30),
            beat: Duration::from_secs(10),
            batch: 256 << 10,
            mark: 1 << 20,
            rolls: 64,
            proofs: 64,
            head: 4096,
        }
    }
}

/// The epoch that a connection starts with, as the forwarder's durable state and its file have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The stream.
    pub stream: String,
    /// The epoch, stored durably before; none to ask which it is.
    pub epoch: Option<EpochId>,
    /// The epoch before it.
    pub after: Option<EpochId>,
    /// The lowest position that can be read; not below `size` when nothing can be read any more.
    pub from: Offset,
    /// The file's size.
    pub size: Offset,
    /// What each master has acknowledged of it.
    pub acked: Vec<Acked>,
    /// The epoch of which it is another history.
    pub of: Option<EpochId>,
    /// Where the epoch starts, if not at 0.
    pub base: Option<Offset>,
    /// When it is asked which epoch the file is: so much of the file is known to be in the archive, in whichever epoch.
    pub common: Offset,
}

/// What the driver found where an [`Action::Read`] sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Whole lines up to `to`, made durable in their file. Empty ones among them are the driver's to send as `blank`:
    /// see [`runs`](crate::runs).
    Lines {
        /// The position behind the last LF.
        to: Offset,
    },
    /// A piece of an over-long line, or the unterminated end of a file that is over.
    Piece {
        /// The position behind it.
        to: Offset,
    },
    /// Bytes that will never come. Not inside a line: then only the end of the epoch can be told.
    Gap {
        /// The position behind them.
        to: Offset,
        /// Why.
        cause: GapCause,
    },
    /// The epoch is over where it was read to; the next is named and stored.
    Roll {
        /// The next epoch, and what a [`Source`] says of it.
        next: EpochId,
        /// The lowest position of it that can be read.
        from: Offset,
        /// Its size.
        size: Offset,
        /// The epoch of which it is another history.
        of: Option<EpochId>,
        /// Where it starts, if not at 0.
        base: Option<Offset>,
        /// How this one ended.
        cause: RollCause,
        /// Bytes known to be lost at its end.
        lost: Option<u64>,
    },
    /// Nothing now: [`Sender::handle_more`](super::Sender::handle_more) when there is.
    Idle,
    /// What is to be sent next does not follow on this connection: an earlier epoch grew. The connection is ended in
    /// order, and the next one starts with that epoch.
    Elsewhere,
}

/// What the driver has to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send a control message.
    Control(Control),
    /// Send a `beat` with the figures of now.
    Beat,
    /// Send the bytes of the last [`Step`] as data frames.
    Data {
        /// The epoch.
        epoch: EpochId,
        /// Its first byte.
        from: Offset,
        /// Behind its last byte.
        to: Offset,
    },
    /// Read on and answer with [`Sender::handle_step`](super::Sender::handle_step).
    Read {
        /// The epoch.
        epoch: EpochId,
        /// From here.
        from: Offset,
        /// At most so many bytes, but at least a line.
        max: u64,
        /// Longer lines in pieces of this length.
        max_line: u32,
    },
    /// Hash these bytes of the file and answer with [`Sender::handle_hash`](super::Sender::handle_hash).
    Hash {
        /// The epoch; none: the file that lost its name.
        epoch: Option<EpochId>,
        /// The first byte.
        from: Offset,
        /// Behind the last byte.
        to: Offset,
    },
    /// Find the start of the line that holds this position (itself, if a line starts there), not below the lowest
    /// readable one; answer with [`Sender::handle_line_start`](super::Sender::handle_line_start).
    LineStart {
        /// The epoch; none: the file that lost its name.
        epoch: Option<EpochId>,
        /// The position.
        at: Offset,
    },
    /// Everything below is durable in this archive.
    Confirm {
        /// The archive.
        archive: ArchiveId,
        /// The epoch.
        epoch: EpochId,
        /// The position.
        offset: Offset,
        /// The ledger's head, when an `ack` said it.
        ledger: Option<Hash>,
    },
    /// What the file that lost its name is, as far as this master can tell. Either store that and go on with
    /// [`Sender::handle_source`](super::Sender::handle_source), or end the connection and ask the next master.
    Adopt(Adopted),
    /// The connection is over: send what was polled before, close it, and drop the sender.
    End(Outcome),
}

/// What a file that lost its name is. Of several masters' answers the first [`Adopted::Epoch`] counts, else the
/// [`Adopted::Branch`] with the largest base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopted {
    /// This epoch, and it goes on as it.
    Epoch(EpochId),
    /// It has everything that is held of this epoch, but that is too little to be sure that no other file has: store a
    /// new epoch with this `of` and `base`, so that nothing is repeated, and nothing else is called by the old name.
    Branch {
        /// The epoch that it shares the bytes below `base` with.
        of: EpochId,
        /// Where the new epoch starts.
        base: Offset,
    },
    /// None that this master holds.
    Unknown,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Why.
    pub why: Why,
    /// Whether the back-off starts again.
    pub reset: bool,
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// Told to stop, and everything that was sent is acknowledged.
    Finished,
    /// The listener goes away.
    Drained,
    /// An earlier epoch has to be continued, and everything that was sent is acknowledged: connect again at once.
    Elsewhere,
    /// The listener said no.
    Refused(Refuse),
    /// The file is another one than the listener's epoch, or the epoch is sealed and the file is not over: store a new
    /// epoch with this `of` and `base`, and connect again at once.
    Branch {
        /// The epoch that it shares the bytes below `base` with.
        of: Option<EpochId>,
        /// Where the new epoch starts.
        base: Offset,
    },
    /// Our own file can't be read, which proves nothing; or it could not when it was to be compared, and can now: the
    /// last step is not taken.
    Unreadable,
    /// The file is another one, but from where on only another master can tell, which has acknowledged what this one
    /// does not hold: ask that one, and hand it this.
    Unproved(Doubts),
    /// The peer broke the protocol.
    Violation(&'static str),
    /// No answer in time.
    Late(&'static str),
    /// The connection broke.
    Broken,
}

/// A driver's call does not fit: a mistake in this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misuse(pub &'static str);
