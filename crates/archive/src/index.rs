//! `index.sqlite`: where the durable end of every epoch is, moved by one transaction per commit window.
//!
//! The index is a claim about the segments, not the truth: recovery checks it against the window's witness and the
//! segments, and makes it again from ledgers and segments when it is missing, damaged or an older copy.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use crate::entry::{Change, Entry};
use crate::name::{EpochId, NameError, StreamKey};

mod looking;
mod rows;
mod segments;

pub(crate) use segments::{Packing, SegmentRow};

/// How long a statement waits for a reader that holds the file (a backup, `sqlite3`).
const BUSY: Duration = Duration::from_secs(5);

/// Version of the tables, kept in `user_version`.
const SCHEMA: i64 = 2;

/// A file up to this size is looked at page by page when it is opened; larger ones would make the start slow, and what
/// is damaged in them is found when it is read.
const CHECKED_BYTES: u64 = 16 << 20;

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
    /// The witness of the window could not be written, or a test failed the step.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl IndexError {
    /// Whether the file itself is damaged, so that it has to be made again.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            // SQLITE_CORRUPT, SQLITE_NOTADB; and SQLITE_ERROR, which is what a missing table or column gives.
            IndexError::Sql(sqlx::Error::Database(e)) => {
                matches!(primary(e.as_ref()), Some(1 | 11 | 26))
            }
            IndexError::Sql(
                sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::ColumnNotFound(_)
                | sqlx::Error::RowNotFound,
            ) => true,
            IndexError::Name(_) | IndexError::Value(_) => true,
            _ => false,
        }
    }

    /// Whether there was no room for the transaction.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            // SQLITE_FULL.
            IndexError::Sql(sqlx::Error::Database(e)) => primary(e.as_ref()) == Some(13),
            IndexError::Io(e) => crate::segment::is_full(e),
            _ => false,
        }
    }
}

/// The low eight bits of an extended result code.
fn primary(error: &dyn sqlx::error::DatabaseError) -> Option<u32> {
    Some(error.code()?.parse::<u32>().ok()? & 0xff)
}

/// What the index says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    /// The number of the last window that stands; 0: none ever did.
    pub(crate) window: i64,
    /// Unix milliseconds of that window.
    pub(crate) at_ms: i64,
    /// The archive was closed in an orderly way, and nobody has it open.
    pub(crate) clean: bool,
}

/// One connection to `index.sqlite`.
#[derive(Debug)]
pub(crate) struct Index {
    path: PathBuf,
    connection: SqliteConnection,
    /// SQLite failed in a transaction: the connection is made anew before the next one.
    broken: bool,
}

impl Index {
    /// Opens the file, made with its tables if it is not there. `None`: the tables are those of an earlier version.
    pub(crate) async fn open(path: &Path) -> Result<Option<Index>, IndexError> {
        let Some(connection) = connect(path).await? else {
            return Ok(None);
        };
        Ok(Some(Index {
            path: path.to_owned(),
            connection,
            broken: false,
        }))
    }

    /// Opens the file for looking at it while another process may be using it. `None`: there is none, or an earlier
    /// version's.
    pub(crate) async fn look(path: &Path) -> Result<Option<Index>, IndexError> {
        if !path.exists() {
            return Ok(None);
        }
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        Self::look_with(path, options).await
    }

    /// The same, opened as the caller says.
    pub(crate) async fn look_with(
        path: &Path,
        options: SqliteConnectOptions,
    ) -> Result<Option<Index>, IndexError> {
        let mut connection = options
            .busy_timeout(BUSY)
            .disable_statement_logging()
            .connect()
            .await?;
        let found: i64 = sqlx::query_scalar("PRAGMA user_version")
            .fetch_one(&mut connection)
            .await?;
        Ok((found == SCHEMA).then(|| Index {
            path: path.to_owned(),
            connection,
            broken: false,
        }))
    }

    /// Asks SQLite to look at every page, unless they are many and not all are asked for.
    pub(crate) async fn check(&mut self, all: bool) -> Result<bool, IndexError> {
        let large = std::fs::metadata(&self.path).is_ok_and(|meta| meta.len() > CHECKED_BYTES);
        if large && !all {
            return Ok(true);
        }
        let verdict: String = sqlx::query_scalar("PRAGMA quick_check(1)")
            .fetch_one(&mut self.connection)
            .await?;
        Ok(verdict == "ok")
    }

