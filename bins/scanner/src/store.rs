//! `events.sqlite`: events, and how far the input was read to make them. What belongs together is written together.
//!
//! One connection writes, that of the scanning loop. Everybody else, in this process or another, reads through an
//! [`EventReader`] of their own, which can't write.

use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteAutoVacuum;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, SqliteConnection};

mod batch;
pub(crate) mod file;
mod reader;
mod schema;
mod state;

pub(crate) use batch::{Batch, NewEvent, Place, PlaceKey, Watermark};
pub(crate) use reader::{EventReader, Stored};
pub(crate) use state::REMOVED_AT_ONCE;

/// Why the state could not be read or moved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum StoreError {
    /// The file is not a database, or its pages contradict each other. It is never made anew.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// SQLite's first finding.
        what: String,
    },
    /// The file was made by another version of this program.
    #[error("{path} has schema version {found}, this program knows {known}")]
    Version {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// SQLite or the system failed; nothing of the transaction holds.
    #[error("cannot use {path}")]
    Sql {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: sqlx::Error,
    },
}

/// The one writer.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    connection: SqliteConnection,
}

impl Store {
    /// Opens the file in the state directory, made with its tables if it is not there.
    ///
    /// # Errors
    /// [`StoreError`]. A damaged file is an error, never replaced.
    pub(crate) async fn open(state: &Path) -> Result<Self, StoreError> {
        let path = state.join(FILE);
        let failed = |source| sql(&path, source);
        let mut connection = file::written(&path)
            // Only counts while the file is empty: pages that retention emptied can be given back.
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            .connect()
            .await
            .map_err(failed)?;
        schema::prepare(&mut connection, &path).await?;
        Ok(Self { path, connection })
    }

    /// Reads one of the named values.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub(crate) async fn value(&mut self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        sqlx::query_scalar("SELECT value FROM meta WHERE name = ?")
            .bind(name)
            .fetch_optional(&mut self.connection)
            .await
            .map_err(|source| sql(&self.path, source))
    }

    /// Makes a batch durable, all of it or nothing. Gives the sequence number of the newest event.
    ///
    /// It begins and ends by statements of its own, not by sqlx's transactions, which count wrong once SQLite has
    /// rolled one back by itself (disk full).
    ///
    /// # Errors
    /// [`StoreError::Sql`]; the same batch may be committed again.
    pub(crate) async fn commit(&mut self, batch: &Batch) -> Result<Option<i64>, StoreError> {
        if self.connection.execute("BEGIN IMMEDIATE").await.is_err() {
            // One whose end failed may still be open.
            self.roll_back().await;
            let begun = self.connection.execute("BEGIN IMMEDIATE").await;
            begun.map_err(|source| sql(&self.path, source))?;
        }
        let written = match batch.write(&mut self.connection).await {
            Ok(newest) => self.connection.execute("COMMIT").await.map(|_| newest),
            Err(error) => Err(error),
        };
        if written.is_err() {
            self.roll_back().await;
        }
        written.map_err(|source| sql(&self.path, source))
    }

    async fn roll_back(&mut self) {
        if let Err(error) = self.connection.execute("ROLLBACK").await {
            tracing::debug!(%error, "nothing to roll back");
        }
    }

    /// Closes the file in an orderly way.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub(crate) async fn close(self) -> Result<(), StoreError> {
        let path = self.path;
        let closed = self.connection.close().await;
        closed.map_err(|source| sql(&path, source))
    }
}

/// An error with its file; a damaged file is told apart.
fn sql(path: &Path, source: sqlx::Error) -> StoreError {
    let path = path.to_owned();
    match damage(&source) {
        Some(what) => StoreError::Damaged { path, what },
        None => StoreError::Sql { path, source },
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

/// Its name in the state directory.
pub(crate) const FILE: &str = "events.sqlite";

#[cfg(test)]
mod tests;
