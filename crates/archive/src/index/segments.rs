//! Rows of closed segments: what retention and compression choose from.

use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, Row as _};

use super::rows::{hash, key, number};
use super::{Index, IndexError};
use crate::entry::LedgerMark;
use crate::name::{EpochId, Form, StreamKey};

/// A closed segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentRow {
    /// In the order of closing.
    pub(crate) number: i64,
    pub(crate) key: StreamKey,
    pub(crate) epoch: EpochId,
    pub(crate) form: Form,
    pub(crate) base: u64,
    pub(crate) len: u64,
    pub(crate) hash: [u8; 32],
    pub(crate) closed_ms: i64,
    /// Bytes on the disk.
    pub(crate) stored: u64,
}

/// What compression has done with a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    /// It is compressed.
    Done = 1,
    /// It is not what was closed, and stays as it is.
    LeftAlone = 2,
}

impl Index {
    /// Bytes of closed segments on the disk, by worker.
    pub(crate) async fn stored(&mut self) -> Result<Vec<(String, u64)>, IndexError> {
        let rows =
            sqlx::query("SELECT worker, sum(stored) AS stored FROM segments GROUP BY worker")
                .fetch_all(&mut self.connection)
                .await?;
        let read = |row: &SqliteRow| {
            Ok((
                row.try_get("worker")?,
                number(row, "stored")?.unwrap_or_default(),
            ))
        };
        rows.iter().map(read).collect()
    }

    /// A worker's segments, those first that were closed first.
    pub(crate) async fn oldest(
        &mut self,
        worker: &str,
        most: u32,
    ) -> Result<Vec<SegmentRow>, IndexError> {
        let rows = sqlx::query("SELECT * FROM segments WHERE worker = ? ORDER BY number LIMIT ?")
            .bind(worker)
            .bind(most)
            .fetch_all(&mut self.connection)
            .await?;
        rows.iter().map(read).collect()
    }

    /// Segments that were closed before a time, the oldest first.
    pub(crate) async fn aged(
        &mut self,
        before_ms: i64,
        most: u32,
    ) -> Result<Vec<SegmentRow>, IndexError> {
        let rows = sqlx::query(
            "SELECT * FROM segments WHERE closed_ms < ? ORDER BY closed_ms, number LIMIT ?",
        )
        .bind(before_ms)
        .bind(most)
        .fetch_all(&mut self.connection)
        .await?;
        rows.iter().map(read).collect()
    }

    /// The oldest segment that is neither compressed nor left alone.
    pub(crate) async fn plain(&mut self) -> Result<Option<SegmentRow>, IndexError> {
        let row = sqlx::query("SELECT * FROM segments WHERE state = 0 ORDER BY number LIMIT 1")
            .fetch_optional(&mut self.connection)
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// Notes what compression did with a segment, and what it takes on the disk now.
    pub(crate) async fn packed(
        &mut self,
        number: i64,
        stored: u64,
        packing: Packing,
    ) -> Result<(), IndexError> {
        sqlx::query("UPDATE segments SET stored = ?, state = ? WHERE number = ?")
            .bind(i64::try_from(stored).map_err(|_| IndexError::Value("stored".to_owned()))?)
            .bind(packing as i64)
            .bind(number)
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    /// Notes that a segment was found compressed.
    pub(crate) async fn found_packed(
        &mut self,
        key: &StreamKey,
        epoch: EpochId,
        base: u64,
        stored: u64,
    ) -> Result<(), IndexError> {
        let number = |n: u64| i64::try_from(n).map_err(|_| IndexError::Value(key.to_string()));
        sqlx::query(
            "UPDATE segments SET stored = ?, state = 1 WHERE worker = ? AND stream = ? AND epoch = ? AND base = ?",
        )
        .bind(number(stored)?)
        .bind(key.worker())
        .bind(key.stream())
        .bind(epoch.to_string())
        .bind(number(base)?)
        .execute(&mut self.connection)
        .await?;
        Ok(())
    }

    /// Forgets segments that were removed, and moves the ledgers that tell of it.
    pub(crate) async fn forget(
        &mut self,
        numbers: &[i64],
        ledgers: &[(StreamKey, LedgerMark)],
    ) -> Result<(), IndexError> {
        self.mend().await?;
        self.broken = true;
        let mut transaction = self.connection.begin().await?;
        for number in numbers {
            sqlx::query("DELETE FROM segments WHERE number = ?")
                .bind(number)
                .execute(&mut *transaction)
                .await?;
        }
        for (key, mark) in ledgers {
            super::rows::put_ledger(&mut transaction, key, *mark).await?;
        }
        transaction.commit().await?;
        self.broken = false;
        Ok(())
    }
}

fn read(row: &SqliteRow) -> Result<SegmentRow, IndexError> {
    let key = key(row)?;
    let bad = || IndexError::Value(key.to_string());
    let whole = |name: &str| number(row, name)?.ok_or_else(bad);
    Ok(SegmentRow {
        number: row.try_get("number")?,
        epoch: EpochId::parse(row.try_get("epoch")?)?,
        form: Form::of(row.try_get("form")?).ok_or_else(bad)?,
        base: whole("base")?,
        len: whole("len")?,
        hash: hash(row, "hash").ok_or_else(bad)?,
        closed_ms: row.try_get("closed_ms")?,
        stored: whole("stored")?,
        key,
    })
}
