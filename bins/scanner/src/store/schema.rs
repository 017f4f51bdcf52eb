//! The tables, and the check before anything of them is believed.

use std::path::Path;

use sqlx::{Executor as _, SqliteConnection};

use super::{StoreError, sql};

/// Looks at the file and makes its tables.
pub(super) async fn prepare(
    connection: &mut SqliteConnection,
    path: &Path,
) -> Result<(), StoreError> {
    let failed = |source| sql(path, source);
    let found: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    if found == 0 && tables == 0 {
        connection.execute(TABLES).await.map_err(failed)?;
        return Ok(());
    }
    if found != SCHEMA {
        return Err(StoreError::Version {
            path: path.to_owned(),
            found,
            known: SCHEMA,
        });
    }
    let large = std::fs::metadata(path).is_ok_and(|meta| meta.len() > CHECKED_BYTES);
    if large {
        return Ok(());
    }
    let what: String = sqlx::query_scalar("PRAGMA quick_check(1)")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    if what == "ok" {
        return Ok(());
    }
    Err(StoreError::Damaged {
        path: path.to_owned(),
        what,
    })
}

/// A file up to this size is looked at page by page; larger ones would make the start slow, and what is damaged in
/// them is found when it is read.
const CHECKED_BYTES: u64 = 64 << 20;

/// Version of the tables, kept in `user_version`.
const SCHEMA: i64 = 1;

const TABLES: &str = "
BEGIN;
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, at_ms INTEGER NOT NULL, ts TEXT NOT NULL,
    severity TEXT NOT NULL, source TEXT NOT NULL, rule TEXT NOT NULL, workload TEXT NOT NULL, message TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX events_at ON events (at_ms);
CREATE TABLE places (
    worker TEXT NOT NULL, stream TEXT NOT NULL, epoch TEXT NOT NULL, ordinal INTEGER NOT NULL, offset INTEGER NOT NULL,
    within INTEGER NOT NULL, PRIMARY KEY (worker, stream, epoch)
) WITHOUT ROWID;
CREATE TABLE streams (
    worker TEXT NOT NULL, stream TEXT NOT NULL, ordinal INTEGER NOT NULL, epoch TEXT NOT NULL,
    PRIMARY KEY (worker, stream)
) WITHOUT ROWID;
CREATE TABLE engine (key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE meta (name TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 1;
COMMIT;";
