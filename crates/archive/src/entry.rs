//! What the index says, row by row; a window's rows are also its witness.

use serde::{Deserialize, Serialize};

use crate::api::{Held, Print};
use crate::name::{EpochId, Form, StreamKey};
use crate::pieces::Node;

/// Most bytes that a head or tail print covers.
pub(crate) const PROOF: usize = 4096;

/// Where an epoch stands: everything about it that a window moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Everything below is held or a gap.
    pub(crate) end: u64,
    /// The open segment's base and the Unix milliseconds of its first byte; none: the next one starts at `end`.
    pub(crate) segment: Option<(u64, i64)>,
    /// Of the first bytes held, up to the first gap.
    pub(crate) head: Print,
    /// Of the last bytes held, back to the last gap before them.
    pub(crate) tail: Print,
    /// The byte before `end` is held and is not LF.
    pub(crate) in_line: bool,
    /// Nothing may be appended any more.
    pub(crate) sealed: bool,
    /// It ended here, and this epoch followed.
    pub(crate) rolled: Option<EpochId>,
    /// The ledger knows of the epoch.
    pub(crate) told: bool,
}

impl Mark {
    /// An epoch that has nothing.
    pub(crate) fn new(base: u64) -> Mark {
        Mark {
            end: base,
            segment: None,
            head: Print::of(base, b""),
            tail: Print::of(base, b""),
            in_line: false,
            sealed: false,
            rolled: None,
            told: false,
        }
    }

    /// Whether the head may still grow: it is short, and its last byte is the epoch's.
    pub(crate) fn head_grows(&self) -> bool {
        (self.head.len as usize) < PROOF && (self.head.len == 0 || self.head.end == self.end)
    }
}

/// What the index says of one epoch. Kept after the last segment was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) key: StreamKey,
    pub(crate) epoch: EpochId,
    pub(crate) form: Form,
    pub(crate) after: Option<EpochId>,
    pub(crate) of: Option<EpochId>,
    /// Unix milliseconds at which the epoch was opened.
    pub(crate) opened_ms: i64,
    /// Unix milliseconds of the last window that moved it.
    pub(crate) moved_ms: i64,
    /// The epoch's first offset: 0, or where it branched off another epoch.
    pub(crate) base: u64,
    pub(crate) mark: Mark,
    /// It may have bytes beyond the index, so that recovery looks.
    pub(crate) live: bool,
    /// Pieces of the open segment that are not in the index yet, and the number of the first.
    pub(crate) pieces: (usize, Vec<HexNode>),
    /// Segments that were closed and are not in the index yet.
    pub(crate) closed: Vec<Closed>,
}

impl Entry {
    /// A new epoch.
    pub(crate) fn new(key: StreamKey, epoch: EpochId, form: Form, base: u64, now_ms: i64) -> Entry {
        Entry {
            key,
            epoch,
            form,
            after: None,
            of: None,
            opened_ms: now_ms,
            moved_ms: now_ms,
            base,
            mark: Mark::new(base),
            live: true,
            pieces: (0, Vec::new()),
            closed: Vec::new(),
        }
    }

    pub(crate) fn held(&self) -> Held {
        Held {
            epoch: self.epoch,
            end: self.mark.end,
            head: self.mark.head,
            tail: self.mark.tail,
        }
    }
}

/// A segment that is complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Closed {
    pub(crate) base: u64,
    pub(crate) len: u64,
    #[serde(with = "hex")]
    pub(crate) hash: [u8; 32],
    /// Unix milliseconds.
    pub(crate) at_ms: i64,
}

/// How far a stream's ledger stands. The hash of an empty one is all zeros, as its first line's `prev` will be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LedgerMark {
    #[serde(with = "hex")]
    pub(crate) head: [u8; 32],
    /// Bytes in the file.
    pub(crate) len: u64,
}

/// Everything that a commit window changes in the index.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Change {
    pub(crate) entries: Vec<Entry>,
    pub(crate) ledgers: Vec<(StreamKey, LedgerMark)>,
}

/// A hash that is written in hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct HexNode(#[serde(with = "hex")] pub(crate) Node);

/// Hashes as 64 lower-case hex digits.
pub(crate) mod hex {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(crate) fn serialize<S: Serializer>(hash: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(blake3::Hash::from_bytes(*hash).to_hex().as_str())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(from)?;
        match blake3::Hash::from_hex(&text) {
            Ok(hash) => Ok(*hash.as_bytes()),
            Err(_) => Err(D::Error::custom("64 hex digits expected")),
        }
    }
}
