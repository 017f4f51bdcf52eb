//! Rows of epochs, pieces and ledgers.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::IndexError;
use crate::api::Print;
use crate::entry::{Entry, HexNode, LedgerMark, Mark};
use crate::name::{EpochId, Form, StreamKey};

/// Writes an epoch with what its window added to its pieces and segments.
pub(super) async fn put(to: &mut SqliteConnection, entry: &Entry) -> Result<(), IndexError> {
    let Entry { key, mark, .. } = entry;
    let number = |n: u64| i64::try_from(n).map_err(|_| IndexError::Value(key.to_string()));
    let epoch = entry.epoch.to_string();
    sqlx::query(
        "INSERT INTO epochs (worker, stream, epoch, ordinal, form, after, of, opened_ms, moved_ms, base, end, segment, \
         segment_ms, head_end, head_len, head, tail_end, tail_len, tail, in_line, sealed, rolled, told, live) \
         VALUES (?1, ?2, ?3, \
         1 + (SELECT coalesce(max(ordinal), 0) FROM epochs WHERE worker = ?1 AND stream = ?2), \
         ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23) \
         ON CONFLICT (worker, stream, epoch) DO UPDATE SET moved_ms = excluded.moved_ms, end = excluded.end, \
         segment = excluded.segment, segment_ms = excluded.segment_ms, \
         head_end = excluded.head_end, head_len = excluded.head_len, head = excluded.head, \
         tail_end = excluded.tail_end, tail_len = excluded.tail_len, tail = excluded.tail, \
         in_line = excluded.in_line, sealed = excluded.sealed, rolled = excluded.rolled, told = excluded.told, \
         live = excluded.live",
    )
    .bind(key.worker())
    .bind(key.stream())
    .bind(&epoch)
    .bind(entry.form.extension())
    .bind(entry.after.map(|id| id.to_string()))
    .bind(entry.of.map(|id| id.to_string()))
    .bind(entry.opened_ms)
    .bind(entry.moved_ms)
    .bind(number(entry.base)?)
    .bind(number(mark.end)?)
    .bind(mark.segment.map(|(base, _)| number(base)).transpose()?)
    .bind(mark.segment.map(|(_, ms)| ms))
    .bind(number(mark.head.end)?)
    .bind(mark.head.len)
    .bind(&mark.head.blake3[..])
    .bind(number(mark.tail.end)?)
    .bind(mark.tail.len)
    .bind(&mark.tail.blake3[..])
    .bind(mark.in_line)
    .bind(mark.sealed)
    .bind(mark.rolled.map(|id| id.to_string()))
    .bind(mark.told)
    .bind(entry.live)
    .execute(&mut *to)
    .await?;
    let (first, nodes) = &entry.pieces;
    let anew = *first == 0 && !nodes.is_empty();
    if anew || !entry.closed.is_empty() || mark.segment.is_none() {
        sqlx::query("DELETE FROM pieces WHERE worker = ? AND stream = ? AND epoch = ?")
            .bind(key.worker())
            .bind(key.stream())
            .bind(&epoch)
            .execute(&mut *to)
            .await?;
    }
    for closed in &entry.closed {
        sqlx::query(
            "INSERT INTO segments (worker, stream, epoch, form, base, len, hash, closed_ms, stored) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?6) ON CONFLICT (worker, stream, epoch, base) \
             DO UPDATE SET len = excluded.len, hash = excluded.hash, closed_ms = excluded.closed_ms",
        )
        .bind(key.worker())
        .bind(key.stream())
        .bind(&epoch)
        .bind(entry.form.extension())
        .bind(number(closed.base)?)
        .bind(number(closed.len)?)
        .bind(&closed.hash[..])
        .bind(closed.at_ms)
        .execute(&mut *to)
        .await?;
    }
    if nodes.is_empty() {
        return Ok(());
    }
    // One statement for all of a window: each costs a way to the database's thread and back.
    let all: Vec<u8> = nodes.iter().flat_map(|node| node.0).collect();
    sqlx::query(
        "WITH RECURSIVE n (i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?5) \
         INSERT OR REPLACE INTO pieces (worker, stream, epoch, number, node) \
         SELECT ?1, ?2, ?3, ?4 + i, substr(?6, 1 + 32 * i, 32) FROM n",
    )
    .bind(key.worker())
    .bind(key.stream())
    .bind(&epoch)
    .bind(number(*first as u64)?)
    .bind(number(nodes.len() as u64)?)
    .bind(all)
    .execute(&mut *to)
    .await?;
    Ok(())
}

