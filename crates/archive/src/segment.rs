//! What is done with segment files as such: listed, opened, read back.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use crate::dir::Dir;
use crate::entry::PROOF;
use crate::name::{Form, SegmentName, packed_name, parse_segment, segment_name};
use crate::pack::Packed;

/// Whether an error says that there is no room, rather than that the disk is broken.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Whether an error says that a file is not what was committed, rather than that the disk is broken or full.
pub(crate) fn is_lost(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::InvalidData
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

/// A segment, plain or compressed, open for reading.
#[derive(Debug)]
pub(crate) enum Segment {
    Plain(File),
    Packed(Box<Packed>),
}

impl Segment {
    /// Opens the segment at `base`; `None` when there is none. While compression replaces it there are both files, and
    /// the plain one counts.
    pub(crate) fn open(dir: &Dir, base: u64, form: Form) -> io::Result<Option<Segment>> {
        // Between the two looks the plain file may have been replaced, and never the other way round.
        if let Some(file) = existing(dir.open_file(&segment_name(base, form), false))? {
            return Ok(Some(Segment::Plain(file)));
        }
        match existing(dir.open_file(&packed_name(base, form), false))? {
            Some(file) => Ok(Some(Segment::Packed(Box::new(Packed::open(file)?)))),
            None => Ok(None),
        }
    }

    /// Bytes of the segment.
    pub(crate) fn len(&self) -> io::Result<u64> {
        match self {
            Segment::Plain(file) => Ok(file.metadata()?.len()),
            Segment::Packed(packed) => Ok(packed.len()),
        }
    }

    /// Reads some of the bytes from `at` on; 0 at the end.
    pub(crate) fn read_at(&mut self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        match self {
            Segment::Plain(file) => file.read_at(buf, at),
            Segment::Packed(packed) => packed.read_at(buf, at),
        }
    }

    /// Fills the buffer from `at` on.
    pub(crate) fn read_exact_at(&mut self, mut buf: &mut [u8], mut at: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read_at(buf, at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    buf = &mut buf[n..];
                    at += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// What an attempt to open a file gave, if the file is there.
pub(crate) fn existing<T>(opened: io::Result<T>) -> io::Result<Option<T>> {
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Segments in a directory in order, each once: of one that is there twice the plain file.
pub(crate) fn segments(dir: &Dir, form: Form) -> io::Result<Vec<SegmentName>> {
    let names = dir.names()?;
    let mut segments: Vec<SegmentName> = names
        .iter()
        .filter_map(|name| parse_segment(name, form))
        .collect();
    segments.sort_unstable();
    segments.dedup_by_key(|segment| segment.base);
    Ok(segments)
}

/// Reads the bytes before `end` that are held without a gap, at most [`PROOF`], not below `floor`.
pub(crate) fn read_back(dir: &Dir, form: Form, floor: u64, end: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut end = end;
    let below = segments(dir, form)?;
    for SegmentName { base, .. } in below.into_iter().rev() {
        if base >= end {
            continue;
        }
        let room = (PROOF - bytes.len()) as u64;
        let from = end.saturating_sub(room).max(base).max(floor);
        let Some(mut segment) = Segment::open(dir, base, form)? else {
            break;
        };
        if from >= end || segment.len()? < end - base {
            // The segment ends before `end`: a gap, and the tail does not reach across it.
            break;
        }
        let mut piece = vec![0; usize::try_from(end - from).unwrap_or(PROOF)];
        segment.read_exact_at(&mut piece, from - base)?;
        piece.extend_from_slice(&bytes);
        bytes = piece;
        end = base;
        if bytes.len() >= PROOF || base <= floor {
            break;
        }
    }
    Ok(bytes)
}

/// Reads the first bytes that are held from `from` on, up to a gap or `end`, at most [`PROOF`].
pub(crate) fn read_on(dir: &Dir, form: Form, from: u64, end: u64) -> io::Result<Vec<u8>> {
    let end = end.min(from.saturating_add(PROOF as u64));
    let mut bytes = Vec::new();
    let mut at = from;
    for SegmentName { base, .. } in segments(dir, form)? {
        let Some(mut segment) = Segment::open(dir, base, form)? else {
            break;
        };
        let to = base.saturating_add(segment.len()?).min(end);
        if to <= at {
            continue;
        }
        if base > at {
            break;
        }
        let mut piece = vec![0; usize::try_from(to - at).unwrap_or(0)];
        segment.read_exact_at(&mut piece, at - base)?;
        bytes.extend_from_slice(&piece);
        at = to;
        if at == end {
            break;
        }
    }
    Ok(bytes)
}
