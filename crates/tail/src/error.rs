//! What keeps a follower from going on for now.

use std::io;
use std::path::PathBuf;

/// Why nothing can be read at the moment. Nothing is lost by it: ask again later.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TailError {
    /// A file or directory can't be opened or read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The path names a directory, a socket, a device.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// Which.
        path: PathBuf,
    },
    /// The directory changed at each of several looks: a rotation is under way.
    #[error("{} changes while it is looked at", path.display())]
    Unsettled {
        /// The directory.
        path: PathBuf,
    },
}

impl TailError {
    pub(crate) fn unreadable(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Unreadable { path, source }
    }
}
