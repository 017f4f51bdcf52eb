//! What attempts lead to: deliveries that are done or wait on, and the health of triggers.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::{Health, Queue, unsigned};

/// What becomes of a webhook after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Delivered,
    /// It waits until then.
    Again(i64),
    Dead,
}

/// An attempt that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) id: i64,
    pub(crate) at_ms: i64,
    pub(crate) rejected: bool,
    pub(crate) verdict: Verdict,
    pub(crate) status: Option<u16>,
    pub(crate) error: Option<String>,
}

impl Queue {
    /// What is known of a trigger.
    pub(crate) async fn health(&mut self, trigger: &str) -> sqlx::Result<Option<Health>> {
        let row = sqlx::query("SELECT * FROM triggers WHERE name = ?")
            .bind(trigger)
            .fetch_optional(&mut self.connection)
            .await?;
        row.as_ref().map(health).transpose()
    }

    /// Writes what is known of a trigger.
    pub(crate) async fn set_health(&mut self, trigger: &str, health: &Health) -> sqlx::Result<()> {
        self.write(async |to| put(to, trigger, health).await).await
    }

    /// Writes an attempt down, with what is now known of its trigger. A trigger that is disabled by it has nothing
    /// waiting any more; gives how many were given up for that.
    pub(crate) async fn finish(
        &mut self,
        trigger: &str,
        attempt: &Attempt,
        health: &Health,
    ) -> sqlx::Result<u64> {
        let mut given_up = 0;
        let count = &mut given_up;
        self.write(async move |to| {
            record(to, attempt).await?;
            put(to, trigger, health).await?;
            if let Some(reason) = &health.disabled {
                *count = give_up(to, trigger, reason, attempt.at_ms).await?;
            }
            Ok(())
        })
        .await?;
        Ok(given_up)
    }

    /// Gives up what waits since before `before_ms` for a trigger that is not in `known`.
    pub(crate) async fn abandon(
        &mut self,
        known: &[String],
        before_ms: i64,
        now_ms: i64,
    ) -> sqlx::Result<u64> {
        let mut count = 0;
        for (trigger, _) in self.counts().await? {
            if known.contains(&trigger) {
                continue;
            }
            let done = sqlx::query(
                "UPDATE deliveries SET state = 'dead', done_ms = ?, error = 'there is no such trigger' \
                 WHERE trigger = ? AND state = 'waiting' AND created_ms < ?",
            )
            .bind(now_ms)
            .bind(&trigger)
            .bind(before_ms)
            .execute(&mut self.connection)
            .await?;
            count += done.rows_affected();
        }
        Ok(count)
    }

    /// Forgets what is done: older ones than given, and the oldest beyond [`MAX_DONE`] of each state.
    pub(crate) async fn prune(
        &mut self,
        delivered_before_ms: i64,
        dead_before_ms: i64,
    ) -> sqlx::Result<u64> {
        let mut count = 0;
        for (state, before) in [("delivered", delivered_before_ms), ("dead", dead_before_ms)] {
            let done = sqlx::query(
                "DELETE FROM deliveries WHERE state = ?1 AND (done_ms < ?2 OR id IN (SELECT id FROM deliveries \
                 WHERE state = ?1 ORDER BY done_ms DESC LIMIT -1 OFFSET ?3))",
            )
            .bind(state)
            .bind(before)
            .bind(MAX_DONE)
            .execute(&mut self.connection)
            .await?;
            count += done.rows_affected();
        }
        Ok(count)
    }
}

/// Webhooks that arrived, and those given up, that are kept to be looked at: some 30 MB each.
const MAX_DONE: i64 = 10_000;

async fn record(to: &mut SqliteConnection, attempt: &Attempt) -> sqlx::Result<()> {
    let (state, due, done) = match attempt.verdict {
        Verdict::Delivered => ("delivered", None, Some(attempt.at_ms)),
        Verdict::Dead => ("dead", None, Some(attempt.at_ms)),
        Verdict::Again(due_ms) => ("waiting", Some(due_ms), None),
    };
    sqlx::query(
        "UPDATE deliveries SET state = ?, due_ms = coalesce(?, due_ms), done_ms = ?, attempts = attempts + 1, \
         rejected = rejected + ?, status = ?, error = ? WHERE id = ?",
    )
    .bind(state)
    .bind(due)
    .bind(done)
    .bind(attempt.rejected)
    .bind(attempt.status)
    .bind(&attempt.error)
    .bind(attempt.id)
    .execute(to)
    .await
    .map(drop)
}

/// What an operator asked for again is still tried: it may be how a trigger is found to work again.
async fn give_up(
    to: &mut SqliteConnection,
    trigger: &str,
    reason: &str,
    now_ms: i64,
) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "UPDATE deliveries SET state = 'dead', done_ms = ?, error = ? \
         WHERE trigger = ? AND state = 'waiting' AND replayed = 0",
    )
    .bind(now_ms)
    .bind(format!("trigger disabled: {reason}"))
    .bind(trigger)
    .execute(to)
    .await?;
    Ok(done.rows_affected())
}

async fn put(to: &mut SqliteConnection, trigger: &str, health: &Health) -> sqlx::Result<()> {
    sqlx::query("INSERT OR REPLACE INTO triggers VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
        .bind(trigger)
        .bind(health.url_mark)
        .bind(health.failing_since_ms)
        .bind(health.failures)
        .bind(health.last_ms)
        .bind(health.last_status)
        .bind(&health.last_error)
        .bind(&health.disabled)
        .execute(to)
        .await
        .map(drop)
}

fn health(row: &SqliteRow) -> sqlx::Result<Health> {
    let status: Option<i64> = row.try_get("last_status")?;
    Ok(Health {
        url_mark: row.try_get("url_mark")?,
        failing_since_ms: row.try_get("failing_since_ms")?,
        failures: u32::try_from(unsigned(row.try_get("failures")?)).unwrap_or(u32::MAX),
        last_ms: row.try_get("last_ms")?,
        last_status: status.and_then(|status| u16::try_from(status).ok()),
        last_error: row.try_get("last_error")?,
        disabled: row.try_get("disabled")?,
    })
}