    pub(crate) async fn state(&mut self) -> Result<State, IndexError> {
        let (window, at_ms, clean) = sqlx::query_as("SELECT window, at_ms, clean FROM state")
            .fetch_one(&mut self.connection)
            .await?;
        Ok(State {
            window,
            at_ms,
            clean,
        })
    }

    /// Notes that the archive is in use, or was closed in an orderly way.
    pub(crate) async fn set_clean(&mut self, clean: bool) -> Result<(), IndexError> {
        sqlx::query("UPDATE state SET clean = ?")
            .bind(clean)
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    /// Writes a change in one transaction; with the number and the time of the window whose change it is. The same
    /// change may be written again, so that an error whose outcome is unknown is no trouble.
    pub(crate) async fn put(
        &mut self,
        change: &Change,
        window: Option<(i64, i64)>,
    ) -> Result<(), IndexError> {
        self.mend().await?;
        self.broken = true;
        let mut transaction = self.connection.begin().await?;
        for entry in &change.entries {
            rows::put(&mut transaction, entry).await?;
        }
        for (key, mark) in &change.ledgers {
            rows::put_ledger(&mut transaction, key, *mark).await?;
        }
        if let Some((number, at_ms)) = window {
            sqlx::query("UPDATE state SET window = ?, at_ms = ?")
                .bind(number)
                .bind(at_ms)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        self.broken = false;
        Ok(())
    }

    /// Connects anew after a failure: whether the failed transaction stands is for the next one to settle.
    async fn mend(&mut self) -> Result<(), IndexError> {
        if self.broken {
            self.connection = connect(&self.path)
                .await?
                .ok_or_else(|| IndexError::Value("user_version".to_owned()))?;
            self.broken = false;
        }
        Ok(())
    }

    /// Epochs that recovery has to look at, with the pieces of their open segments.
    pub(crate) async fn live(&mut self) -> Result<Vec<Entry>, IndexError> {
        let rows =
            sqlx::query("SELECT * FROM epochs WHERE live = 1 ORDER BY worker, stream, ordinal")
                .fetch_all(&mut self.connection)
                .await?;
        let mut entries = rows.iter().map(rows::read).collect::<Result<Vec<_>, _>>()?;
        for entry in &mut entries {
            rows::read_pieces(&mut self.connection, entry).await?;
        }
        Ok(entries)
    }

    /// Epochs that are neither sealed nor live, in the order in which they were opened.
    pub(crate) async fn resting(&mut self) -> Result<Vec<Entry>, IndexError> {
        let rows = sqlx::query(
            "SELECT * FROM epochs WHERE sealed = 0 AND live = 0 ORDER BY worker, stream, ordinal",
        )
        .fetch_all(&mut self.connection)
        .await?;
        rows.iter().map(rows::read).collect()
    }

    /// Epochs that rolled, are not sealed, and were last moved before a time; at most so many.
    pub(crate) async fn idle(
        &mut self,
        before_ms: i64,
        most: u32,
    ) -> Result<Vec<Entry>, IndexError> {
        let rows = sqlx::query(
            "SELECT * FROM epochs WHERE sealed = 0 AND rolled IS NOT NULL AND moved_ms < ? ORDER BY moved_ms LIMIT ?",
        )
        .bind(before_ms)
        .bind(most)
        .fetch_all(&mut self.connection)
        .await?;
        rows.iter().map(rows::read).collect()
    }

    /// One epoch, with the pieces of its open segment.
    pub(crate) async fn find(
        &mut self,
        key: &StreamKey,
        epoch: EpochId,
    ) -> Result<Option<Entry>, IndexError> {
        let row = sqlx::query("SELECT * FROM epochs WHERE worker = ? AND stream = ? AND epoch = ?")
            .bind(key.worker())
            .bind(key.stream())
            .bind(epoch.to_string())
            .fetch_optional(&mut self.connection)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let mut entry = rows::read(&row)?;
        rows::read_pieces(&mut self.connection, &mut entry).await?;
        Ok(Some(entry))
    }

    /// The newest epochs of a stream, newest first.
    pub(crate) async fn newest(
        &mut self,
        key: &StreamKey,
        most: usize,
    ) -> Result<Vec<Entry>, IndexError> {
        let rows = sqlx::query(
            "SELECT * FROM epochs WHERE worker = ? AND stream = ? ORDER BY ordinal DESC LIMIT ?",
        )
        .bind(key.worker())
        .bind(key.stream())
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .fetch_all(&mut self.connection)
        .await?;
        rows.iter().map(rows::read).collect()
    }

    /// How far each stream's ledger stands.
    pub(crate) async fn ledgers(
        &mut self,
    ) -> Result<Vec<(StreamKey, crate::entry::LedgerMark)>, IndexError> {
        let rows = sqlx::query("SELECT worker, stream, head, len FROM ledgers")
            .fetch_all(&mut self.connection)
            .await?;
        rows.iter().map(rows::read_ledger).collect()
    }

    /// Closes the file in an orderly way.
    pub(crate) async fn close(self) -> Result<(), IndexError> {
        Ok(self.connection.close().await?)
    }
}

async fn connect(path: &Path) -> Result<Option<SqliteConnection>, IndexError> {
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
    match found {
        0 => {
            let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_master")
                .fetch_one(&mut connection)
                .await?;
            if tables > 0 {
                connection.close().await?;
                return Ok(None);
            }
            sqlx::raw_sql(TABLES).execute(&mut connection).await?;
        }
        SCHEMA => {}
        found if found > SCHEMA => return Err(IndexError::Version { found }),
        _ => {
            connection.close().await?;
            return Ok(None);
        }
    }
    Ok(Some(connection))
}

const TABLES: &str = "
BEGIN;
CREATE TABLE epochs (
    worker TEXT NOT NULL, stream TEXT NOT NULL, epoch TEXT NOT NULL, ordinal INTEGER NOT NULL, form TEXT NOT NULL,
    after TEXT, of TEXT, opened_ms INTEGER NOT NULL, moved_ms INTEGER NOT NULL, base INTEGER NOT NULL,
    end INTEGER NOT NULL, segment INTEGER, segment_ms INTEGER,
    head_end INTEGER NOT NULL, head_len INTEGER NOT NULL, head BLOB NOT NULL,
    tail_end INTEGER NOT NULL, tail_len INTEGER NOT NULL, tail BLOB NOT NULL,
    in_line INTEGER NOT NULL, sealed INTEGER NOT NULL, rolled TEXT, told INTEGER NOT NULL, live INTEGER NOT NULL,
    PRIMARY KEY (worker, stream, epoch)
) WITHOUT ROWID;
CREATE INDEX newest_epochs ON epochs (worker, stream, ordinal);
CREATE INDEX live_epochs ON epochs (worker, stream, ordinal) WHERE live = 1;
CREATE INDEX open_epochs ON epochs (moved_ms) WHERE sealed = 0;
CREATE TABLE pieces (
    worker TEXT NOT NULL, stream TEXT NOT NULL, epoch TEXT NOT NULL, number INTEGER NOT NULL, node BLOB NOT NULL,
    PRIMARY KEY (worker, stream, epoch, number)
) WITHOUT ROWID;
CREATE TABLE segments (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    worker TEXT NOT NULL, stream TEXT NOT NULL, epoch TEXT NOT NULL, form TEXT NOT NULL, base INTEGER NOT NULL,
    len INTEGER NOT NULL, hash BLOB NOT NULL, closed_ms INTEGER NOT NULL, stored INTEGER NOT NULL,
    state INTEGER NOT NULL DEFAULT 0,
    UNIQUE (worker, stream, epoch, base)
);
CREATE INDEX worker_segments ON segments (worker, number);
CREATE INDEX aged_segments ON segments (closed_ms);
CREATE INDEX plain_segments ON segments (number) WHERE state = 0;
CREATE TABLE ledgers (
    worker TEXT NOT NULL, stream TEXT NOT NULL, head BLOB NOT NULL, len INTEGER NOT NULL,
    PRIMARY KEY (worker, stream)
) WITHOUT ROWID;
CREATE TABLE state (window INTEGER NOT NULL, at_ms INTEGER NOT NULL, clean INTEGER NOT NULL);
INSERT INTO state VALUES (0, 0, 0);
PRAGMA user_version = 2;
COMMIT;";
