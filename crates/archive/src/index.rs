//! `index.sqlite`: where the durable end of every epoch is, moved by one transaction per commit window.
//!
//! The index is a claim about the segments, not the truth: recovery checks it against them, and makes it again from
//! them when it is missing or damaged.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Row as _, SqliteConnection};

use crate::name::{EpochId, Form, NameError, StreamKey};

/// How long a statement waits for a reader that holds the file (a backup, `sqlite3`).
const BUSY: Duration = Duration::from_secs(5);

/// Version of the tables, kept in `user_version`.
const SCHEMA: i64 = 1;

/// What the index says of one epoch. Kept after the last segment was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: StreamKey,
    pub(crate) epoch: EpochId,
    pub(crate) form: Form,
    /// Unix milliseconds at which the epoch was opened.
    pub(crate) opened_ms: i64,
    /// The epoch's first offset: 0, or where it branched off another epoch.
    pub(crate) base: u64,
    /// Everything below is durable.
    pub(crate) committed: u64,
    /// The open segment's base and the Unix milliseconds of its first byte; none: the next one starts at `committed`.
    pub(crate) segment: Option<(u64, i64)>,
    /// Of the first bytes, at most [`PROOF`].
    pub(crate) head: Proof,
    /// Of the last bytes before any gap, at most [`PROOF`].
    pub(crate) tail: Proof,
    /// Where the epoch ended, once that is known.
    pub(crate) end: Option<u64>,
}

/// Most bytes that a head or tail hash covers.
pub(crate) const PROOF: usize = 4096;

/// A BLAKE3 hash and how many bytes it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) len: u64,
    pub(crate) hash: [u8; 32],
}

impl Proof {
    pub(crate) fn of(bytes: &[u8]) -> Proof {
        Proof {
            len: bytes.len() as u64,
            hash: *blake3::hash(bytes).as_bytes(),
        }
    }
}

/// Why the index could not be read or moved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// SQLite failed; a damaged file is among these.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    /// A row holds a name that can't have been written by us.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A row holds a number or a hash that can't have been written by us.
    #[error("row of {0} holds an impossible value")]
    Value(String),
    /// The file was made by a later version of this program.
    #[error("schema version {found}, this program knows {SCHEMA}")]
    Version {
        /// The version found.
        found: i64,
    },
    /// The step was failed by a test.
    #[error(transparent)]
    Fault(io::Error),
}

impl IndexError {
    /// Whether the file itself is damaged, so that it has to be made again.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            // SQLITE_CORRUPT, SQLITE_NOTADB.
            IndexError::Sql(sqlx::Error::Database(e)) => {
                matches!(primary(e.as_ref()), Some(11 | 26))
            }
            IndexError::Sql(sqlx::Error::ColumnDecode { .. }) => true,
            IndexError::Name(_) | IndexError::Value(_) => true,
            _ => false,
        }
    }

    /// Whether there was no room for the transaction.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            // SQLITE_FULL.
            IndexError::Sql(sqlx::Error::Database(e)) => primary(e.as_ref()) == Some(13),
            IndexError::Fault(e) => e.kind() == io::ErrorKind::StorageFull,
            _ => false,
        }
    }
}

/// The low eight bits of an extended result code.
fn primary(error: &dyn sqlx::error::DatabaseError) -> Option<u32> {
    Some(error.code()?.parse::<u32>().ok()? & 0xff)
}

/// One connection to `index.sqlite`.
#[derive(Debug)]
pub(crate) struct Index {
    path: PathBuf,
    connection: SqliteConnection,
    /// The number of the last window that is known to stand.
    window: i64,
    /// Whether the window after that may stand or not: SQLite failed, and the file could not be asked yet.
    unsettled: bool,
}

impl Index {
    /// Opens the file, made with its tables if it is not there.
    pub(crate) async fn open(path: &Path) -> Result<Index, IndexError> {
        let (connection, window) = connect(path).await?;
        Ok(Index {
            path: path.to_owned(),
            connection,
            window,
            unsettled: false,
        })
    }

    /// Asks SQLite to look at every page.
    pub(crate) async fn check(&mut self) -> Result<bool, IndexError> {
        let verdict: String = sqlx::query_scalar("PRAGMA quick_check(1)")
            .fetch_one(&mut self.connection)
            .await?;
        Ok(verdict == "ok")
    }

    /// Epochs whose end is not known yet, in the order of their names.
    pub(crate) async fn open_epochs(&mut self) -> Result<Vec<Entry>, IndexError> {
        let rows = sqlx::query(
            "SELECT * FROM epochs WHERE end IS NULL ORDER BY worker, stream, opened_ms, epoch",
        )
        .fetch_all(&mut self.connection)
        .await?;
        rows.iter().map(read).collect()
    }

    /// Streams of which the index knows anything.
    pub(crate) async fn streams(&mut self) -> Result<Vec<StreamKey>, IndexError> {
        let rows = sqlx::query("SELECT DISTINCT worker, stream FROM epochs")
            .fetch_all(&mut self.connection)
            .await?;
        rows.iter().map(key).collect()
    }

    /// Writes all entries in one transaction. When SQLite fails, the file is opened again and asked whether the
    /// transaction stands, so that an error means it does not, unless [`Index::settle`] says otherwise later.
    pub(crate) async fn put(&mut self, entries: &[Entry]) -> Result<(), IndexError> {
        self.settle().await?;
        let window = self.window + 1;
        let Err(error) = self.transact(window, entries).await else {
            self.window = window;
            return Ok(());
        };
        self.unsettled = true;
        match self.settle().await {
            Ok(true) => Ok(()),
            _ => Err(error),
        }
    }

