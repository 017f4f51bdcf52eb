//! Whether files have changed since they were last looked at.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often the files are looked at, at most.
const INTERVAL: Duration = Duration::from_secs(1);

/// Inode, size, and modification time in nanoseconds: what tells one state of a file from another.
type Stamp = Option<(u64, u64, i64, i64)>;

/// A set of files and their last known state.
#[derive(Debug)]
pub(crate) struct Watched {
    files: Vec<(PathBuf, Stamp)>,
    looked: Instant,
}

impl Watched {
    /// Notes the present state. Call it before reading the files, so that no change goes unseen.
    pub(crate) fn new(paths: Vec<PathBuf>) -> Self {
        let files = paths
            .into_iter()
            .map(|path| {
                let stamp = stamp(&path);
                (path, stamp)
            })
            .collect();
        Self {
            files,
            looked: Instant::now(),
        }
    }

    /// Whether a file has changed since this was last said. Looks at most once a second.
    pub(crate) fn changed(&mut self) -> bool {
        if self.looked.elapsed() < INTERVAL {
            return false;
        }
        self.looked = Instant::now();
        let mut changed = false;
        for (path, known) in &mut self.files {
            let found = stamp(path);
            changed |= found != *known;
            *known = found;
        }
        changed
    }
}

fn stamp(path: &std::path::Path) -> Stamp {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
}
