//! Wakes a reader from idleness (inotify, through `notify`).
//!
//! Every append to a watched file costs its reader an event, so a watch is armed only while there is nothing to read.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use crate::siblings::directory;
use crate::source::file_name;

/// A watch over one path: its changes, and its being made, renamed and removed.
pub struct Watch {
    watcher: RecommendedWatcher,
    dir: PathBuf,
    changed: Arc<Notify>,
    armed: bool,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("dir", &self.dir)
            .field("armed", &self.armed)
            .finish()
    }
}

impl Watch {
    /// A watch over `path`, not armed yet.
    ///
    /// # Errors
    /// The system has no watches left, for instance. Polling does then.
    pub fn new(path: &Path) -> notify::Result<Self> {
        let changed = Arc::new(Notify::new());
        let (name, notify) = (file_name(path), Arc::clone(&changed));
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.map_or(true, |event| concerns(&event, &name)) {
                notify.notify_one();
            }
        })?;
        Ok(Self {
            watcher,
            dir: directory(path),
            changed,
            armed: false,
        })
    }

    /// Begins to watch. What happened before is not reported: look once more afterwards. False: not possible now (the
    /// directory is missing, for instance).
    pub fn arm(&mut self) -> bool {
        if !self.armed {
            self.armed = self
                .watcher
                .watch(&self.dir, RecursiveMode::NonRecursive)
                .is_ok();
        }
        self.armed
    }

    /// Whether it watches.
    pub fn armed(&self) -> bool {
        self.armed
    }

    /// Ceases to watch.
    pub fn disarm(&mut self) {
        if std::mem::take(&mut self.armed) {
            // It fails when the directory is gone, and then there is nothing to cease.
            let _ = self.watcher.unwatch(&self.dir);
        }
    }

    /// Waits for a change since the last call. For ever while it is not armed. Cancel safe.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// Reading the file is no change of it.
fn concerns(event: &Event, name: &OsString) -> bool {
    !matches!(event.kind, EventKind::Access(_))
        && event.paths.iter().any(|path| file_name(path) == *name)
}
