//! A byte position inside an epoch.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A byte position inside an epoch: 0 … 2^53−1, so that every JSON reader holds it exactly.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "u64", into = "u64")]
pub struct Offset(u64);

/// A position lies beyond 2^53−1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("offset {0} is over 2^53-1")]
pub struct OffsetError(pub u64);

impl Offset {
    /// The first position.
    pub const ZERO: Self = Self(0);
    /// The last position, 2^53−1.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// Checks a position.
    ///
    /// # Errors
    /// It is over 2^53−1.
    pub const fn new(at: u64) -> Result<Self, OffsetError> {
        if at > Self::MAX.0 {
            Err(OffsetError(at))
        } else {
            Ok(Self(at))
        }
    }

    /// The position as a number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position `by` bytes further on.
    ///
    /// # Errors
    /// It would be over 2^53−1.
    pub const fn advance(self, by: u64) -> Result<Self, OffsetError> {
        Self::new(self.0.saturating_add(by))
    }

    /// The position `by` bytes before, or the first one.
    #[must_use]
    pub const fn back(self, by: u64) -> Self {
        Self(self.0.saturating_sub(by))
    }

    /// How many bytes lie between `earlier` and this; 0 when `earlier` is not earlier.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl TryFrom<u64> for Offset {
    type Error = OffsetError;

    fn try_from(at: u64) -> Result<Self, OffsetError> {
        Self::new(at)
    }
}

impl From<Offset> for u64 {
    fn from(offset: Offset) -> Self {
        offset.0
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
