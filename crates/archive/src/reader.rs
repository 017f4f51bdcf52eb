//! Reads an epoch from any offset on, across its segments, while it is being written.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::dir::Dir;
use crate::facts::LEDGER;
use crate::name::{ARCHIVE_DIR, EpochId, Form, StreamKey};
use crate::segment::{Segment, segments};
use crate::told::Told;

/// Reads the bytes of one epoch in order, from plain and compressed segments. It knows nothing of the index: the caller
/// says how far it may read.
#[derive(Debug)]
pub struct Reader {
    dir: Dir,
    ledger: PathBuf,
    epoch: EpochId,
    form: Form,
    position: u64,
    segment: Option<(Segment, u64)>,
}

/// What [`Reader::read`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunk {
    /// So many bytes were appended to the buffer, and the position moved by as many.
    Bytes(usize),
    /// The archive holds nothing up to this offset; the position moved there.
    Gap(u64),
    /// The position is at the limit.
    End,
}

/// Why an epoch could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// No segment holds this offset, though it is below the limit.
    #[error("offset {0} is not in the archive")]
    Missing(u64),
    /// A directory or file could not be read.
    #[error("archive cannot be read")]
    Io(#[from] io::Error),
}

impl Reader {
    /// Opens an epoch of the archive in a data directory, to be read from `offset` on.
    ///
    /// # Errors
    /// [`ReadError::Io`] when the epoch has no directory, or it can't be opened.
    pub fn open(
        data: &Path,
        key: &StreamKey,
        epoch: EpochId,
        form: Form,
        offset: u64,
    ) -> Result<Reader, ReadError> {
        let archive = data.join(ARCHIVE_DIR);
        let stream = Dir::root(&archive)?
            .open(key.worker())?
            .open(key.stream())?;
        Ok(Reader {
            dir: stream.open(&epoch.to_string())?,
            ledger: archive.join(key.worker()).join(key.stream()).join(LEDGER),
            epoch,
            form,
            position: offset,
            segment: None,
        })
    }

    /// The offset of the next byte.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Goes to another offset, of the same segment at the least cost.
    pub fn seek(&mut self, offset: u64) {
        if self
            .segment
            .as_ref()
            .is_some_and(|(_, base)| offset < *base)
        {
            self.segment = None;
        }
        self.position = offset;
    }

    /// Appends at most `max` bytes below `limit` to `buf`. `limit` must be a committed end. Behind the last segment the
    /// whole ledger is read.
    ///
    /// # Errors
    /// [`ReadError::Missing`] for bytes below the limit that are nowhere; the position stays.
    pub fn read(&mut self, limit: u64, max: usize, buf: &mut Vec<u8>) -> Result<Chunk, ReadError> {
        match self.read_held(limit, max, buf) {
            Err(ReadError::Missing(_)) => self.read_last_gap(limit),
            other => other,
        }
    }

    /// Like [`Reader::read`], for whom it is enough to know that nothing is held, or who knows the ledger.
    ///
    /// # Errors
    /// [`ReadError::Missing`] for bytes below the limit that no segment holds, and none behind them; the position stays.
    pub fn read_held(
        &mut self,
        limit: u64,
        max: usize,
        buf: &mut Vec<u8>,
    ) -> Result<Chunk, ReadError> {
        let left = limit.saturating_sub(self.position).min(max as u64);
        if left == 0 {
            return Ok(Chunk::End);
        }
        if let Some(n) = self.read_segment(left, buf)? {
            return Ok(Chunk::Bytes(n));
        }
        let all = segments(&self.dir, self.form)?;
        let next = all.partition_point(|segment| segment.base <= self.position);
        let holding = next.checked_sub(1).map(|at| all[at].base);
        if let Some(base) = holding
            && self.segment.as_ref().is_none_or(|(_, open)| *open != base)
        {
            self.segment = Segment::open(&self.dir, base, self.form)?.map(|it| (it, base));
            if let Some(n) = self.read_segment(left, buf)? {
                return Ok(Chunk::Bytes(n));
            }
        }
        match all.get(next) {
            Some(segment) if segment.base < limit => {
                self.position = segment.base;
                Ok(Chunk::Gap(segment.base))
            }
            _ => Err(ReadError::Missing(self.position)),
        }
    }

    /// The highest place in `asked` of which nothing is held, as wide as it is inside of `all`, of which the end is a
    /// committed one.
    ///
    /// # Errors
    /// A segment can't be opened.
    pub(crate) fn missing(
        &self,
        asked: Range<u64>,
        all: Range<u64>,
    ) -> io::Result<Option<Range<u64>>> {
        let segments = segments(&self.dir, self.form)?;
        let above = segments.partition_point(|segment| segment.base < asked.end);
        // Everything from here on to the end of what was asked is held, or above it.
        let mut held = segments.get(above).map_or(all.end, |next| next.base);
        for segment in segments[..above].iter().rev() {
            let len = match Segment::open(&self.dir, segment.base, self.form)? {
                Some(segment) => segment.len()?,
                None => 0,
            };
            let end = segment.base.saturating_add(len);
            if end < held.min(asked.end) {
                return Ok(Some(end..held));
            }
            held = segment.base;
            if held <= asked.start {
                return Ok(None);
            }
        }
        Ok(Some(all.start..held))
    }

    /// Behind the last segment: a gap that was recorded, or bytes that are missing.
    fn read_last_gap(&mut self, limit: u64) -> Result<Chunk, ReadError> {
        let told = Told::read(&self.ledger)?;
        let told = told.epochs.get(&self.epoch);
        match told.and_then(|told| told.gap_end(self.position)) {
            Some(end) => {
                self.position = end.min(limit);
                Ok(Chunk::Gap(self.position))
            }
            None => Err(ReadError::Missing(self.position)),
        }
    }

    /// Reads from the open segment; `None` when there is none or it ends here.
    fn read_segment(&mut self, left: u64, buf: &mut Vec<u8>) -> io::Result<Option<usize>> {
        let Some((segment, base)) = &mut self.segment else {
            return Ok(None);
        };
        let start = buf.len();
        let want = usize::try_from(left).unwrap_or(usize::MAX);
        buf.resize(start + want, 0);
        let read = segment.read_at(&mut buf[start..], self.position - *base);
        buf.truncate(start + *read.as_ref().unwrap_or(&0));
        match read? {
            0 => Ok(None),
            n => {
                self.position += n as u64;
                Ok(Some(n))
            }
        }
    }
}
