//! One process per state or data directory.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, FlockOperation};

use crate::Failure;
use crate::config::Source;

/// An exclusive hold on a directory, until dropped or until the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    // Held for its lock, which the kernel releases with the descriptor.
    _file: File,
    dir: PathBuf,
}

impl Lock {
    /// The directory that is held.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Why a directory could not be locked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process holds it.
    #[error("{} is in use by process {}", dir.display(), pid.map_or("unknown".to_owned(), |pid| pid.to_string()))]
    Held {
        /// The directory.
        dir: PathBuf,
        /// The holder, as it wrote itself down.
        pid: Option<u32>,
    },
    /// The directory can't be made or written.
    #[error("{} cannot be used: {source}", path.display())]
    Unusable {
        /// The directory or its lock file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl LockError {
    /// The failure to end with: a directory in use is a failure at run time, one that can't be written is a problem
    /// of the configuration's `key`.
    pub fn failure(self, source: &Source, key: &str) -> Failure {
        match self {
            Self::Held { .. } => Failure::Runtime(self.into()),
            Self::Unusable { .. } => source.problem(key, self.to_string()).into(),
        }
    }
}

/// Makes `dir` (0700) if it is missing and takes `dir/lock`. First thing in every program, before anything in the
/// directory is read.
///
/// # Errors
/// [`LockError::Held`] names the directory and the holder's process id.
pub fn lock(dir: &Path) -> Result<Lock, LockError> {
    let path = dir.join("lock");
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |source| LockError::Unusable { path, source }
    };
    make(dir).map_err(unusable(dir))?;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(unusable(&path))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            // The holder's number is a courtesy: without it the error stands.
            let _ = file.take(32).read_to_string(&mut text);
            return Err(LockError::Held {
                dir: dir.to_owned(),
                pid: text.trim().parse().ok(),
            });
        }
        Err(error) => return Err(unusable(&path)(error.into())),
    }
    file.set_len(0)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .and_then(|_| writeln!(file, "{}", std::process::id()))
        .map_err(unusable(&path))?;
    Ok(Lock {
        _file: file,
        dir: dir.to_owned(),
    })
}

/// Whether files could be made in `dir`, or `dir` itself where it is missing; touches nothing. For `check`.
///
/// # Errors
/// What the system says about the directory, or about the nearest one above it that exists.
pub fn check_writable(dir: &Path) -> io::Result<()> {
    for place in dir.ancestors() {
        let place = if place.as_os_str().is_empty() {
            Path::new(".")
        } else {
            place
        };
        match std::fs::metadata(place) {
            Ok(found) if !found.is_dir() => return Err(io::ErrorKind::NotADirectory.into()),
            Ok(_) => {
                return Ok(rustix::fs::access(
                    place,
                    Access::WRITE_OK | Access::EXEC_OK,
                )?);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// Only the last directory is private: `/var/lib/logferry` is shared by programs with users of their own.
fn make(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests;