    /// Finds out whether a transaction whose outcome is unknown stands; `false` when there is none.
    pub(crate) async fn settle(&mut self) -> Result<bool, IndexError> {
        if !self.unsettled {
            return Ok(false);
        }
        let before = self.window;
        (self.connection, self.window) = connect(&self.path).await?;
        self.unsettled = false;
        Ok(self.window > before)
    }

    async fn transact(&mut self, window: i64, entries: &[Entry]) -> Result<(), IndexError> {
        let mut transaction = self.connection.begin().await?;
        for entry in entries {
            let number =
                |n: u64| i64::try_from(n).map_err(|_| IndexError::Value(entry.key.to_string()));
            sqlx::query(
                "INSERT INTO epochs (worker, stream, epoch, form, opened_ms, base, committed, segment, segment_ms, \
                 head_len, head, tail_len, tail, end) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
                 ON CONFLICT (worker, stream, epoch) DO UPDATE SET committed = excluded.committed, \
                 segment = excluded.segment, segment_ms = excluded.segment_ms, head_len = excluded.head_len, \
                 head = excluded.head, tail_len = excluded.tail_len, tail = excluded.tail, end = excluded.end",
            )
            .bind(entry.key.worker())
            .bind(entry.key.stream())
            .bind(entry.epoch.to_string())
            .bind(entry.form.extension())
            .bind(entry.opened_ms)
            .bind(number(entry.base)?)
            .bind(number(entry.committed)?)
            .bind(entry.segment.map(|(base, _)| number(base)).transpose()?)
            .bind(entry.segment.map(|(_, ms)| ms))
            .bind(number(entry.head.len)?)
            .bind(&entry.head.hash[..])
            .bind(number(entry.tail.len)?)
            .bind(&entry.tail.hash[..])
            .bind(entry.end.map(number).transpose()?)
            .execute(&mut *transaction)
            .await?;
        }
        sqlx::query("UPDATE window SET number = ?")
            .bind(window)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Closes the file in an orderly way.
    pub(crate) async fn close(self) -> Result<(), IndexError> {
        Ok(self.connection.close().await?)
    }
}

async fn connect(path: &Path) -> Result<(SqliteConnection, i64), IndexError> {
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY)
        .disable_statement_logging()
        .connect()
        .await?;
    let found: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut connection)
        .await?;
    if found > SCHEMA {
        return Err(IndexError::Version { found });
    }
    if found < SCHEMA {
        sqlx::raw_sql(TABLES).execute(&mut connection).await?;
    }
    let window = sqlx::query_scalar("SELECT number FROM window")
        .fetch_one(&mut connection)
        .await?;
    Ok((connection, window))
}

const TABLES: &str = "
BEGIN;
CREATE TABLE IF NOT EXISTS epochs (
    worker TEXT NOT NULL, stream TEXT NOT NULL, epoch TEXT NOT NULL, form TEXT NOT NULL,
    opened_ms INTEGER NOT NULL, base INTEGER NOT NULL, committed INTEGER NOT NULL, segment INTEGER, segment_ms INTEGER,
    head_len INTEGER NOT NULL, head BLOB NOT NULL, tail_len INTEGER NOT NULL, tail BLOB NOT NULL,
    end INTEGER,
    PRIMARY KEY (worker, stream, epoch)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS open_epochs ON epochs (worker, stream) WHERE end IS NULL;
CREATE TABLE IF NOT EXISTS window (number INTEGER NOT NULL);
INSERT INTO window SELECT 0 WHERE NOT EXISTS (SELECT * FROM window);
PRAGMA user_version = 1;
COMMIT;";

fn key(row: &SqliteRow) -> Result<StreamKey, IndexError> {
    Ok(StreamKey::new(
        row.try_get("worker")?,
        row.try_get("stream")?,
    )?)
}

fn read(row: &SqliteRow) -> Result<Entry, IndexError> {
    let key = key(row)?;
    let bad = || IndexError::Value(key.to_string());
    let number = |name: &str| u64::try_from(row.try_get::<i64, _>(name)?).map_err(|_| bad());
    let optional = |name: &str| match row.try_get::<Option<i64>, _>(name)? {
        None => Ok(None),
        Some(n) => u64::try_from(n).map(Some).map_err(|_| bad()),
    };
    let hash = |name: &str| <[u8; 32]>::try_from(row.try_get::<&[u8], _>(name)?).map_err(|_| bad());
    let form: &str = row.try_get("form")?;
    let segment_ms: Option<i64> = row.try_get("segment_ms")?;
    Ok(Entry {
        epoch: EpochId::parse(row.try_get("epoch")?)?,
        form: [Form::Log, Form::Frames]
            .into_iter()
            .find(|f| f.extension() == form)
            .ok_or_else(bad)?,
        opened_ms: row.try_get("opened_ms")?,
        base: number("base")?,
        committed: number("committed")?,
        segment: optional("segment")?.zip(segment_ms),
        head: Proof {
            len: number("head_len")?,
            hash: hash("head")?,
        },
        tail: Proof {
            len: number("tail_len")?,
            hash: hash("tail")?,
        },
        end: optional("end")?,
        key,
    })
}
