//! The calls that change something on a disk, in one place, so that a test can end the world between
//! any two of them.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;

/// Performs what the appender decides, and counts it.
#[derive(Debug, Default)]
pub(super) struct Disk {
    /// Calls of fdatasync and fsync so far.
    pub(super) syncs: u64,
    #[cfg(test)]
    pub(super) gate: Option<std::sync::Arc<dyn Gate>>,
}

/// A call that is about to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A write into a redo slot.
    Redo,
    /// The sync of a redo slot.
    RedoSync,
    /// The note in a redo slot that its batch is closed.
    Mark,
    /// Appending to a target or to a rotated copy of one.
    Append,
    /// The sync of a target.
    TargetSync,
    /// Making a target or its directory.
    Create,
    /// A transaction of the checkpoint store.
    Transaction,
}

/// A test's say before each step: how many of `len` bytes may pass, or an error instead of the call.
#[cfg(test)]
pub(super) trait Gate: Send + Sync + std::fmt::Debug {
    fn ask(&self, step: Step, path: &Path, len: usize) -> io::Result<usize>;
    /// The sync of `file` happened.
    fn synced(&self, _path: &Path, _file: &File) {}
}

impl Disk {
    /// Asks whether `step` may happen.
    pub(super) fn ask(&self, step: Step, path: &Path, len: usize) -> io::Result<usize> {
        #[cfg(test)]
        if let Some(gate) = &self.gate {
            return gate.ask(step, path, len);
        }
        let _ = (step, path);
        Ok(len)
    }

    /// One write at the end of `file` (opened with O_APPEND), of `first` and then `second`; may be short.
    pub(super) fn append(
        &self,
        file: &File,
        path: &Path,
        first: &[u8],
        second: &[u8],
    ) -> io::Result<usize> {
        let len = first.len() + second.len();
        let allowed = self.ask(Step::Append, path, len)?;
        let first = &first[..first.len().min(allowed)];
        let second = &second[..second.len().min(allowed - first.len())];
        let bufs = [IoSlice::new(first), IoSlice::new(second)];
        let bufs = if first.is_empty() {
            &bufs[1..]
        } else {
            &bufs[..]
        };
        loop {
            match rustix::io::writev(file, bufs) {
                Err(rustix::io::Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }

    /// Writes all of `bufs` at `at`.
    pub(super) fn redo(
        &self,
        file: &File,
        path: &Path,
        bufs: &mut [IoSlice<'_>],
        mut at: u64,
    ) -> io::Result<()> {
        let mut bufs = bufs;
        IoSlice::advance_slices(&mut bufs, 0);
        while !bufs.is_empty() {
            let len = bufs.iter().map(|buf| buf.len()).sum();
            let allowed = self.ask(Step::Redo, path, len)?;
            let written = if allowed < len {
                // Only a test gets here: part of the first buffer passes, unaligned or not.
                let torn: Vec<u8> = bufs
                    .iter()
                    .flat_map(|buf| buf.iter().copied())
                    .take(allowed)
                    .collect();
                use std::os::unix::fs::FileExt;
                File::options()
                    .write(true)
                    .open(path)?
                    .write_all_at(&torn, at)?;
                allowed
            } else {
                match rustix::io::pwritev(file, bufs, at) {
                    Err(rustix::io::Errno::INTR) => continue,
                    other => other?,
                }
            };
            if written == 0 && allowed > 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut bufs, written);
            at += written as u64;
        }
        Ok(())
    }

    /// Makes the bytes of `file` durable.
    pub(super) fn sync(&mut self, step: Step, file: &File, path: &Path) -> io::Result<()> {
        self.ask(step, path, 0)?;
        self.syncs += 1;
        file.sync_data()?;
        #[cfg(test)]
        if let Some(gate) = &self.gate {
            gate.synced(path, file);
        }
        Ok(())
    }
}
