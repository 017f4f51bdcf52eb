//! The checkpoint store: one SQLite connection, a table of keys and bytes, and the changes of the
//! planned append that are durable in a redo slot but not yet in the table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};

use crate::appender::Tagged;

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

/// What redo slots hold durably and the table does not hold yet, by the appender's place. Two
/// appenders on one store use keys of their own.
type Ahead = BTreeMap<String, Batches>;

/// One appender's part of it.
#[derive(Debug, Default, Clone)]
struct Batches {
    /// The newest batch that the table holds.
    applied: u64,
    /// The newest batch that a slot holds.
    newest: u64,
    /// Key to the batch that set it and the new value (`None`: deleted).
    changes: BTreeMap<String, (u64, Option<Vec<u8>>)>,
    /// When the oldest of `changes` came.
    since: Option<Instant>,
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
        check(&mut connection, &path).await?;
        migrate(&mut connection, &path).await?;
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
    /// Later entries win over earlier ones of the same key.
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
        write(&mut connection, &all, &newest)
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

    /// Takes over what the newest slot of `place` held of changes, `applied` being the newest batch in
    /// the table.
    pub(crate) fn start_ahead(&self, place: &str, applied: u64, newest: u64, changes: Vec<Tagged>) {
        let changes = changes.into_iter().filter(|change| change.batch > applied);
        let changes: BTreeMap<_, _> = changes
            .map(|change| (change.key, (change.batch, change.value)))
            .collect();
        let since = (!changes.is_empty()).then(Instant::now);
        self.ahead().insert(
            place.to_owned(),
            Batches {
                applied,
                newest,
                changes,
                since,
            },
        );
    }

    /// Takes changes that a redo slot holds durably as batch `batch`; a later commit writes them.
    pub(crate) fn put_ahead(
        &self,
        place: &str,
        batch: u64,
        changes: impl IntoIterator<Item = Change>,
    ) {
        let mut ahead = self.ahead();
        let batches = ahead.entry(place.to_owned()).or_default();
        batches.newest = batch;
        for change in changes {
            match change {
                Change::Put { key, value } => batches.changes.insert(key, (batch, Some(value))),
                Change::Delete { key } => batches.changes.insert(key, (batch, None)),
            };
        }
        if batches.since.is_none() && !batches.changes.is_empty() {
            batches.since = Some(Instant::now());
        }
    }

    /// What the next slot of `place` has to carry: the newest batch in the table, and every change
    /// after it.
    pub(crate) fn ahead_of(&self, place: &str) -> (u64, Vec<Tagged>) {
        let ahead = self.ahead();
        let Some(batches) = ahead.get(place) else {
            return (0, Vec::new());
        };
        let tagged = |(key, (batch, value)): (&String, &(u64, Option<Vec<u8>>))| Tagged {
            batch: *batch,
            key: key.clone(),
            value: value.clone(),
        };
        (
            batches.applied,
            batches.changes.iter().map(tagged).collect(),
        )
    }

    /// Bytes of the changes ahead of the table for `place`, and how long the oldest has been.
    pub(crate) fn lag(&self, place: &str) -> (usize, Duration) {
        let ahead = self.ahead();
        let Some(batches) = ahead.get(place) else {
            return (0, Duration::ZERO);
        };
        let size = |(key, (_, value)): (&String, &(u64, Option<Vec<u8>>))| {
            key.len() + value.as_ref().map_or(0, Vec::len)
        };
        let bytes = batches.changes.iter().map(size).sum();
        (
            bytes,
            batches
                .since
                .map_or(Duration::ZERO, |since| since.elapsed()),
        )
    }

    fn ahead(&self) -> MutexGuard<'_, Ahead> {
        self.inner
            .ahead
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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

async fn check(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let row = sqlx::query("PRAGMA quick_check(1)")
        .fetch_one(connection)
        .await
        .map_err(|source| opening(path, source))?;
    let what: String = row.try_get(0).map_err(|source| opening(path, source))?;
    if what == "ok" {
        Ok(())
    } else {
        Err(StoreError::Damaged {
            path: path.to_path_buf(),
            what,
        })
    }
}

async fn migrate(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let open = |source| opening(path, source);
    let row = sqlx::query("PRAGMA user_version")
        .fetch_one(&mut *connection)
        .await
        .map_err(open)?;
    let found: i64 = row.try_get(0).map_err(open)?;
    if found == SCHEMA_VERSION {
        return Ok(());
    }
    let tables = sqlx::query("SELECT count(*) FROM sqlite_schema")
        .fetch_one(&mut *connection)
        .await
        .map_err(open)?;
    let tables: i64 = tables.try_get(0).map_err(open)?;
    if found != 0 || tables != 0 {
        return Err(StoreError::Version {
            path: path.to_path_buf(),
            found,
            known: SCHEMA_VERSION,
        });
    }
    let mut tx = connection.begin().await.map_err(open)?;
    for statement in SCHEMA {
        sqlx::query(*statement)
            .execute(&mut *tx)
            .await
            .map_err(open)?;
    }
    tx.commit().await.map_err(open)
}

/// One transaction: upserts in as few statements as the parameter limit allows (a statement costs
/// ~17 µs of hops to sqlx's worker thread), then deletes, then the appenders' batches.
async fn write(
    connection: &mut SqliteConnection,
    changes: &BTreeMap<String, Option<Vec<u8>>>,
    batches: &BTreeMap<String, u64>,
) -> Result<(), sqlx::Error> {
    let mut tx = connection.begin().await?;
    let puts: Vec<(&String, &Vec<u8>)> = changes
        .iter()
        .filter_map(|(key, value)| value.as_ref().map(|value| (key, value)))
        .collect();
    for chunk in puts.chunks(ROWS_PER_STATEMENT) {
        let rows = vec!["(?,?)"; chunk.len()].join(",");
        let sql = format!(
            "INSERT INTO checkpoint (key, value) VALUES {rows} ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        );
        // Only full and single-row statements come again often enough to be kept prepared.
        let keep = chunk.len() == ROWS_PER_STATEMENT || chunk.len() == 1;
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(keep);
        for (key, value) in chunk {
            query = query.bind(key.as_str()).bind(value.as_slice());
        }
        query.execute(&mut *tx).await?;
    }
    for (key, _) in changes.iter().filter(|(_, value)| value.is_none()) {
        sqlx::query("DELETE FROM checkpoint WHERE key = ?")
            .bind(key.as_str())
            .execute(&mut *tx)
            .await?;
    }
    for (place, batch) in batches {
        sqlx::query("INSERT INTO appender VALUES (?,?) ON CONFLICT (place) DO UPDATE SET batch = excluded.batch")
            .bind(place.as_str())
            .bind(i64::try_from(*batch).unwrap_or(i64::MAX))
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await
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

const SCHEMA_VERSION: i64 = 1;

const SCHEMA: &[&str] = &[
    "CREATE TABLE checkpoint (key TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE appender (place TEXT PRIMARY KEY NOT NULL, batch INTEGER NOT NULL) WITHOUT ROWID",
    "PRAGMA user_version = 1",
];

/// Upserts per statement: two parameters a row, far below SQLite's 32,766.
const ROWS_PER_STATEMENT: usize = 128;

/// How long a statement waits for another process that reads the file while we write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
