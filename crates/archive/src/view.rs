//! An archive as a process sees it that is not its owner: which epochs there are, and how far each is committed.
//!
//! It reads the index and nothing else, takes no lock and writes nothing, not even SQLite's files beside the index:
//! those of a user that the owner can't share would keep the owner from its own index. What it gives is durable.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteConnectOptions;

use crate::index::{Index, IndexError};
use crate::name::{EpochId, Form, StreamKey};
use crate::recover::INDEX;

/// An epoch as it is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EpochView {
    /// Its stream.
    pub key: StreamKey,
    /// Its name.
    pub epoch: EpochId,
    /// Its place among the stream's epochs. Stays as long as the index is not made anew.
    pub ordinal: i64,
    /// What its bytes are.
    pub form: Form,
    /// Its first offset.
    pub base: u64,
    /// Everything below is durable, or a gap.
    pub end: u64,
    /// Nothing will be appended any more.
    pub sealed: bool,
    /// Another epoch followed; what was late may still be appended.
    pub rolled: bool,
}

/// Why the archive can't be looked at now. Another look may do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// There is no index, or one of another version: the owner has not made it yet, or is making it anew.
    #[error("{} is not there, or is another version's", .0.display())]
    NoIndex(PathBuf),
    /// The file was changed while it was read without the owner's help.
    #[error("{} changed while it was read", .0.display())]
    Changed(PathBuf),
    /// The index can't be read.
    #[error("cannot read {}", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// Why.
        source: IndexError,
    },
    /// The system refuses to look at the file.
    #[error("cannot look at {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
}

/// Looks at the index of an archive, again and again.
#[derive(Debug)]
pub struct View {
    path: PathBuf,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    index: Index,
    file: Stamp,
    /// Nobody had the index open: it is read as a file that does not change.
    still: bool,
    version: Option<i64>,
}

/// Which file it was, and in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    dev: u64,
    ino: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        Self {
            dev: meta.dev(),
            ino: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
        }
    }

    fn same_file(&self, other: &Self) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }
}

impl View {
    /// Of the archive in a data directory; nothing is opened yet.
    pub fn new(data: &Path) -> Self {
        Self {
            path: data.join(INDEX),
            open: None,
        }
    }

    /// The file whose changes tell that there is something new: a process that waits may watch it.
    pub fn watched(&self) -> PathBuf {
        log_of(&self.path)
    }

    /// Whether anything may be new since the last call.
    ///
    /// # Errors
    /// [`ViewError`]
    pub async fn changed(&mut self) -> Result<bool, ViewError> {
        self.renew()?;
        let open = self.open().await?;
        if open.still && open.version.is_some() {
            return Ok(false);
        }
        let found = open.index.data_version().await;
        let found = self.told(found)?;
        let open = self.open().await?;
        Ok(open.version.replace(found) != Some(found))
    }

    /// When the newest window was committed, in Unix milliseconds.
    ///
    /// # Errors
    /// [`ViewError`]
    pub async fn newest_ms(&mut self) -> Result<i64, ViewError> {
        let state = self.open().await?.index.state().await;
        Ok(self.told(state)?.at_ms)
    }

    /// All streams, with the length of their ledger: it grows with every epoch that begins, ends or is sealed.
    ///
    /// # Errors
    /// [`ViewError`]
    pub async fn streams(&mut self) -> Result<Vec<(StreamKey, u64)>, ViewError> {
        let found = self.open().await?.index.ledgers().await;
        let found = self.told(found)?;
        Ok(found
            .into_iter()
            .map(|(key, mark)| (key, mark.len))
            .collect())
    }

    /// Epochs that are not sealed and were moved at a time (Unix milliseconds) or later; all of them with `None`.
    ///
    /// # Errors
    /// [`ViewError`]
    pub async fn moved(&mut self, since_ms: Option<i64>) -> Result<Vec<EpochView>, ViewError> {
        let found = self.open().await?.index.moved(since_ms).await;
        self.told(found)
    }

    /// The epochs of a stream with an ordinal over `ordinal`, in order, at most `most`.
    ///
    /// # Errors
    /// [`ViewError`]
    pub async fn behind(
        &mut self,
        key: &StreamKey,
        ordinal: i64,
        most: u32,
    ) -> Result<Vec<EpochView>, ViewError> {
        let found = self.open().await?.index.behind(key, ordinal, most).await;
        self.told(found)
    }

    /// One epoch.
    ///
    /// # Errors
    /// [`ViewError`]
    pub async fn find(
        &mut self,
        key: &StreamKey,
        epoch: EpochId,
    ) -> Result<Option<EpochView>, ViewError> {
        let found = self.open().await?.index.view(key, epoch).await;
        self.told(found)
    }

    /// Lets go of a file that is no longer the index.
    fn renew(&mut self) -> Result<(), ViewError> {
        let Some(open) = &self.open else {
            return Ok(());
        };
        let stands = match std::fs::metadata(&self.path) {
            Ok(meta) => {
                let now = Stamp::of(&meta);
                let still = !open.still || (now == open.file && !log_of(&self.path).exists());
                now.same_file(&open.file) && still
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(source) => return Err(self.io(source)),
        };
        if !stands {
            self.open = None;
        }
        Ok(())
    }

    async fn open(&mut self) -> Result<&mut Open, ViewError> {
        let open = match self.open.take() {
            Some(open) => open,
            None => self.connect().await?,
        };
        Ok(self.open.insert(open))
    }

    async fn connect(&self) -> Result<Open, ViewError> {
        let still = !log_of(&self.path).exists();
        let file = match std::fs::metadata(&self.path) {
            Ok(meta) => Stamp::of(&meta),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ViewError::NoIndex(self.path.clone()));
            }
            Err(source) => return Err(self.io(source)),
        };
        let options = SqliteConnectOptions::new().filename(&self.path);
        let found = Index::look_with(&self.path, options.read_only(true).immutable(still)).await;
        let index = found.map_err(|source| self.index(source))?;
        Ok(Open {
            index: index.ok_or_else(|| ViewError::NoIndex(self.path.clone()))?,
            file,
            still,
            version: None,
        })
    }

    /// What the index told, unless somebody wrote to it meanwhile who did not know of us.
    fn told<T>(&mut self, found: Result<T, IndexError>) -> Result<T, ViewError> {
        let still = self.open.as_ref().is_some_and(|open| open.still);
        if still {
            self.renew()?;
            if self.open.is_none() {
                return Err(ViewError::Changed(self.path.clone()));
            }
        }
        found.map_err(|source| {
            self.open = None;
            self.index(source)
        })
    }

    fn index(&self, source: IndexError) -> ViewError {
        ViewError::Index {
            path: self.path.clone(),
            source,
        }
    }

    fn io(&self, source: io::Error) -> ViewError {
        ViewError::Io {
            path: self.path.clone(),
            source,
        }
    }
}

/// SQLite's write-ahead log of a file. It is there while somebody has the file open.
fn log_of(path: &Path) -> PathBuf {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}
