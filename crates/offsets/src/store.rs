//! The checkpoint store: one SQLite connection, a table of keys and bytes, and the changes of the
//! planned append that are durable in a redo slot but not yet in the table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection, Row, SqliteConnection};

mod ahead;
mod sql;

use ahead::Ahead;

/// One change of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Sets `key` to `value`.
    Put {
        /// The checkpoint's name.
        key: String,
        /// Its new value; the bytes are the user's own.
        value: Vec<u8>,
    },
    /// Forgets `key`; a key that does not exist is no error.
    Delete {
        /// The checkpoint's name.
        key: String,
    },
}

/// Why the store failed; every variant names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file or its directory could not be opened or made.
    #[error("cannot open checkpoint store {path}")]
    Open {
        /// The SQLite file.
        path: PathBuf,
        /// What the system or SQLite said.
        source: sqlx::Error,
    },
    /// The file is not a database, or its pages contradict each other. It is never made anew.
    #[error("checkpoint store {path} is damaged: {what}")]
    Damaged {
        /// The SQLite file.
        path: PathBuf,
        /// SQLite's first finding.
        what: String,
    },
    /// The file was written by a program with another schema.
    #[error("checkpoint store {path} has schema version {found}, this program knows {known}")]
    Version {
        /// The SQLite file.
        path: PathBuf,
        /// `user_version` of the file.
        found: i64,
        /// The version that this crate writes.
        known: i64,
    },
    /// A read or a transaction failed; nothing of the transaction holds.
    #[error("cannot use checkpoint store {path}")]
    Query {
        /// The SQLite file.
        path: PathBuf,
        /// What SQLite said.
        source: sqlx::Error,
    },
}

/// Checkpoints: keys and bytes in one SQLite file (WAL, `synchronous=FULL`), one connection.
///
/// Clones share the connection. A value that an [`Appender`](crate::Appender) made durable is visible
/// at once through every clone; another process sees it after the next flush (at most a second of
/// appending later, or [`Appender::flush`](crate::Appender::flush)).
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    connection: tokio::sync::Mutex<SqliteConnection>,
    ahead: Mutex<Ahead>,
}

