//! The value from which a new follower goes on where the last one stood.

use serde::{Deserialize, Serialize};

use crate::source::Ident;
use crate::{Cause, EpochId, Print, RollCause};

/// What is known of a path's epochs, oldest first. Its user stores it, together with what the confirmed bytes led to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The epochs: some that are over, the one that is read, some that wait.
    pub epochs: Vec<Known>,
    /// Before any epoch was named: the file that was live at the first look of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<First>,
}

/// The first file that was ever seen: what is older was there before our time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct First {
    /// Where it was.
    pub ident: Ident,
    /// Hash of its first bytes, as far as they were seen.
    pub head: Print,
}

impl Checkpoint {
    /// The epoch at which reading goes on, if any epoch is known: the oldest that is not over.
    pub fn current(&self) -> Option<&Known> {
        self.epochs
            .iter()
            .find(|known| known.ended.is_none())
            .or(self.epochs.last())
    }
}

/// What is known of one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Its name.
    pub epoch: EpochId,
    /// Where its file was, a proposal only.
    pub ident: Ident,
    /// Hash of its first bytes. Before anything of it is confirmed: of those that were seen.
    pub head: Print,
    /// The bytes of `head`, of a file that may be cut: a copy of it may be shorter than what was seen.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "crate::print::to_hex",
        deserialize_with = "crate::print::bytes_from_hex"
    )]
    pub first: Vec<u8>,
    /// Hash of the bytes before the confirmed offset.
    pub tail: Print,
    /// How it ended; `None`: it is being read, or waits for its turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<RollCause>,
    /// Bytes that were given up: a gap that is decided, and may have been told to somebody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<Skip>,
    /// Its file was cut, and the copy that is left holds less than was handed out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spent: bool,
    /// The epoch of which it is another history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<EpochId>,
    /// Where it begins: what is below is the other one's.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub base: u64,
}

/// Bytes that were given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skip {
    /// The first one: the start of a line.
    pub from: u64,
    /// The offset behind the last one.
    pub to: u64,
    /// Why.
    pub cause: Cause,
}

fn is_zero(base: &u64) -> bool {
    *base == 0
}

impl Known {
    /// Everything below is confirmed.
    pub fn offset(&self) -> u64 {
        self.tail.end
    }
}
