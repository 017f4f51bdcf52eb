//! What becomes durable together: events, places in the input, the state of decisions.

use std::collections::BTreeMap;

use sqlx::SqliteConnection;

/// Everything that one transaction moves.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// New events, in order.
    pub(crate) events: Vec<NewEvent>,
    /// Where epochs are read to; `None`: the epoch is read to its end for good.
    pub(crate) places: BTreeMap<PlaceKey, Option<Place>>,
    /// Streams of which all epochs up to one are done, or in `places`.
    pub(crate) watermarks: BTreeMap<(String, String), Watermark>,
    /// State of decisions.
    pub(crate) engine: rules::Changes,
    /// Named values.
    pub(crate) values: BTreeMap<&'static str, Vec<u8>>,
}

/// An event to be written.
#[derive(Debug, Clone)]
pub(crate) struct NewEvent {
    pub(crate) id: String,
    pub(crate) at_ms: i64,
    pub(crate) ts: String,
    pub(crate) severity: &'static str,
    pub(crate) rule: String,
    pub(crate) workload: String,
    pub(crate) message: String,
    pub(crate) body: String,
}

/// One epoch of a stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PlaceKey {
    pub(crate) worker: String,
    pub(crate) stream: String,
    pub(crate) epoch: String,
}

/// How far an epoch is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The epoch's number in the index, by which epochs are in order.
    pub(crate) ordinal: i64,
    /// Everything below was scanned.
    pub(crate) offset: u64,
    /// It is inside of a line whose beginning was scanned: up to the next LF nothing is.
    pub(crate) within: bool,
}

/// The newest epoch of a stream that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watermark {
    /// Its number in the index.
    pub(crate) ordinal: i64,
    /// Its name, by which it is found again when the index was made anew.
    pub(crate) epoch: String,
}

impl Batch {
    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
            && self.places.is_empty()
            && self.watermarks.is_empty()
            && !self.engine.all
            && self.engine.rows.is_empty()
            && self.values.is_empty()
    }

    /// Writes everything; inside a transaction. An event that is there already came with a try of which it was not
    /// known whether it stood.
    pub(super) async fn write(&self, to: &mut SqliteConnection) -> sqlx::Result<Option<i64>> {
        let mut newest = None;
        for event in &self.events {
            let written = sqlx::query(
                "INSERT INTO events (id, at_ms, ts, severity, source, rule, workload, message, body) \
                 VALUES (?, ?, ?, ?, 'logscanner', ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
            )
            .bind(&event.id)
            .bind(event.at_ms)
            .bind(&event.ts)
            .bind(event.severity)
            .bind(&event.rule)
            .bind(&event.workload)
            .bind(&event.message)
            .bind(&event.body)
            .execute(&mut *to)
            .await?;
            newest = Some(written.last_insert_rowid());
        }
        for (key, place) in &self.places {
            write_place(to, key, *place).await?;
        }
        for ((worker, stream), mark) in &self.watermarks {
            sqlx::query(
                "INSERT INTO streams (worker, stream, ordinal, epoch) VALUES (?, ?, ?, ?) \
                 ON CONFLICT (worker, stream) DO UPDATE SET ordinal = excluded.ordinal, epoch = excluded.epoch",
            )
            .bind(worker)
            .bind(stream)
            .bind(mark.ordinal)
            .bind(&mark.epoch)
            .execute(&mut *to)
            .await?;
        }
        if self.engine.all {
            sqlx::query("DELETE FROM engine").execute(&mut *to).await?;
        }
        for row in &self.engine.rows {
            let query = match &row.value {
                Some(value) => {
                    sqlx::query("INSERT OR REPLACE INTO engine (key, value) VALUES (?, ?)")
                        .bind(&row.key)
                        .bind(value)
                }
                None => sqlx::query("DELETE FROM engine WHERE key = ?").bind(&row.key),
            };
            query.execute(&mut *to).await?;
        }
        for (name, value) in &self.values {
            sqlx::query("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)")
                .bind(*name)
                .bind(value)
                .execute(&mut *to)
                .await?;
        }
        Ok(newest)
    }
}

async fn write_place(
    to: &mut SqliteConnection,
    key: &PlaceKey,
    place: Option<Place>,
) -> sqlx::Result<()> {
    let query = match place {
        Some(place) => sqlx::query(
            "INSERT INTO places (worker, stream, epoch, ordinal, offset, within) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
             ON CONFLICT (worker, stream, epoch) DO UPDATE \
             SET ordinal = excluded.ordinal, offset = excluded.offset, within = excluded.within",
        )
        .bind(&key.worker)
        .bind(&key.stream)
        .bind(&key.epoch)
        .bind(place.ordinal)
        .bind(i64::try_from(place.offset).unwrap_or(i64::MAX))
        .bind(place.within),
        None => sqlx::query("DELETE FROM places WHERE worker = ? AND stream = ? AND epoch = ?")
            .bind(&key.worker)
            .bind(&key.stream)
            .bind(&key.epoch),
    };
    query.execute(to).await.map(drop)
}
