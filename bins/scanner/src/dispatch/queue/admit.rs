//! Taking webhooks in, with the cursor of the events that they are for.

use sqlx::SqliteConnection;

use super::{Queue, move_cursor};

/// What one event leads to for one trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) trigger: String,
    pub(crate) event: String,
    pub(crate) body: String,
    pub(crate) due_ms: i64,
    /// The event whose webhook it is folded into, if that is not sent yet; else it gets one of its own.
    pub(crate) into: Option<String>,
}

/// What [`Queue::admit`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Admitted {
    pub(crate) new: u64,
    pub(crate) folded: u64,
    /// Given up because too many waited.
    pub(crate) overflowed: u64,
}

impl Queue {
    /// Takes in what events up to `cursor` lead to, all of it or nothing. An entry that is there already is left
    /// alone. `flying` are webhooks that are being sent, which are not given up.
    pub(crate) async fn admit(
        &mut self,
        cursor: i64,
        entries: &[Entry],
        flying: &[i64],
        now_ms: i64,
    ) -> sqlx::Result<Admitted> {
        let mut admitted = Admitted::default();
        let done = &mut admitted;
        self.write(async move |to| {
            *done = Admitted::default();
            for entry in entries {
                take_in(to, entry, flying, now_ms, done).await?;
            }
            move_cursor(to, cursor).await
        })
        .await?;
        Ok(admitted)
    }
}

async fn take_in(
    to: &mut SqliteConnection,
    entry: &Entry,
    flying: &[i64],
    now_ms: i64,
    done: &mut Admitted,
) -> sqlx::Result<()> {
    if let Some(into) = &entry.into {
        let folded = sqlx::query(
            "UPDATE deliveries SET truncated = truncated + 1 \
             WHERE trigger = ? AND event_id = ? AND state = 'waiting' AND attempts = 0",
        )
        .bind(&entry.trigger)
        .bind(into)
        .execute(&mut *to)
        .await?;
        if folded.rows_affected() > 0 {
            done.folded += 1;
            return Ok(());
        }
    }
    let new = sqlx::query(
        "INSERT INTO deliveries (trigger, event_id, body, place, created_ms, due_ms) \
         VALUES (?, ?, ?, (SELECT coalesce(max(place), 0) + 1 FROM deliveries), ?, ?) \
         ON CONFLICT (trigger, event_id) DO NOTHING",
    )
    .bind(&entry.trigger)
    .bind(&entry.event)
    .bind(&entry.body)
    .bind(now_ms)
    .bind(entry.due_ms)
    .execute(&mut *to)
    .await?;
    done.new += new.rows_affected();
    done.overflowed += overflow(to, &entry.trigger, flying, now_ms).await?;
    Ok(())
}

/// Gives the oldest of a trigger up while more than [`MAX_WAITING`] wait.
async fn overflow(
    to: &mut SqliteConnection,
    trigger: &str,
    flying: &[i64],
    now_ms: i64,
) -> sqlx::Result<u64> {
    let count: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM deliveries WHERE trigger = ? AND state = 'waiting'",
    )
    .bind(trigger)
    .fetch_one(&mut *to)
    .await?;
    let excess = count - MAX_WAITING;
    if excess <= 0 {
        return Ok(0);
    }
    // At most one of a trigger is being sent.
    let oldest: Vec<i64> = sqlx::query_scalar(
        "SELECT id FROM deliveries WHERE trigger = ? AND state = 'waiting' ORDER BY place LIMIT ?",
    )
    .bind(trigger)
    .bind(excess + 1)
    .fetch_all(&mut *to)
    .await?;
    let dropped = oldest.into_iter().filter(|id| !flying.contains(id));
    let mut overflowed = 0;
    for id in dropped.take(usize::try_from(excess).unwrap_or(0)) {
        let done = sqlx::query(
            "UPDATE deliveries SET state = 'dead', done_ms = ?, error = ? WHERE id = ?",
        )
        .bind(now_ms)
        .bind(format!("dropped: more than {MAX_WAITING} waited"))
        .bind(id)
        .execute(&mut *to)
        .await?;
        overflowed += done.rows_affected();
    }
    Ok(overflowed)
}

/// Webhooks that wait for one trigger. More are of no use to whoever reads them.
pub(crate) const MAX_WAITING: i64 = 1000;
