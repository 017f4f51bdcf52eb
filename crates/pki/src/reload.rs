//! Whether files have changed since they were last looked at.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often the files are looked at, at most.
const INTERVAL: Duration = Duration::from_secs(1);

/// Inode, size, and modification time in nanoseconds: what tells one state of a file from another.
type Stamp = Option<(u64, u64, i64, i64)>;

/// Why the files are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// One of them has changed.
    Changed,
    /// None has, but the last reading failed, perhaps for a passing reason.
    Retry,
}

/// A set of files and their last known state.
#[derive(Debug)]
pub(crate) struct Watched {
    files: Vec<(PathBuf, Stamp)>,
    looked: Instant,
    unsettled: bool,
}

impl Watched {
    /// Notes the present state. Call it before reading the files, so that no change goes unseen.
    pub(crate) fn new(paths: Vec<PathBuf>) -> Self {
        let files = paths.into_iter().map(|path| (stamp(&path), path));
        Self {
            files: files.map(|(stamp, path)| (path, stamp)).collect(),
            looked: Instant::now(),
            unsettled: false,
        }
    }

    /// Looks at most once a second: `None` when there is nothing to do. Until [`Watched::settle`] is called
    /// each look gives a reason to read again.
    pub(crate) fn look(&mut self) -> Option<News> {
        if self.looked.elapsed() < INTERVAL {
            return None;
        }
        self.looked = Instant::now();
        let mut changed = false;
        for (path, known) in &mut self.files {
            let found = stamp(path);
            changed |= found != *known;
            *known = found;
        }
        if changed {
            self.unsettled = true;
            return Some(News::Changed);
        }
        self.unsettled.then_some(News::Retry)
    }

    /// The files were read and are good.
    pub(crate) fn settle(&mut self) {
        self.unsettled = false;
    }
}

fn stamp(path: &Path) -> Stamp {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
}
