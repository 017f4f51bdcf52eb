//! BLAKE3 of a segment as it grows, with the hashes of its pieces, which are nodes of the same tree.
//!
//! One pass over the bytes gives both: the pieces say where a damaged segment differs, and they let a restart go on
//! with the hash without reading the segment again.

use std::io;

use blake3::Hasher;
use blake3::hazmat::{HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root};

/// The hash of a piece: a chaining value of the tree, not the root.
pub(crate) type Node = [u8; 32];

/// The hash of a growing segment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pieces {
    /// Of each piece that more bytes follow.
    whole: Vec<Node>,
    /// Of the piece that the last byte is in.
    hasher: Hasher,
}

/// The hash of a complete segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) hash: [u8; 32],
    /// Length of each piece but the last.
    pub(crate) piece: u64,
    /// Empty when the segment is one piece.
    pub(crate) pieces: Vec<Node>,
}

/// How many whole pieces are known of a segment with `len` bytes.
pub(crate) fn whole(len: u64) -> usize {
    usize::try_from(len.saturating_sub(1) / PIECE).unwrap_or(usize::MAX)
}

impl Pieces {
    /// Goes on behind `len` bytes of which some whole pieces are known; the rest is read through `read`, which fills
    /// the buffer from an offset on.
    pub(crate) fn resume(
        mut known: Vec<Node>,
        len: u64,
        mut read: impl FnMut(&mut [u8], u64) -> io::Result<()>,
    ) -> io::Result<Pieces> {
        known.truncate(whole(len));
        let mut at = known.len() as u64 * PIECE;
        let mut pieces = Pieces::default();
        pieces.hasher.set_input_offset(at);
        pieces.whole = known;
        let mut buf = vec![0; usize::try_from((len - at).min(READ)).unwrap_or(0)];
        while at < len {
            let want = usize::try_from(len - at).map_or(buf.len(), |left| left.min(buf.len()));
            read(&mut buf[..want], at)?;
            pieces.update(&buf[..want]);
            at += want as u64;
        }
        Ok(pieces)
    }

    /// The bytes behind those so far.
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.hasher.count() == PIECE {
                self.whole.push(self.hasher.finalize_non_root());
                self.hasher = Hasher::new();
                self.hasher
                    .set_input_offset(self.whole.len() as u64 * PIECE);
            }
            let room = usize::try_from(PIECE - self.hasher.count()).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.hasher.update(now);
            bytes = later;
        }
    }

    /// The whole pieces so far.
    pub(crate) fn whole(&self) -> &[Node] {
        &self.whole
    }

    /// The hash of everything so far.
    pub(crate) fn finish(&self) -> Sum {
        if self.whole.is_empty() {
            return Sum {
                hash: *self.hasher.finalize().as_bytes(),
                piece: PIECE,
                pieces: Vec::new(),
            };
        }
        let mut pieces = self.whole.clone();
        pieces.push(self.hasher.finalize_non_root());
        let hash = root(&pieces).unwrap_or_default();
        let mut piece = PIECE;
        while pieces.len() > MOST {
            pieces = pairs(&pieces);
            piece *= 2;
        }
        Sum {
            hash,
            piece,
            pieces,
        }
    }
}

/// Joins neighbours: an odd one at the end stays as it is.
fn pairs(pieces: &[Node]) -> Vec<Node> {
    let join = |pair: &[Node]| match pair {
        [left, right] => merge_subtrees_non_root(left, right, Mode::Hash),
        other => other[0],
    };
    pieces.chunks(2).map(join).collect()
}

/// The hash of a segment from the hashes of its pieces; `None` for fewer than two, which are no tree.
pub(crate) fn root(pieces: &[Node]) -> Option<[u8; 32]> {
    let mut level = pieces.to_vec();
    while level.len() > 2 {
        level = pairs(&level);
    }
    match &level[..] {
        [left, right] => Some(*merge_subtrees_root(left, right, Mode::Hash).as_bytes()),
        _ => None,
    }
}

/// Length of a piece, in bytes. A power of two, as the tree wants it. A segment of 256 MiB has 256 of them, whose
/// hashes are 16 KiB in the ledger, and damage is known to that.
pub(crate) const PIECE: u64 = 1 << 20;

/// Most pieces that a fact names, so that it stays within a ledger's line; of longer segments they are joined.
pub(crate) const MOST: usize = 512;

/// How much is read at a time.
const READ: u64 = 256 << 10;

#[cfg(test)]
mod tests;
