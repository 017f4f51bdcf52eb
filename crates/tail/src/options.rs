//! What a follower is told, and what it tells of itself.

use std::path::PathBuf;
use std::time::Duration;

use crate::epoch::EpochId;

/// What to follow, and with which limits.
#[derive(Debug, Clone)]
pub struct Options {
    /// The live file.
    pub path: PathBuf,
    /// Longest line handed out in one piece, in bytes without its LF; longer ones come in parts.
    pub max_line: u32,
    /// How many bytes are read at once; more only for a longer line. At most `max_line` counts.
    pub read: usize,
    /// A rotated file is over when nothing was written into it for so long.
    pub grace: Duration,
    /// The same, when its last line has no LF.
    pub grace_unterminated: Duration,
    /// For so long after its last change a rotated file is watched for late writes.
    pub late: Duration,
    /// The same, for a file that has no name any more.
    pub late_gone: Duration,
    /// Most bytes unread; beyond that the oldest are passed over, with a [`Gap`](crate::Gap). 0: no limit.
    pub max_lag: u64,
    /// Bytes are made durable in their file (fdatasync) before they are handed out, so that no receiver is ahead of our
    /// own disk. A file that is not being written costs one call, one that is at most one a read.
    pub durable: bool,
    /// What the first look finds and the checkpoint does not explain waits for [`Follower::name`](crate::Follower::name).
    pub ask: bool,
}

impl Options {
    /// The defaults: lines up to 1 MiB, reads of 256 KiB, a grace of 500 ms (5 s without LF), late writes for 24 h (60 s
    /// without a name), no lag limit.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            max_line: 1 << 20,
            read: 256 << 10,
            grace: Duration::from_millis(500),
            grace_unterminated: Duration::from_secs(5),
            late: Duration::from_secs(24 * 3600),
            late_gone: Duration::from_secs(60),
            max_lag: 0,
            durable: false,
            ask: false,
        }
    }
}

/// Where a follower stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// The epoch that is read; none before the file exists.
    pub epoch: Option<EpochId>,
    /// Everything below is handed out.
    pub offset: u64,
    /// Everything below is confirmed.
    pub confirmed: u64,
    /// The length of its file when last seen.
    pub size: u64,
    /// Bytes seen and not confirmed, in this and in later epochs.
    pub lag: u64,
    /// Bytes confirmed since the follower was made.
    pub total: u64,
    /// Epochs that wait for their turn.
    pub waiting: usize,
}
