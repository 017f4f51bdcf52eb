//! Where lines come from: the archive of a master, or a log file of this host.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::store::Batch;

pub(crate) mod archive;
pub(crate) mod cut;
pub(crate) mod file;

/// A part of one epoch, cut into lines.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    /// Octets of the input.
    pub(crate) octets: Vec<u8>,
    /// The lines in them, without their LFs.
    pub(crate) lines: Vec<Range<usize>>,
    /// Where the first octet stands in the epoch.
    pub(crate) from: u64,
    /// Whose they are.
    pub(crate) whence: Whence,
}

/// Whose lines they are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Whence {
    /// The worker.
    pub(crate) worker: Arc<str>,
    /// Its stream.
    pub(crate) stream: Arc<str>,
    /// The epoch.
    pub(crate) epoch: Arc<str>,
}

/// What a look at the input brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The chunk holds what is next; it may have no line.
    Chunk,
    /// There is nothing now; look again after this time, or when the input is told to have changed.
    Idle(Duration),
}

/// What was met on the way, since it was asked last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Met {
    /// Lines over the limit: their beginning is matched, the rest is passed over.
    pub(crate) oversized: u64,
    /// Gaps that the input has, and ones that retention made before they were read.
    pub(crate) gaps: u64,
    /// Octets that were gone before they were read.
    pub(crate) missed_bytes: u64,
    /// Frames that were none.
    pub(crate) bad_frames: u64,
    /// Times that a stream could not be read; it is tried again.
    pub(crate) errors: u64,
}

/// How far the input is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Streams that are followed.
    pub(crate) streams: u64,
    /// Epochs that are not read to their end for good.
    pub(crate) epochs: u64,
    /// Octets that are there and not scanned.
    pub(crate) lag_bytes: u64,
}

/// The input.
#[derive(Debug)]
pub(crate) enum Source {
    /// A master's archive.
    Archive(Box<archive::ArchiveSource>),
    /// A log file.
    File(Box<file::FileSource>),
}

impl Source {
    /// Reads what is next into `chunk`.
    ///
    /// # Errors
    /// The input can't be read now; nothing is passed over, ask again later.
    pub(crate) async fn next(&mut self, chunk: &mut Chunk) -> anyhow::Result<Turn> {
        match self {
            Self::Archive(source) => source.next(chunk).await,
            Self::File(source) => source.next(chunk),
        }
    }

    /// Writes down that everything handed out so far was scanned.
    pub(crate) fn mark(&mut self, batch: &mut Batch) {
        match self {
            Self::Archive(source) => source.mark(batch),
            Self::File(source) => source.mark(batch),
        }
    }

    /// Waits until the input may have changed, for ever if that can't be told. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        match self {
            Self::Archive(source) => source.changed().await,
            Self::File(source) => source.changed().await,
        }
    }

    /// What was met since the last time.
    pub(crate) fn met(&mut self) -> Met {
        match self {
            Self::Archive(source) => std::mem::take(&mut source.met),
            Self::File(source) => std::mem::take(&mut source.met),
        }
    }

    /// How far it is read.
    pub(crate) fn standing(&self) -> Standing {
        match self {
            Self::Archive(source) => source.standing(),
            Self::File(source) => source.standing(),
        }
    }
}

/// Octets that are read at once: enough to be cheap, little enough for all streams to have their turn.
pub(crate) const CHUNK: usize = 256 << 10;
