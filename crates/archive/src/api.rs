//! What callers give to an archive and get from it, beside bytes.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::name::{EpochId, StreamKey};

/// Where an epoch comes from, as its worker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Origin {
    /// The epoch before it in the stream.
    pub after: Option<EpochId>,
    /// The epoch of which it is another history: it shares the bytes below its base.
    pub of: Option<EpochId>,
}

/// The hash of the `len` bytes that end at `end`. With `len` 0 it proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Print {
    /// The offset behind the last byte.
    pub end: u64,
    /// How many bytes, at most 4096.
    pub len: u32,
    /// Their BLAKE3 hash.
    #[serde(with = "crate::entry::hex")]
    pub blake3: [u8; 32],
}

impl Print {
    /// The print of `bytes`, which end at `end`.
    pub fn of(end: u64, bytes: &[u8]) -> Print {
        Print {
            end,
            len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            blake3: *blake3::hash(bytes).as_bytes(),
        }
    }
}

/// What is held of bytes of an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// All of them; this is their BLAKE3 hash.
    Hash([u8; 32]),
    /// Not all of them; the highest place among them of which nothing is held, as wide as it is, or what lies below the
    /// epoch's base. `None` for an epoch that is not known, and for bytes that are not committed.
    Missing(Option<Range<u64>>),
}

/// Where an epoch stands when nothing of it is uncommitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stand {
    /// Everything below is durable, or recorded as a gap.
    pub end: u64,
    /// The last bytes held: they end at `end`, or where the gap before `end` begins, and reach back over no gap.
    pub tail: Print,
    /// Whether the byte before `end` is held and is not LF.
    pub in_line: bool,
    /// Whether nothing may be appended any more.
    pub sealed: bool,
    /// The head hash of the stream's ledger.
    pub ledger: [u8; 32],
}

/// What is known of an epoch, also after its bytes were removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The epoch.
    pub epoch: EpochId,
    /// Where it ends.
    pub end: u64,
    /// The first bytes held, up to the first gap.
    pub head: Print,
    /// The last bytes held, as in [`Stand::tail`].
    pub tail: Print,
}

/// How long closed segments are kept. Both limits may be given; none keeps everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Segments that were closed longer ago are removed.
    pub max_age: Option<Duration>,
    /// Most bytes on the disk for one worker, open segments included.
    pub max_bytes: Option<u64>,
}

/// What a round of [`Archive::retain`](crate::Archive::retain) did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retained {
    /// Segments removed.
    pub segments: u64,
    /// Bytes that they had on the disk.
    pub bytes: u64,
    /// The round ended at its limit of work: call again soon.
    pub more: bool,
    /// Segments over a limit that stay because their bytes are still needed.
    pub needed: u64,
    /// Why age was not looked at: the clock can't be trusted.
    pub clock: Option<&'static str>,
}

/// What a call of [`Archive::compress_next`](crate::Archive::compress_next) did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// No closed segment is left to compress.
    Idle,
    /// A segment is being compressed: call again.
    Working,
    /// A segment is compressed.
    Done {
        /// Its stream.
        key: StreamKey,
        /// Its length.
        bytes: u64,
        /// The length of the compressed file.
        stored: u64,
    },
    /// A segment is not what was closed, so it stays as it is; `verify` says more.
    Damaged {
        /// Its stream.
        key: StreamKey,
        /// Its file.
        segment: PathBuf,
    },
}
