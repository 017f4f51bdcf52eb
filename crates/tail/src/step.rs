//! What a follower hands out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::EpochId;

/// The next thing there is, in order. Each but [`Step::Idle`] carries a number for [`Follower::confirm`](crate::Follower::confirm).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The buffer holds whole lines, each ended by an LF.
    Lines(Span),
    /// The buffer holds a piece of a line that is longer than the limit: no LF follows it, and more of the line does.
    Part(Span),
    /// The buffer holds the end of an epoch that is over; it has no LF.
    Tail(Span),
    /// Bytes that will never come.
    Gap(Gap),
    /// An epoch is over, the next begins.
    Roll(Roll),
    /// Nothing to hand out now; look again when the [`Watch`](crate::Watch) reports, at the latest after this time.
    Idle(Duration),
}

/// A range of bytes of one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Number of this step.
    pub seq: u64,
    /// The epoch. Usually the one of the span before; an earlier one when something was still written into a
    /// rotated file.
    pub epoch: EpochId,
    /// Offset of the first byte.
    pub from: u64,
    /// Offset behind the last byte.
    pub to: u64,
}

/// Bytes of an epoch that will never come, and why. Record it durably before confirming it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Number of this step.
    pub seq: u64,
    /// The epoch.
    pub epoch: EpochId,
    /// Offset of the first byte missing.
    pub from: u64,
    /// Offset behind the last byte missing; `None`: the rest of the epoch, however long it was.
    pub to: Option<u64>,
    /// How many bytes are known to be missing: all of them when `to` is known, else a lower bound.
    pub known: u64,
    /// Why.
    pub cause: Cause,
}

/// Why bytes are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Cause {
    /// The file was rotated and neither it nor a copy is there any more.
    RotatedAway,
    /// The file was cut, and no copy holds what stood in it.
    Truncated,
    /// The backlog was over the limit.
    LagCap,
    /// Another program forwarded them before the first start.
    Imported,
    /// A rotated file is there but can't be read: permissions, damage, an unknown compression.
    Unreadable,
}

impl Cause {
    /// As it is written in ledgers and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RotatedAway => "rotated-away",
            Self::Truncated => "truncated",
            Self::LagCap => "lag-cap",
            Self::Imported => "imported",
            Self::Unreadable => "unreadable",
        }
    }
}

/// An epoch is over, the next begins. What is written into the old file later still comes, as a [`Span`] of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roll {
    /// Number of this step.
    pub seq: u64,
    /// The epoch that is over.
    pub epoch: EpochId,
    /// Its length.
    pub end: u64,
    /// The epoch that begins.
    pub next: EpochId,
    /// How it ended.
    pub cause: RollCause,
    /// Bytes known to be lost at its end; `None`: unknown.
    pub lost: Option<u64>,
}

/// How an epoch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RollCause {
    /// Its file was renamed or copied away.
    Rotated,
    /// Its file was cut, and no copy of it is there.
    Truncated,
    /// Its file is gone.
    Gone,
}

impl RollCause {
    /// As it is written in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rotated => "rotated",
            Self::Truncated => "truncated",
            Self::Gone => "gone",
        }
    }
}
