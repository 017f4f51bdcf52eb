//! `deliveries.sqlite`: webhooks that wait, those that arrived or were given up lately, what is known of each trigger,
//! and how far events were read. What belongs together is written together.
//!
//! It has no way to the events: the dispatcher reads those by an [`EventReader`](crate::store::EventReader).

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use sqlx::sqlite::SqliteRow;
use sqlx::{ConnectOptions as _, Executor as _, Row as _, SqliteConnection};

use super::flood::Open;
use crate::store::file;

mod admit;
mod finish;
mod list;

pub(crate) use admit::Entry;
pub(crate) use finish::{Attempt, Verdict};
pub(crate) use list::Listed;

/// The connection.
#[derive(Debug)]
pub(crate) struct Queue {
    path: PathBuf,
    connection: SqliteConnection,
}

/// A webhook that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) id: i64,
    /// The event's id.
    pub(crate) event: String,
    /// The event.
    pub(crate) body: String,
    pub(crate) truncated: u64,
    pub(crate) attempts: u32,
    /// Attempts that the receiver refused.
    pub(crate) rejected: u32,
    pub(crate) due_ms: i64,
    /// Whether an operator asked for it again.
    pub(crate) replayed: bool,
}

/// What is known of a trigger.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Health {
    /// A mark of the URL that all of this is about.
    pub(crate) url_mark: i64,
    /// When the first of the failures was that nothing arrived since.
    pub(crate) failing_since_ms: Option<i64>,
    pub(crate) failures: u32,
    pub(crate) last_ms: Option<i64>,
    pub(crate) last_status: Option<u16>,
    pub(crate) last_error: Option<String>,
    /// Why nothing is sent to it any more.
    pub(crate) disabled: Option<String>,
}

/// A queue that was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) queue: Queue,
    /// The last event that was read; `None` on a first start.
    pub(crate) cursor: Option<i64>,
}

impl Queue {
    /// Opens the file in the state directory, made with its tables if it is not there.
    ///
    /// # Errors
    /// It is damaged, another version's, or cannot be used.
    pub(crate) async fn open(state: &Path) -> anyhow::Result<Opened> {
        let path = state.join(FILE);
        let connection = file::written(&path)
            .connect()
            .await
            .with_context(|| format!("open {}", path.display()))?;
        let mut queue = Self { path, connection };
        let path = queue.path.display().to_string();
        queue
            .prepare()
            .await
            .with_context(|| format!("open {path}"))?;
        let cursor = sqlx::query_scalar("SELECT cursor FROM dispatch")
            .fetch_optional(&mut queue.connection)
            .await?;
        Ok(Opened { queue, cursor })
    }

    /// Opens the file to look only; `None` when there is none yet.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) async fn peek(state: &Path) -> anyhow::Result<Option<Self>> {
        let path = state.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let connection = file::looked_at(&path)
            .connect()
            .await
            .with_context(|| format!("open {}", path.display()))?;
        let mut queue = Self { path, connection };
        match queue.schema().await? {
            VERSION => Ok(Some(queue)),
            // It is being made.
            0 => Ok(None),
            found => bail!(
                "{} has schema version {found}, this program knows {VERSION}",
                queue.path.display()
            ),
        }
    }

    async fn prepare(&mut self) -> anyhow::Result<()> {
        let sound: String = sqlx::query_scalar("PRAGMA quick_check(1)")
            .fetch_one(&mut self.connection)
            .await?;
        if sound != "ok" {
            bail!("it is damaged: {sound}");
        }
        match self.schema().await? {
            VERSION => Ok(()),
            0 => self
                .write(async |to| create(to).await)
                .await
                .map_err(Into::into),
            found => bail!("it has schema version {found}, this program knows {VERSION}"),
        }
    }

    async fn schema(&mut self) -> sqlx::Result<i64> {
        sqlx::query_scalar("PRAGMA user_version")
            .fetch_one(&mut self.connection)
            .await
    }

    /// Sets how far events were read, when that is not known or known to be wrong.
    pub(crate) async fn begin_at(&mut self, cursor: i64) -> sqlx::Result<()> {
        self.write(async |to| move_cursor(to, cursor).await).await
    }

    /// How many wait for each trigger.
    pub(crate) async fn counts(&mut self) -> sqlx::Result<Vec<(String, u64)>> {
        let rows = sqlx::query(
            "SELECT trigger, count(*) FROM deliveries WHERE state = 'waiting' GROUP BY trigger",
        )
        .fetch_all(&mut self.connection)
        .await?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, unsigned(row.try_get(1)?))))
            .collect()
    }

    /// The one whose turn it is.
    pub(crate) async fn head(&mut self, trigger: &str) -> sqlx::Result<Option<Waiting>> {
        let row = sqlx::query(
            "SELECT * FROM deliveries WHERE trigger = ? AND state = 'waiting' ORDER BY place LIMIT 1",
        )
        .bind(trigger)
        .fetch_optional(&mut self.connection)
        .await?;
        row.as_ref().map(waiting).transpose()
    }

    /// The one that still takes further events in.
    pub(crate) async fn open_of(&mut self, trigger: &str) -> sqlx::Result<Option<Open>> {
        let row = sqlx::query(
            "SELECT event_id, due_ms FROM deliveries WHERE trigger = ? AND state = 'waiting' \
             AND attempts = 0 AND due_ms > created_ms ORDER BY place DESC LIMIT 1",
        )
        .bind(trigger)
        .fetch_optional(&mut self.connection)
        .await?;
        row.map(|row| {
            Ok(Open {
                event: row.try_get(0)?,
                until_ms: row.try_get(1)?,
            })
        })
        .transpose()
    }

    /// A number that changes when another connection wrote: an operator's replay.
    pub(crate) async fn version(&mut self) -> sqlx::Result<i64> {
        sqlx::query_scalar("PRAGMA data_version")
            .fetch_one(&mut self.connection)
            .await
    }

    /// One transaction, by statements of its own: sqlx's count wrong once SQLite has rolled one back by itself (disk
    /// full).
    async fn write(
        &mut self,
        fill: impl AsyncFnOnce(&mut SqliteConnection) -> sqlx::Result<()>,
    ) -> sqlx::Result<()> {
        let connection = &mut self.connection;
        if connection.execute("BEGIN IMMEDIATE").await.is_err() {
            // One whose end failed may still be open.
            roll_back(connection).await;
            connection.execute("BEGIN IMMEDIATE").await?;
        }
        let written = match fill(connection).await {
            Ok(()) => connection.execute("COMMIT").await.map(drop),
            Err(error) => Err(error),
        };
        if written.is_err() {
            roll_back(connection).await;
        }
        written
    }
}

