//! Names that travel: epochs, archives, hashes, streams.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Offset;

/// A text is not what the protocol writes there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Not lower-case hex digits of the right number.
    #[error("{digits} lower-case hex digits expected, not {found:?}")]
    Hex {
        /// How many there must be.
        digits: usize,
        /// What was there, at most its first 80 characters.
        found: String,
    },
    /// Not a stream's name.
    #[error("a stream is named [a-z0-9][a-z0-9._-]{{0,63}}, not {0:?}")]
    Stream(String),
}

macro_rules! hex_name {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; $len]);

        impl $name {
            /// From its bits.
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// Its bits.
            pub const fn bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let mut bytes = [0; $len];
                match unhex(text.as_bytes(), &mut bytes) {
                    Some(()) => Ok(Self(bytes)),
                    None => Err(NameError::Hex {
                        digits: $len * 2,
                        found: text.chars().take(80).collect(),
                    }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.to_string()
            }
        }
    };
}

hex_name! {
    /// One incarnation of the file behind a stream: 128 random bits, written as 32 lower-case hex digits.
    EpochId, 16
}
hex_name! {
    /// An archive: 128 random bits, made when it is.
    ArchiveId, 16
}
hex_name! {
    /// A BLAKE3 hash, written as 64 lower-case hex digits.
    Hash, 32
}

impl Hash {
    /// The hash of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

/// The hash of the `len` bytes that end at `end`. With `len` 0 it proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Print {
    /// The position behind the last byte.
    pub end: Offset,
    /// How many bytes.
    pub len: u32,
    /// Their hash.
    pub blake3: Hash,
}

impl Print {
    /// The print of `bytes`, which end at `end`.
    pub fn of(end: Offset, bytes: &[u8]) -> Self {
        Self {
            end,
            len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            blake3: Hash::of(bytes),
        }
    }

    /// Where its first byte stands.
    pub fn start(&self) -> Offset {
        self.end.back(u64::from(self.len))
    }

    /// Whether it does not reach below the first position.
    pub fn is_sane(&self) -> bool {
        u64::from(self.len) <= self.end.get()
    }
}

/// Whether this may name a stream of the acknowledged mode: `[a-z0-9][a-z0-9._-]{0,63}`, and not `syslog`, which is kept
/// for plain senders.
pub fn is_stream_name(name: &str) -> bool {
    let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = name.as_bytes();
    matches!(bytes.first(), Some(first) if plain(first))
        && bytes.len() <= 64
        && bytes.iter().all(|b| plain(b) || b"._-".contains(b))
        && name != "syslog"
}

fn unhex(text: &[u8], bytes: &mut [u8]) -> Option<()> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    if text.len() != bytes.len() * 2 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(())
}
