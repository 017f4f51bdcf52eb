//! Offline reading for commands: the gaps of an archive, and what is damaged in it. A listener may be using it.

use std::io;
use std::path::{Path, PathBuf};

use crate::name::EpochId;

/// One gap: bytes that will never come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GapLine {
    /// The worker.
    pub worker: String,
    /// Its stream.
    pub stream: String,
    /// The epoch, where known.
    pub epoch: Option<EpochId>,
    /// The offset of the first byte missing.
    pub from: Option<u64>,
    /// The offset behind the last byte missing.
    pub to: Option<u64>,
    /// How many bytes are missing, where known.
    pub bytes: Option<u64>,
    /// Why.
    pub cause: String,
    /// When it was recorded: RFC 3339, UTC.
    pub at: String,
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment, or the ledger.
    pub segment: PathBuf,
    /// Where: in a segment an offset of its epoch, in a ledger a position in the file.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
}

/// Which streams to look at: all that match.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scope<'a> {
    /// Only this worker.
    pub worker: Option<&'a str>,
    /// Only streams of this name.
    pub stream: Option<&'a str>,
}

/// Tells every gap that the ledgers record, stream by stream.
///
/// # Errors
/// A directory or ledger that can't be read.
pub fn gaps(data: &Path, scope: Scope<'_>, each: &mut dyn FnMut(GapLine)) -> io::Result<()> {
    let _ = (data, scope, each);
    Err(io::ErrorKind::Unsupported.into())
}

/// Checks ledgers and segments against each other, and tells everything that is damaged.
///
/// # Errors
/// What can't be read at all; damage is told, not returned.
pub async fn verify(data: &Path, scope: Scope<'_>, each: &mut dyn FnMut(Damage)) -> io::Result<()> {
    let _ = (data, scope, each);
    Err(io::ErrorKind::Unsupported.into())
}
