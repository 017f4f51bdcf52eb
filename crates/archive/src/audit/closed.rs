//! One segment's bytes against what was ledgered of them.

use std::io;

use blake3::Hasher;
use blake3::hazmat::HasherExt as _;

use crate::pieces::{Node, PIECE};
use crate::segment::Segment;

/// What is wrong with a segment: where, counted from its first byte, and what.
pub(super) type Wrong = (u64, String);

/// What is known of a segment's bytes.
pub(super) struct Sums<'a> {
    pub(super) len: u64,
    /// Of the whole; none: it is not complete.
    pub(super) hash: Option<[u8; 32]>,
    /// Length and hashes of pieces.
    pub(super) pieces: Option<(u64, &'a [Node])>,
}

/// Compares a segment with its sums.
pub(super) fn compare(
    segment: &mut Segment,
    sums: &Sums<'_>,
    wrong: &mut dyn FnMut(Wrong),
) -> io::Result<()> {
    let held = segment.len()?;
    if held < sums.len {
        let missing = sums.len - held;
        wrong((held, format!("truncated, {missing} bytes are missing")));
    }
    if held > sums.len && sums.hash.is_some() {
        let more = held - sums.len;
        wrong((sums.len, format!("{more} bytes more than were closed")));
    }
    match (sums.pieces, sums.hash) {
        (Some((piece, nodes)), _) => pieces(segment, sums.len.min(held), piece, nodes, wrong),
        (None, Some(hash)) if held >= sums.len => whole(segment, sums.len, hash, wrong),
        _ => Ok(()),
    }
}

fn whole(
    segment: &mut Segment,
    len: u64,
    hash: [u8; 32],
    wrong: &mut dyn FnMut(Wrong),
) -> io::Result<()> {
    let mut hasher = Hasher::new();
    let read = update(segment, &mut hasher, 0, len)?;
    match read {
        Err(e) => wrong((0, format!("it can't be read: {e}"))),
        Ok(()) if *hasher.finalize().as_bytes() != hash => {
            let what = format!("these {len} bytes are not what was closed");
            wrong((0, what));
        }
        Ok(()) => {}
    }
    Ok(())
}

/// Compares piece by piece; pieces that differ one behind the other are told once.
fn pieces(
    segment: &mut Segment,
    len: u64,
    piece: u64,
    nodes: &[Node],
    wrong: &mut dyn FnMut(Wrong),
) -> io::Result<()> {
    let mut bad: Option<(u64, u64)> = None;
    let mut tell = |bad: Option<(u64, u64)>| {
        if let Some((from, to)) = bad {
            let what = format!("these {} bytes are not what was written", to - from);
            wrong((from, what));
        }
    };
    if !piece.is_power_of_two() || piece < PIECE {
        return Ok(());
    }
    for (n, node) in nodes.iter().enumerate() {
        let from = (n as u64).saturating_mul(piece);
        let to = from.saturating_add(piece).min(len);
        if from >= to {
            break;
        }
        let mut hasher = Hasher::new();
        hasher.set_input_offset(from);
        let read = update(segment, &mut hasher, from, to)?;
        if read.is_ok() && hasher.finalize_non_root() == *node {
            continue;
        }
        bad = match bad {
            Some((start, end)) if end == from => Some((start, to)),
            other => {
                tell(other);
                Some((from, to))
            }
        };
    }
    tell(bad);
    Ok(())
}

/// Hashes a range. The inner error is damage: a compressed frame that can't be decompressed.
fn update(
    segment: &mut Segment,
    hasher: &mut Hasher,
    from: u64,
    to: u64,
) -> io::Result<io::Result<()>> {
    let mut at = from;
    let mut buf = vec![0; usize::try_from((to - from).min(PIECE)).unwrap_or(0)];
    while at < to {
        let want = usize::try_from(to - at).map_or(buf.len(), |left| left.min(buf.len()));
        match segment.read_exact_at(&mut buf[..want], at) {
            Ok(()) => {}
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                ) =>
            {
                return Ok(Err(e));
            }
            Err(e) => return Err(e),
        }
        hasher.update(&buf[..want]);
        at += want as u64;
    }
    Ok(Ok(()))
}