async fn roll_back(connection: &mut SqliteConnection) {
    if let Err(error) = connection.execute("ROLLBACK").await {
        tracing::debug!(%error, "nothing to roll back");
    }
}

async fn create(to: &mut SqliteConnection) -> sqlx::Result<()> {
    for statement in SCHEMA {
        to.execute(*statement).await?;
    }
    Ok(())
}

async fn move_cursor(to: &mut SqliteConnection, cursor: i64) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO dispatch (one, cursor) VALUES (1, ?) \
         ON CONFLICT (one) DO UPDATE SET cursor = excluded.cursor",
    )
    .bind(cursor)
    .execute(to)
    .await
    .map(drop)
}

fn waiting(row: &SqliteRow) -> sqlx::Result<Waiting> {
    Ok(Waiting {
        id: row.try_get("id")?,
        event: row.try_get("event_id")?,
        body: row.try_get("body")?,
        truncated: unsigned(row.try_get("truncated")?),
        attempts: row.try_get("attempts")?,
        rejected: row.try_get("rejected")?,
        due_ms: row.try_get("due_ms")?,
        replayed: row.try_get("replayed")?,
    })
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Its name in the state directory.
pub(crate) const FILE: &str = "deliveries.sqlite";

const VERSION: i64 = 1;

/// `place` is the order of a trigger's webhooks; a replay goes to the end. `state`: waiting, delivered, dead.
const SCHEMA: &[&str] = &[
    "CREATE TABLE dispatch (one INTEGER PRIMARY KEY CHECK (one = 1), cursor INTEGER NOT NULL)",
    "CREATE TABLE deliveries (\
       id INTEGER PRIMARY KEY AUTOINCREMENT, trigger TEXT NOT NULL, event_id TEXT NOT NULL, body TEXT NOT NULL, \
       truncated INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL DEFAULT 'waiting', place INTEGER NOT NULL, \
       attempts INTEGER NOT NULL DEFAULT 0, rejected INTEGER NOT NULL DEFAULT 0, \
       replayed INTEGER NOT NULL DEFAULT 0, created_ms INTEGER NOT NULL, due_ms INTEGER NOT NULL, \
       done_ms INTEGER, status INTEGER, error TEXT, UNIQUE (trigger, event_id))",
    "CREATE INDEX deliveries_turn ON deliveries (trigger, state, place)",
    "CREATE INDEX deliveries_place ON deliveries (place)",
    "CREATE INDEX deliveries_done ON deliveries (state, done_ms)",
    "CREATE TABLE triggers (\
       name TEXT PRIMARY KEY NOT NULL, url_mark INTEGER NOT NULL, failing_since_ms INTEGER, \
       failures INTEGER NOT NULL, last_ms INTEGER, last_status INTEGER, last_error TEXT, disabled TEXT\
     ) WITHOUT ROWID",
    "PRAGMA user_version = 1",
];

#[cfg(test)]
mod tests;
