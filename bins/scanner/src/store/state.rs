//! What a start reads back: places, the newest epochs, the state of decisions.

use rules::StateRow;
use sqlx::Row as _;

use super::{Place, PlaceKey, Store, StoreError, Watermark, sql};

impl Store {
    /// Where epochs are read to.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub(crate) async fn places(&mut self) -> Result<Vec<(PlaceKey, Place)>, StoreError> {
        let rows = sqlx::query("SELECT * FROM places ORDER BY worker, stream, ordinal")
            .fetch_all(&mut self.connection)
            .await
            .map_err(|source| sql(&self.path, source))?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
            let key = PlaceKey {
                worker: row.try_get("worker")?,
                stream: row.try_get("stream")?,
                epoch: row.try_get("epoch")?,
            };
            let offset: i64 = row.try_get("offset")?;
            let place = Place {
                ordinal: row.try_get("ordinal")?,
                offset: offset.unsigned_abs(),
                within: row.try_get("within")?,
            };
            Ok((key, place))
        };
        let rows: sqlx::Result<Vec<_>> = rows.iter().map(read).collect();
        rows.map_err(|source| sql(&self.path, source))
    }

    /// The newest known epoch of each stream.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub(crate) async fn watermarks(
        &mut self,
    ) -> Result<Vec<((String, String), Watermark)>, StoreError> {
        let rows: sqlx::Result<Vec<(String, String, i64, String)>> =
            sqlx::query_as("SELECT worker, stream, ordinal, epoch FROM streams")
                .fetch_all(&mut self.connection)
                .await;
        let rows = rows.map_err(|source| sql(&self.path, source))?;
        let mark =
            |(worker, stream, ordinal, epoch)| ((worker, stream), Watermark { ordinal, epoch });
        Ok(rows.into_iter().map(mark).collect())
    }

    /// The state of decisions.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub(crate) async fn engine(&mut self) -> Result<Vec<StateRow>, StoreError> {
        let rows: sqlx::Result<Vec<(Vec<u8>, Vec<u8>)>> =
            sqlx::query_as("SELECT key, value FROM engine")
                .fetch_all(&mut self.connection)
                .await;
        let rows = rows.map_err(|source| sql(&self.path, source))?;
        let row = |(key, value)| StateRow {
            key,
            value: Some(value),
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// Removes events that are over a limit, oldest first, at most [`REMOVED_AT_ONCE`]; gives how many, and how many
    /// of these were still needed.
    ///
    /// Those with a number over `needed` stay, unless there are twice as many as are kept.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub(crate) async fn retain(
        &mut self,
        before_ms: i64,
        most: i64,
        needed: i64,
    ) -> Result<(u64, u64), StoreError> {
        let last: sqlx::Result<Option<i64>> = sqlx::query_scalar("SELECT max(seq) FROM events")
            .fetch_one(&mut self.connection)
            .await;
        let Some(last) = last.map_err(|source| sql(&self.path, source))? else {
            return Ok((0, 0));
        };
        let hard = last.saturating_sub(most.saturating_mul(2));
        let removed: sqlx::Result<Vec<i64>> = sqlx::query_scalar(
            "DELETE FROM events WHERE seq IN (SELECT seq FROM events \
             WHERE (seq <= ?1 AND (seq <= ?2 OR at_ms < ?3)) OR seq <= ?4 ORDER BY seq LIMIT ?5) RETURNING seq",
        )
        .bind(needed)
        .bind(last.saturating_sub(most))
        .bind(before_ms)
        .bind(hard)
        .bind(REMOVED_AT_ONCE)
        .fetch_all(&mut self.connection)
        .await;
        let removed = removed.map_err(|source| sql(&self.path, source))?;
        if !removed.is_empty() {
            let freed = sqlx::query("PRAGMA incremental_vacuum(256)").execute(&mut self.connection);
            freed.await.map_err(|source| sql(&self.path, source))?;
        }
        let unread = removed.iter().filter(|seq| **seq > needed).count();
        Ok((removed.len() as u64, unread as u64))
    }
}

/// Events that are removed in one transaction: some milliseconds.
pub(crate) const REMOVED_AT_ONCE: i64 = 2000;
