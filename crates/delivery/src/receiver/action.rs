//! What goes in and out of a [`Receiver`](super::Receiver).

use std::time::Duration;

use crate::control::{Acked, Beat, Code, GapCause, RollCause};
use crate::{ArchiveId, Control, EpochId, Hash, Offset, Print};

/// How patient a receiver is, and how much it takes.
#[derive(Debug, Clone)]
pub struct ReceiverLimits {
    /// Longest wait for the hello.
    pub hello: Duration,
    /// Longest time without progress inside a frame.
    pub frame: Duration,
    /// Longest time without any frame.
    pub idle: Duration,
    /// Time between two acks that say nothing new, while nothing can be committed.
    pub repeat: Duration,
    /// Longest line in one frame, in bytes.
    pub max_frame: u32,
    /// Most bytes without a mark, beside one frame.
    pub unmarked: u64,
    /// Most questions of a connection: `prove`, and each hello after the first.
    pub questions: u32,
    /// Archives that may move a resume forward.
    pub siblings: Vec<ArchiveId>,
}

impl Default for ReceiverLimits {
    fn default() -> Self {
        Self {
            hello: Duration::from_secs(10),
            frame: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            repeat: Duration::from_secs(10),
            max_frame: 1 << 20,
            unmarked: 1 << 20,
            questions: 64,
            siblings: Vec::new(),
        }
    }
}

/// Where an epoch stands in the archive, when nobody else writes to it and nothing of it is uncommitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Everything below is durable; a new epoch's base.
    pub offset: Offset,
    /// The last bytes held before any gap, at most 4 KiB.
    pub tail: Print,
    /// The ledger's head.
    pub ledger: Hash,
    /// Whether `offset` is inside a line.
    pub in_line: bool,
    /// Whether nothing may be appended any more.
    pub sealed: bool,
}

/// An epoch that a connection wants to write to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// The epoch.
    pub epoch: EpochId,
    /// The epoch before it, as far as the worker knows.
    pub after: Option<EpochId>,
    /// The epoch of which it is another history.
    pub of: Option<EpochId>,
    /// Where it starts, if it is new.
    pub base: Offset,
}

/// Bytes to append: the messages of the frames that [`Receiver::handle_data`](super::Receiver::handle_data) was told
/// of, each followed by an LF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Append {
    /// The epoch.
    pub epoch: EpochId,
    /// Where they go.
    pub from: Offset,
    /// Behind them.
    pub to: Offset,
    /// The first message is a piece of a line: no LF follows it.
    pub piece: bool,
}

/// What the driver has to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send a control message.
    Control(Control),
    /// Claim the stream ([`Admission::claim`](crate::Admission::claim)) and answer with
    /// [`Receiver::handle_claimed`](super::Receiver::handle_claimed) once no other connection has it, or with
    /// [`Receiver::handle_refused`](super::Receiver::handle_refused).
    Claim {
        /// Its name, checked.
        stream: String,
    },
    /// Answer with [`Receiver::handle_epochs`](super::Receiver::handle_epochs): the newest of the stream.
    List,
    /// Find the epoch, or make it (limits: [`Admission::may_open`](crate::Admission::may_open)), and answer with
    /// [`Receiver::handle_standing`](super::Receiver::handle_standing) or
    /// [`Receiver::handle_refused`](super::Receiver::handle_refused).
    Open(Opening),
    /// Append so many LFs.
    Blank {
        /// The epoch.
        epoch: EpochId,
        /// Where they go.
        from: Offset,
        /// How many.
        count: u32,
    },
    /// Record a gap, as part of the window.
    Gap {
        /// The epoch.
        epoch: EpochId,
        /// The first byte missing.
        from: Offset,
        /// Behind the last byte missing.
        to: Offset,
        /// Why.
        cause: GapCause,
    },
    /// Record the end of an epoch, as part of the window. An [`Action::Open`] for the next one follows.
    Roll {
        /// The epoch that is over, for now.
        epoch: EpochId,
        /// Where.
        end: Offset,
        /// The next one.
        next: EpochId,
        /// How it ended.
        cause: RollCause,
        /// Bytes known to be lost at its end.
        lost: Option<u64>,
    },
    /// Hash bytes of the archive and answer with [`Receiver::handle_proof`](super::Receiver::handle_proof).
    Prove {
        /// The epoch.
        epoch: EpochId,
        /// Behind them.
        end: Offset,
        /// How many.
        len: u32,
    },
    /// Commit what this connection wrote now, and answer with
    /// [`Receiver::handle_committed`](super::Receiver::handle_committed) or
    /// [`Receiver::handle_void`](super::Receiver::handle_void).
    Commit,
    /// The worker lives, and stands so.
    Beat(Beat),
    /// The worker asks for its next certificate.
    Renew {
        /// The request.
        csr: String,
    },
    /// Send what was polled before, and close. Give the stream back ([`Admission::released`](crate::Admission::released))
    /// when everything this connection wrote stands or is void.
    Close(Closing),
}

/// Why a receiver closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Closing {
    /// Said so by a `refuse`.
    Refused(Code),
    /// The peer broke the protocol.
    Violation(&'static str),
    /// No hello, no progress in a frame, or no frame in time.
    Late(&'static str),
    /// What it wrote does not stand.
    Void,
}

/// What a hello says about acknowledgements of others.
pub(super) fn furthest(acked: &[Acked], siblings: &[ArchiveId], own: ArchiveId) -> Option<Offset> {
    let counts = |acked: &&Acked| acked.archive != own && siblings.contains(&acked.archive);
    acked.iter().filter(counts).map(|acked| acked.offset).max()
}
