//! What a process beside the archive's owner asks: which epochs there are, and how far they are committed.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::rows::{self, number};
use super::{Index, IndexError};
use crate::name::StreamKey;
use crate::view::EpochView;

impl Index {
    /// A number that changes with every transaction of another connection.
    pub(crate) async fn data_version(&mut self) -> Result<i64, IndexError> {
        Ok(sqlx::query_scalar("PRAGMA data_version")
            .fetch_one(&mut self.connection)
            .await?)
    }

    /// Epochs that may grow and were moved at a time or later; with `None` all that may grow.
    pub(crate) async fn moved(
        &mut self,
        since_ms: Option<i64>,
    ) -> Result<Vec<EpochView>, IndexError> {
        let rows = sqlx::query(
            "SELECT worker, stream, epoch, ordinal, form, base, end, sealed, rolled FROM epochs \
             WHERE sealed = 0 AND moved_ms >= ?",
        )
        .bind(since_ms.unwrap_or(i64::MIN))
        .fetch_all(&mut self.connection)
        .await?;
        rows.iter().map(read).collect()
    }

    /// The epochs of a stream with an ordinal over `ordinal`, in order, at most so many.
    pub(crate) async fn behind(
        &mut self,
        key: &StreamKey,
        ordinal: i64,
        most: u32,
    ) -> Result<Vec<EpochView>, IndexError> {
        let rows = sqlx::query(
            "SELECT worker, stream, epoch, ordinal, form, base, end, sealed, rolled FROM epochs \
             WHERE worker = ? AND stream = ? AND ordinal > ? ORDER BY ordinal LIMIT ?",
        )
        .bind(key.worker())
        .bind(key.stream())
        .bind(ordinal)
        .bind(most)
        .fetch_all(&mut self.connection)
        .await?;
        rows.iter().map(read).collect()
    }

    /// One epoch.
    pub(crate) async fn view(
        &mut self,
        key: &StreamKey,
        epoch: crate::EpochId,
    ) -> Result<Option<EpochView>, IndexError> {
        let row = sqlx::query(
            "SELECT worker, stream, epoch, ordinal, form, base, end, sealed, rolled FROM epochs \
             WHERE worker = ? AND stream = ? AND epoch = ?",
        )
        .bind(key.worker())
        .bind(key.stream())
        .bind(epoch.to_string())
        .fetch_optional(&mut self.connection)
        .await?;
        row.as_ref().map(read).transpose()
    }
}

fn read(row: &SqliteRow) -> Result<EpochView, IndexError> {
    let key = rows::key(row)?;
    let bad = || IndexError::Value(key.to_string());
    let whole = |name: &str| number(row, name)?.ok_or_else(bad);
    Ok(EpochView {
        epoch: crate::EpochId::parse(row.try_get("epoch")?)?,
        ordinal: row.try_get("ordinal")?,
        form: crate::Form::of(row.try_get("form")?).ok_or_else(bad)?,
        base: whole("base")?,
        end: whole("end")?,
        sealed: row.try_get("sealed")?,
        rolled: row.try_get::<Option<&str>, _>("rolled")?.is_some(),
        key,
    })
}
