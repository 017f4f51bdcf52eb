//! For commands: what there is, and sending one again.

use serde::Serialize;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::{Queue, unsigned};
use crate::dispatch::sender::webhook_id;

/// A delivery as it is shown. It has neither URL nor secret nor the event's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Listed {
    pub(crate) id: i64,
    pub(crate) trigger: String,
    pub(crate) webhook_id: String,
    pub(crate) event: String,
    pub(crate) state: String,
    pub(crate) attempts: u64,
    pub(crate) truncated: u64,
    pub(crate) created: Option<String>,
    /// When it is tried next.
    pub(crate) due: Option<String>,
    /// When it arrived or was given up.
    pub(crate) done: Option<String>,
    pub(crate) status: Option<u64>,
    pub(crate) error: Option<String>,
}

impl Queue {
    /// Deliveries behind `after` that wait or were given up, or only the latter, in order of id, at most `limit`.
    pub(crate) async fn list(
        &mut self,
        dead: bool,
        after: i64,
        limit: u32,
    ) -> sqlx::Result<Vec<Listed>> {
        let rows = sqlx::query(
            "SELECT * FROM deliveries WHERE id > ? AND (state = 'dead' OR (state = 'waiting' AND NOT ?)) \
             ORDER BY id LIMIT ?",
        )
        .bind(after)
        .bind(dead)
        .bind(limit)
        .fetch_all(&mut self.connection)
        .await?;
        rows.iter().map(listed).collect()
    }

    /// Puts a delivery that is done at the end of its trigger's queue, to be sent at once; `false` when there is no
    /// such one. One that waits is tried at once.
    pub(crate) async fn replay(&mut self, id: i64, now_ms: i64) -> sqlx::Result<bool> {
        let mut found = false;
        let seen = &mut found;
        self.write(async move |to| {
            let done = sqlx::query(
                "UPDATE deliveries SET place = CASE state WHEN 'waiting' THEN place \
                 ELSE (SELECT max(place) + 1 FROM deliveries) END, state = 'waiting', attempts = 0, rejected = 0, \
                 replayed = 1, due_ms = min(?1, due_ms), done_ms = NULL WHERE id = ?2",
            )
            .bind(now_ms)
            .bind(id)
            .execute(to)
            .await?;
            *seen = done.rows_affected() == 1;
            Ok(())
        })
        .await?;
        Ok(found)
    }
}

fn listed(row: &SqliteRow) -> sqlx::Result<Listed> {
    let time = |ms: Option<i64>| {
        jiff::Timestamp::from_millisecond(ms?)
            .ok()
            .map(|time| time.to_string())
    };
    let state: String = row.try_get("state")?;
    let (trigger, event): (String, String) = (row.try_get("trigger")?, row.try_get("event_id")?);
    let due: i64 = row.try_get("due_ms")?;
    Ok(Listed {
        id: row.try_get("id")?,
        webhook_id: webhook_id(&event, &trigger),
        trigger,
        event,
        attempts: unsigned(row.try_get("attempts")?),
        truncated: unsigned(row.try_get("truncated")?),
        created: time(Some(row.try_get("created_ms")?)),
        due: time((state == "waiting").then_some(due)),
        done: time(row.try_get("done_ms")?),
        status: row.try_get::<Option<i64>, _>("status")?.map(unsigned),
        error: row.try_get("error")?,
        state,
    })
}
