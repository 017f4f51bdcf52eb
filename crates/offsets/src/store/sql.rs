//! The statements: schema, checks, and the one transaction that writes.

use std::collections::BTreeMap;
use std::path::Path;

use sqlx::{AssertSqlSafe, Connection, Executor, Row, SqliteConnection};

use super::{StoreError, opening};

pub(super) async fn check(
    connection: &mut SqliteConnection,
    path: &Path,
) -> Result<(), StoreError> {
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

pub(super) async fn migrate(
    connection: &mut SqliteConnection,
    path: &Path,
) -> Result<(), StoreError> {
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
///
/// It begins and ends by statements of its own. sqlx counts transactions, and counts wrong once SQLite
/// has rolled one back by itself (disk full): its next one is a savepoint, and when that fails as well,
/// those after it "commit" inside a transaction that never ends.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    changes: &BTreeMap<String, Option<Vec<u8>>>,
    batches: &BTreeMap<String, u64>,
) -> Result<(), sqlx::Error> {
    if begin(connection).await.is_err() {
        // One whose future was dropped, or whose end failed, may still be open.
        roll_back(connection).await;
        begin(connection).await?;
    }
    let written = match fill(connection, changes, batches).await {
        Ok(()) => connection.execute("COMMIT").await.map(drop),
        Err(error) => Err(error),
    };
    if written.is_err() {
        roll_back(connection).await;
    }
    written
}

async fn begin(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    connection.execute("BEGIN IMMEDIATE").await.map(drop)
}

/// Ends a failed transaction, unless SQLite has done so by itself, which is an error.
async fn roll_back(connection: &mut SqliteConnection) {
    if let Err(error) = connection.execute("ROLLBACK").await {
        tracing::debug!(%error, "nothing to roll back");
    }
}

async fn fill(
    connection: &mut SqliteConnection,
    changes: &BTreeMap<String, Option<Vec<u8>>>,
    batches: &BTreeMap<String, u64>,
) -> Result<(), sqlx::Error> {
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
        query.execute(&mut *connection).await?;
    }
    for (key, _) in changes.iter().filter(|(_, value)| value.is_none()) {
        sqlx::query("DELETE FROM checkpoint WHERE key = ?")
            .bind(key.as_str())
            .execute(&mut *connection)
            .await?;
    }
    for (place, batch) in batches {
        sqlx::query("INSERT INTO appender VALUES (?,?) ON CONFLICT (place) DO UPDATE SET batch = excluded.batch")
            .bind(place.as_str())
            .bind(i64::try_from(*batch).unwrap_or(i64::MAX))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

const SCHEMA_VERSION: i64 = 1;

const SCHEMA: &[&str] = &[
    "CREATE TABLE checkpoint (key TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE appender (place TEXT PRIMARY KEY NOT NULL, batch INTEGER NOT NULL) WITHOUT ROWID",
    "PRAGMA user_version = 1",
];

/// Upserts per statement: two parameters a row, far below SQLite's 32,766.
const ROWS_PER_STATEMENT: usize = 128;
