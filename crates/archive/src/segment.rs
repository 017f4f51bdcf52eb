//! What is done with segment files as such: listed, hashed, read back.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use offsets::Fact;

use crate::dir::Dir;
use crate::index::PROOF;
use crate::name::{EpochId, Form, parse_segment, segment_name};

/// A fact about the segment or epoch that starts at `base`.
pub(crate) fn fact(kind: &str, epoch: EpochId, base: u64) -> Fact {
    Fact {
        kind: kind.to_owned(),
        epoch: Some(epoch.to_string()),
        base: Some(base),
        ..Fact::default()
    }
}

/// The fact that a segment is complete.
pub(crate) fn closed(epoch: EpochId, base: u64, len: u64, hash: blake3::Hash) -> Fact {
    Fact {
        len: Some(len),
        blake3: Some(hash.to_string()),
        ..fact("closed", epoch, base)
    }
}

/// Whether an error says that there is no room, rather than that the disk is broken.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Whether a segment begun at `since_ms` has reached `max_age`.
pub(crate) fn is_old(since_ms: i64, now_ms: i64, max_age: Duration) -> bool {
    now_ms.saturating_sub(since_ms) >= i64::try_from(max_age.as_millis()).unwrap_or(i64::MAX)
}

/// Keeps the last bytes, at most [`PROOF`].
pub(crate) fn push_tail(tail: &mut Vec<u8>, bytes: &[u8]) {
    if let Some(start) = bytes.len().checked_sub(PROOF) {
        tail.clear();
        tail.extend_from_slice(&bytes[start..]);
        return;
    }
    let excess = (tail.len() + bytes.len()).saturating_sub(PROOF);
    tail.drain(..excess);
    tail.extend_from_slice(bytes);
}

/// Hashes the first `len` bytes of a file.
pub(crate) fn hash_file(file: &mut File, len: u64) -> io::Result<blake3::Hash> {
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = blake3::Hasher::new();
    let mut left = file.take(len);
    let mut buf = vec![0; 64 * 1024];
    loop {
        match left.read(&mut buf)? {
            0 => break,
            n => hasher.update(&buf[..n]),
        };
    }
    if hasher.count() != len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(hasher.finalize())
}

/// Segments in a directory: base offsets, ascending.
pub(crate) fn bases(dir: &Dir, form: Form) -> io::Result<Vec<u64>> {
    let names = dir.names()?;
    // Names sort as their twenty digits do.
    Ok(names
        .iter()
        .filter_map(|name| parse_segment(name))
        .filter(|(_, f)| *f == form)
        .map(|(base, _)| base)
        .collect())
}

/// Reads the last bytes before `end`, at most [`PROOF`], not below `floor` and not across a gap.
pub(crate) fn read_back(dir: &Dir, form: Form, floor: u64, end: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut end = end;
    for base in bases(dir, form)?
        .into_iter()
        .rev()
        .filter(|&base| base < end)
        .collect::<Vec<_>>()
    {
        let room = (PROOF - bytes.len()) as u64;
        let from = end.saturating_sub(room).max(base).max(floor);
        let mut piece = vec![0; usize::try_from(end.saturating_sub(from)).unwrap_or(PROOF)];
        let file = dir.open_file(&segment_name(base, form), false)?;
        if file.metadata()?.len() < end - base {
            // The segment ends before `end`: a gap, and the tail does not reach across it.
            break;
        }
        file.read_exact_at(&mut piece, from - base)?;
        piece.extend_from_slice(&bytes);
        bytes = piece;
        end = base;
        if bytes.len() >= PROOF || base <= floor {
            break;
        }
    }
    Ok(bytes)
}
