//! Wakes from a change in a directory of configuration files; by polling where that can't be watched.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

/// A watch over the files of one directory, which may be made later.
pub(crate) struct DirWatch {
    dir: PathBuf,
    watcher: Option<RecommendedWatcher>,
    changed: Arc<Notify>,
    armed: bool,
}

impl std::fmt::Debug for DirWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DirWatch")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

impl DirWatch {
    /// Watches from the first wait on. What changed before is not reported.
    pub(crate) fn new(dir: &Path) -> Self {
        let changed = Arc::new(Notify::new());
        let notify = Arc::clone(&changed);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.map_or(true, |event| !matches!(event.kind, EventKind::Access(_))) {
                notify.notify_one();
            }
        });
        let mut watch = Self {
            dir: dir.to_owned(),
            watcher: watcher.ok(),
            changed,
            armed: false,
        };
        watch.arm();
        watch
    }

    /// Waits until something may have changed: a change that came to rest, or the poll's time. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        self.arm();
        // A poll now and then makes up for what a watch can't see: a directory replaced, a network file system.
        if tokio::time::timeout(POLL, self.changed.notified())
            .await
            .is_err()
        {
            self.armed = false;
            return;
        }
        // Editors write a file in several steps.
        tokio::time::sleep(REST).await;
    }

    fn arm(&mut self) {
        if let Some(watcher) = self.watcher.as_mut().filter(|_| !self.armed) {
            // Watching again what is watched is no error; what is not there is tried at the next poll.
            self.armed = watcher
                .watch(&self.dir, RecursiveMode::NonRecursive)
                .is_ok();
        }
    }
}

/// Time between two looks without a word from the watch.
const POLL: Duration = Duration::from_secs(5);

/// How long a change may come to rest.
const REST: Duration = Duration::from_millis(50);