/// Reads the pieces of an epoch's open segment: as many as follow each other from the first on.
pub(super) async fn read_pieces(
    from: &mut SqliteConnection,
    entry: &mut Entry,
) -> Result<(), IndexError> {
    let rows = sqlx::query(
        "SELECT number, node FROM pieces WHERE worker = ? AND stream = ? AND epoch = ? ORDER BY number",
    )
    .bind(entry.key.worker())
    .bind(entry.key.stream())
    .bind(entry.epoch.to_string())
    .fetch_all(from)
    .await?;
    for (n, row) in rows.iter().enumerate() {
        if usize::try_from(row.try_get::<i64, _>("number")?).ok() != Some(n) {
            break;
        }
        let node = hash(row, "node").ok_or_else(|| IndexError::Value(entry.key.to_string()))?;
        entry.pieces.1.push(HexNode(node));
    }
    Ok(())
}

pub(super) async fn put_ledger(
    to: &mut SqliteConnection,
    key: &StreamKey,
    mark: LedgerMark,
) -> Result<(), IndexError> {
    sqlx::query(
        "INSERT INTO ledgers (worker, stream, head, len) VALUES (?, ?, ?, ?) \
         ON CONFLICT (worker, stream) DO UPDATE SET head = excluded.head, len = excluded.len",
    )
    .bind(key.worker())
    .bind(key.stream())
    .bind(&mark.head[..])
    .bind(i64::try_from(mark.len).map_err(|_| IndexError::Value(key.to_string()))?)
    .execute(to)
    .await?;
    Ok(())
}

pub(super) fn read_ledger(row: &SqliteRow) -> Result<(StreamKey, LedgerMark), IndexError> {
    let key = key(row)?;
    let bad = || IndexError::Value(key.to_string());
    let mark = LedgerMark {
        head: hash(row, "head").ok_or_else(bad)?,
        len: number(row, "len")?.ok_or_else(bad)?,
    };
    Ok((key, mark))
}

pub(super) fn key(row: &SqliteRow) -> Result<StreamKey, IndexError> {
    Ok(StreamKey::new(
        row.try_get("worker")?,
        row.try_get("stream")?,
    )?)
}

pub(super) fn hash(row: &SqliteRow, name: &str) -> Option<[u8; 32]> {
    <[u8; 32]>::try_from(row.try_get::<&[u8], _>(name).ok()?).ok()
}

/// A number that is not below 0; `None` for NULL.
pub(super) fn number(row: &SqliteRow, name: &str) -> Result<Option<u64>, IndexError> {
    match row.try_get::<Option<i64>, _>(name)? {
        None => Ok(None),
        Some(n) => u64::try_from(n)
            .map(Some)
            .map_err(|_| IndexError::Value(name.to_owned())),
    }
}

fn id(row: &SqliteRow, name: &str) -> Result<Option<EpochId>, IndexError> {
    let text: Option<&str> = row.try_get(name)?;
    Ok(text.map(EpochId::parse).transpose()?)
}

/// Reads an epoch, without its pieces.
pub(super) fn read(row: &SqliteRow) -> Result<Entry, IndexError> {
    let key = key(row)?;
    let bad = || IndexError::Value(key.to_string());
    let whole = |name: &str| number(row, name)?.ok_or_else(bad);
    let print = |end: &str, len: &str, print: &str| {
        Ok::<_, IndexError>(Print {
            end: whole(end)?,
            len: u32::try_from(whole(len)?).map_err(|_| bad())?,
            blake3: hash(row, print).ok_or_else(bad)?,
        })
    };
    let segment_ms: Option<i64> = row.try_get("segment_ms")?;
    let mark = Mark {
        end: whole("end")?,
        segment: number(row, "segment")?.zip(segment_ms),
        head: print("head_end", "head_len", "head")?,
        tail: print("tail_end", "tail_len", "tail")?,
        in_line: row.try_get("in_line")?,
        sealed: row.try_get("sealed")?,
        rolled: id(row, "rolled")?,
        told: row.try_get("told")?,
    };
    Ok(Entry {
        epoch: EpochId::parse(row.try_get("epoch")?)?,
        form: Form::of(row.try_get("form")?).ok_or_else(bad)?,
        after: id(row, "after")?,
        of: id(row, "of")?,
        opened_ms: row.try_get("opened_ms")?,
        moved_ms: row.try_get("moved_ms")?,
        base: whole("base")?,
        live: row.try_get("live")?,
        pieces: (0, Vec::new()),
        closed: Vec::new(),
        mark,
        key,
    })
}
