//! The name of one incarnation of a file, and the two clocks.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// One incarnation of the file behind a path: 128 random bits, written as 32 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EpochId([u8; 16]);

impl EpochId {
    /// A new one, from the system's randomness.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// From its bits.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bits.
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for EpochId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for EpochId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<EpochId> for String {
    fn from(id: EpochId) -> Self {
        id.to_string()
    }
}

/// A text is not 32 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an epoch is 32 lower-case hex digits, not {0:?}")]
pub struct ParseEpochError(String);

impl FromStr for EpochId {
    type Err = ParseEpochError;

    fn from_str(text: &str) -> Result<Self, ParseEpochError> {
        let mut bytes = [0; 16];
        crate::print::unhex(text, &mut bytes).ok_or_else(|| ParseEpochError(text.to_owned()))?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for EpochId {
    type Error = ParseEpochError;

    fn try_from(text: String) -> Result<Self, ParseEpochError> {
        text.parse()
    }
}

/// The time, told to a follower by its user: a steady clock for waits, the wall clock to compare with a file's stamps.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The steady clock.
    pub steady: Instant,
    /// The wall clock.
    pub wall: SystemTime,
}

impl Now {
    /// Both clocks, now.
    pub fn system() -> Self {
        Self {
            steady: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    /// Both clocks, later by `by`.
    #[must_use]
    pub fn later(self, by: Duration) -> Self {
        Self {
            steady: self.steady + by,
            wall: self.wall + by,
        }
    }

    /// Nanoseconds since 1970; negative before.
    pub(crate) fn wall_ns(&self) -> i64 {
        unix_ns(self.wall)
    }
}

/// Nanoseconds since 1970, as far as 64 bits reach (the year 2262).
pub(crate) fn unix_ns(time: SystemTime) -> i64 {
    let clamp = |by: Duration| i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => clamp(after),
        Err(before) => -clamp(before.duration()),
    }
}
