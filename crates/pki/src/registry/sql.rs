//! The statements of the registry.

use std::time::{Duration, SystemTime};

use sqlx::{Connection, SqliteConnection};

use crate::name::WorkerName;
use crate::peer::Peer;

/// Layout of the file, in SQLite's `user_version`.
pub(super) const VERSION: i64 = 1;

pub(super) async fn migrate(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    let mut change = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query(
        "CREATE TABLE IF NOT EXISTS certificates ( \
           fingerprint TEXT NOT NULL PRIMARY KEY, \
           worker      TEXT NOT NULL, \
           serial      TEXT NOT NULL, \
           enrolled_at INTEGER NOT NULL, \
           not_after   INTEGER NOT NULL, \
           revoked_at  INTEGER \
         ) STRICT",
    )
    .execute(&mut *change)
    .await?;
    sqlx::query("CREATE INDEX IF NOT EXISTS certificates_of ON certificates (worker)")
        .execute(&mut *change)
        .await?;
    sqlx::query("PRAGMA user_version = 1")
        .execute(&mut *change)
        .await?;
    change.commit().await
}

/// `None`: never enrolled. `Some(revoked)`: enrolled, and whether nothing of it is active.
pub(super) async fn standing_of(
    connection: &mut SqliteConnection,
    name: &WorkerName,
) -> sqlx::Result<Option<bool>> {
    let (all, active): (i64, i64) =
        sqlx::query_as("SELECT count(*), count(*) FILTER (WHERE revoked_at IS NULL) FROM certificates WHERE worker = ?")
            .bind(name.as_str())
            .fetch_one(connection)
            .await?;
    Ok((all > 0).then_some(active == 0))
}

pub(super) async fn revoke_all(
    connection: &mut SqliteConnection,
    name: &str,
    now: SystemTime,
) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "UPDATE certificates SET revoked_at = ? WHERE worker = ? AND revoked_at IS NULL",
    )
    .bind(seconds(now))
    .bind(name)
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

pub(super) async fn insert(
    connection: &mut SqliteConnection,
    peer: &Peer,
    now: SystemTime,
) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "INSERT INTO certificates (fingerprint, worker, serial, enrolled_at, not_after) VALUES (?, ?, ?, ?, ?) \
         ON CONFLICT (fingerprint) DO NOTHING",
    )
    .bind(peer.fingerprint.to_string())
    .bind(peer.name.as_str())
    .bind(&peer.serial)
    .bind(seconds(now))
    .bind(seconds(peer.not_after))
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

fn seconds(time: SystemTime) -> i64 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

pub(super) fn from_seconds(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