impl Store {
    /// Opens the store at `path`; a missing file is made, with its directory (mode 0700).
    ///
    /// # Errors
    /// [`StoreError`], naming the file. A damaged file is an error, never replaced.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref().to_path_buf();
        let io = |source: std::io::Error| StoreError::Open {
            path: path.clone(),
            source: sqlx::Error::Io(source),
        };
        let made = !path.exists();
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            crate::appender::make_dir(dir).map_err(io)?;
        }
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .optimize_on_close(false, None);
        let mut connection = SqliteConnection::connect_with(&options)
            .await
            .map_err(|source| opening(&path, source))?;
        sql::check(&mut connection, &path).await?;
        sql::migrate(&mut connection, &path).await?;
        if made && let Some(dir) = path.parent() {
            crate::appender::sync_dir(dir).map_err(io)?;
        }
        let inner = Inner {
            path,
            connection: connection.into(),
            ahead: Mutex::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Closes the file if this is the last clone: then all of the state is in one file. Otherwise that comes some time
    /// after the last clone is dropped.
    ///
    /// # Errors
    /// [`StoreError::Query`]; what was committed holds all the same.
    pub async fn close(self) -> Result<(), StoreError> {
        let Some(inner) = Arc::into_inner(self.inner) else {
            return Ok(());
        };
        let closed = inner.connection.into_inner().close().await;
        closed.map_err(|source| StoreError::Query {
            path: inner.path,
            source,
        })
    }

    /// The SQLite file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        // The lock comes first: a flush moves values from `ahead` into the table under it.
        let mut connection = self.inner.connection.lock().await;
        if let Some((_, value)) = self
            .ahead()
            .values()
            .find_map(|batches| batches.changes.get(key))
        {
            return Ok(value.clone());
        }
        let row = sqlx::query("SELECT value FROM checkpoint WHERE key = ?")
            .bind(key)
            .fetch_optional(&mut *connection)
            .await
            .map_err(|source| self.query(source))?;
        row.map(|row| row.try_get(0).map_err(|source| self.query(source)))
            .transpose()
    }

    /// All keys that start with `prefix`, in order, with their values.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub async fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let mut connection = self.inner.connection.lock().await;
        let rows = sqlx::query("SELECT key, value FROM checkpoint WHERE substr(key, 1, ?) = ?")
            .bind(i64::try_from(prefix.chars().count()).unwrap_or(i64::MAX))
            .bind(prefix)
            .fetch_all(&mut *connection)
            .await
            .map_err(|source| self.query(source))?;
        let mut all = BTreeMap::new();
        for row in rows {
            let key: String = row.try_get(0).map_err(|source| self.query(source))?;
            let value: Vec<u8> = row.try_get(1).map_err(|source| self.query(source))?;
            all.insert(key, Some(value));
        }
        for (key, (_, value)) in self.ahead().values().flat_map(|batches| &batches.changes) {
            if key.starts_with(prefix) {
                all.insert(key.clone(), value.clone());
            }
        }
        Ok(all
            .into_iter()
            .filter_map(|(key, value)| value.map(|value| (key, value)))
            .collect())
    }

    /// Makes `changes` durable in one transaction, with everything an appender has ahead of the table.
    /// Later entries win over earlier ones of the same key. Whether a commit whose future was dropped
    /// holds is unknown.
    ///
    /// # Errors
    /// [`StoreError::Query`]; then none of `changes` holds.
    pub async fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        let mut connection = self.inner.connection.lock().await;
        let ahead = self.ahead().clone();
        let mut all = BTreeMap::new();
        let mut newest = BTreeMap::new();
        for (place, batches) in &ahead {
            all.extend(
                batches
                    .changes
                    .iter()
                    .map(|(key, (_, value))| (key.clone(), value.clone())),
            );
            if batches.newest != batches.applied {
                newest.insert(place.clone(), batches.newest);
            }
        }
        for change in changes {
            let (key, value) = change.parts();
            all.insert(key.to_owned(), value.map(<[u8]>::to_vec));
        }
        if all.is_empty() && newest.is_empty() {
            return Ok(());
        }
        sql::write(&mut connection, &all, &newest)
            .await
            .map_err(|source| self.query(source))?;
        // What an append put ahead while the transaction ran stays ahead.
        for (place, batches) in self.ahead().iter_mut() {
            let Some(written) = ahead.get(place) else {
                continue;
            };
            batches.applied = written.newest;
            batches
                .changes
                .retain(|_, (batch, _)| *batch > written.newest);
            batches.since = batches.since.filter(|_| !batches.changes.is_empty());
        }
        Ok(())
    }

    /// The newest batch of the appender at `place` whose changes are in the table.
    pub(crate) async fn applied(&self, place: &str) -> Result<Option<u64>, StoreError> {
        let mut connection = self.inner.connection.lock().await;
        let row = sqlx::query("SELECT batch FROM appender WHERE place = ?")
            .bind(place)
            .fetch_optional(&mut *connection)
            .await
            .map_err(|source| self.query(source))?;
        let batch = row
            .map(|row| row.try_get::<i64, _>(0))
            .transpose()
            .map_err(|source| self.query(source))?;
        Ok(batch.and_then(|batch| u64::try_from(batch).ok()))
    }

    /// Makes `place` known as an appender whose newest batch is 0.
    pub(crate) async fn found(&self, place: &str) -> Result<(), StoreError> {
        let mut connection = self.inner.connection.lock().await;
        sqlx::query("INSERT INTO appender VALUES (?, 0) ON CONFLICT (place) DO NOTHING")
            .bind(place)
            .execute(&mut *connection)
            .await
            .map(drop)
            .map_err(|source| self.query(source))
    }

    fn query(&self, source: sqlx::Error) -> StoreError {
        match damage(&source) {
            Some(what) => StoreError::Damaged {
                path: self.inner.path.clone(),
                what,
            },
            None => StoreError::Query {
                path: self.inner.path.clone(),
                source,
            },
        }
    }
}

impl Change {
    /// The key, and the new value (`None`: deleted).
    pub(crate) fn parts(&self) -> (&str, Option<&[u8]>) {
        match self {
            Self::Put { key, value } => (key, Some(value)),
            Self::Delete { key } => (key, None),
        }
    }
}

fn opening(path: &Path, source: sqlx::Error) -> StoreError {
    match damage(&source) {
        Some(what) => StoreError::Damaged {
            path: path.to_path_buf(),
            what,
        },
        None => StoreError::Open {
            path: path.to_path_buf(),
            source,
        },
    }
}

/// SQLITE_CORRUPT (11) and SQLITE_NOTADB (26), with their extended codes.
fn damage(error: &sqlx::Error) -> Option<String> {
    let sqlx::Error::Database(error) = error else {
        return None;
    };
    let code: i64 = error.code()?.parse().ok()?;
    matches!(code & 0xff, 11 | 26).then(|| error.message().to_owned())
}

/// How long a statement waits for another process that reads the file while we write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
