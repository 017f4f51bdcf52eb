//! Reading events, in this process or another, with a connection that can't write.

use std::path::Path;

use anyhow::Context as _;
use sqlx::sqlite::SqliteRow;
use sqlx::{ConnectOptions as _, Row as _, SqliteConnection};

use super::{FILE, file};

/// An event as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Its number: rises, with holes where retention was.
    pub(crate) seq: i64,
    /// Its name, for ever.
    pub(crate) id: String,
    /// Unix milliseconds at which it was seen.
    pub(crate) at_ms: i64,
    /// The line's time stamp, or that of the moment it was seen (RFC 3339).
    pub(crate) ts: String,
    /// `info`, `warn` or `error`.
    pub(crate) severity: String,
    /// What made it: `logscanner`.
    pub(crate) source: String,
    /// The rule's id.
    pub(crate) rule: String,
    /// Whose line it was.
    pub(crate) workload: String,
    /// The line, cut.
    pub(crate) message: String,
    /// All of it, as one JSON object.
    pub(crate) body: String,
}

/// Reads events.
#[derive(Debug)]
pub(crate) struct EventReader {
    connection: SqliteConnection,
}

impl EventReader {
    /// Opens the events of a state directory.
    ///
    /// # Errors
    /// There are none, or they can't be read.
    pub(crate) async fn open(state: &Path) -> anyhow::Result<Self> {
        let path = state.join(FILE);
        let connection = file::looked_at(&path)
            .connect()
            .await
            .with_context(|| format!("open {}", path.display()))?;
        Ok(Self { connection })
    }

    /// The events behind `seq`, in order, at most `limit`.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) async fn after(&mut self, seq: i64, limit: u32) -> sqlx::Result<Vec<Stored>> {
        let rows = sqlx::query("SELECT * FROM events WHERE seq > ? ORDER BY seq LIMIT ?")
            .bind(seq)
            .bind(limit)
            .fetch_all(&mut self.connection)
            .await?;
        rows.iter().map(read).collect()
    }

    /// The number before the first event that was seen at `at_ms` or later; [`Self::last_seq`] if there is none.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) async fn before(&mut self, at_ms: i64) -> sqlx::Result<i64> {
        let first: Option<i64> = sqlx::query_scalar("SELECT min(seq) FROM events WHERE at_ms >= ?")
            .bind(at_ms)
            .fetch_one(&mut self.connection)
            .await?;
        match first {
            Some(seq) => Ok(seq - 1),
            None => self.last_seq().await,
        }
    }

    /// The number of the newest event there ever was; 0: none.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) async fn last_seq(&mut self) -> sqlx::Result<i64> {
        let last = sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'events'")
            .fetch_optional(&mut self.connection)
            .await?;
        Ok(last.unwrap_or(0))
    }

    /// An event by its name.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) async fn find(&mut self, id: &str) -> sqlx::Result<Option<Stored>> {
        let row = sqlx::query("SELECT * FROM events WHERE id = ?")
            .bind(id)
            .fetch_optional(&mut self.connection)
            .await?;
        row.as_ref().map(read).transpose()
    }
}

fn read(row: &SqliteRow) -> sqlx::Result<Stored> {
    Ok(Stored {
        seq: row.try_get("seq")?,
        id: row.try_get("id")?,
        at_ms: row.try_get("at_ms")?,
        ts: row.try_get("ts")?,
        severity: row.try_get("severity")?,
        source: row.try_get("source")?,
        rule: row.try_get("rule")?,
        workload: row.try_get("workload")?,
        message: row.try_get("message")?,
        body: row.try_get("body")?,
    })
}
