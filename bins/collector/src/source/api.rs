//! The `api` reader: one container through `GET /containers/ID/logs`.
//!
//! Two kinds of request. A *snapshot* (`follow=0`) reads the stored log up to now; dockerd holds its files open for
//! that, so that it is complete. A *follower* (`follow=1`) waits for more, but a dockerd that rotates faster than it
//! sends skips whole files and repeats others without a word. So everything is caught up by snapshots, and the
//! follower is left for a snapshot as soon as it falls behind or its stamps go back. Both are asked for the newest N
//! entries only (`tail`), as many as it takes to find the last line taken again; `since` is not used: it would read
//! the whole log, and after a clock was set back it would leave out what is new.

mod daemon;
mod doubts;
mod http;
mod reading;
mod sieve;

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use docker_demux::{Options, Stream};
use tokio::{sync::mpsc, time::timeout};

use super::{Batch, Cause, Container, Cursor, Event, Gap, Lease, Pool, taken};
use daemon::{Daemon, STALLED};
use reading::Reading;
use sieve::Sieve;

pub use daemon::{ApiError, Endpoint};

/// Entries of the first snapshot; the next asks for eight times as many.
const TAIL: u64 = 64;

/// More entries than this are asked for as "all".
const MAX_TAIL: u64 = 1 << 24;

/// A snapshot with fewer new lines ends the catching up.
const FEW: u64 = 512;

/// Entries before the live edge that a follower begins with: what may have come since the last snapshot.
const FOLLOW_TAIL: u64 = 2048;

/// Octets without a pause after which a follower of a rotating log counts as behind. Well under the size of any file.
const LAG: u64 = 256 << 10;

/// A wait this long for more means that everything was read, whatever the clocks say.
const PAUSE: Duration = Duration::from_secs(1);

/// A follower that has not shown the last line taken gives nothing for this long: it will not come.
const IDLE: Duration = Duration::from_secs(1);

/// Followers in a row that did not show the last line taken, before the reader gives up.
const MAX_MISSES: u32 = 8;

/// A follower whose last line is not older than this is not behind, whatever it had to read.
const CURRENT_NS: u64 = 10_000_000;

/// How often a reader takes stamps that go back in its stride; then it is started again, with a pause.
const MAX_BACKS: u32 = 64;

/// Follows one container until its output is over. Dropping the future stops it; nothing is lost by that.
///
/// `Ok` means that the container has stopped and everything was handed out, the last line even without LF: the last
/// batch had `end` set.
///
/// # Errors
///
/// See [`ApiError`]. A stream that ends while the container runs on is one: the daemon is going down.
pub async fn run(
    endpoint: &Endpoint,
    container: Arc<Container>,
    cursor: Option<Cursor>,
    events: mpsc::Sender<Event>,
    pool: Pool,
) -> Result<(), ApiError> {
    let cursor = cursor.unwrap_or_default();
    let fresh = Stream::ALL
        .iter()
        .all(|stream| cursor.taken(*stream).is_none());
    let mut reader = Reader {
        daemon: Daemon {
            endpoint,
            id: container.id.clone(),
        },
        options: Options {
            tty: container.tty,
            local: container.log_driver == "local",
        },
        rotates: container.rotates || container.log_driver == "local",
        clock: matches!(endpoint, Endpoint::Unix(_)),
        container,
        withheld: [false; 2],
        newest: Stream::ALL.map(|stream| cursor.taken(stream).map(|taken| taken.stamp)),
        from_start: fresh,
        gap: None,
        cursor,
        tail: TAIL,
        events,
        pool,
    };
    let (mut misses, mut backs) = (0, 0);
    loop {
        let before = reader.cursor.clone();
        let entries = reader.catch_up().await?;
        match reader.follow(entries).await? {
            Followed::Over => return Ok(()),
            Followed::Missed if reader.cursor == before => misses += 1,
            Followed::Missed | Followed::Behind => misses = 0,
            Followed::Back => backs += 1,
        }
        if backs > MAX_BACKS {
            return Err(ApiError::Stream(
                "time stamps go back again and again".to_owned(),
            ));
        }
        if misses >= MAX_MISSES {
            return Err(ApiError::Stream(
                "the last line taken is shown and not shown".to_owned(),
            ));
        }
    }
}

/// Asks the daemon whether a container runs.
pub(super) async fn runs(endpoint: &Endpoint, id: String) -> Result<bool, ApiError> {
    Daemon { endpoint, id }.runs().await
}

struct Reader<'a> {
    daemon: Daemon<'a>,
    container: Arc<Container>,
    options: Options,
    rotates: bool,
    /// The daemon's clock is ours.
    clock: bool,
    cursor: Cursor,
    /// Stamp of the last line of each stream.
    newest: [Option<i64>; 2],
    /// Lines of the stream were read and left out of the batch in the making.
    withheld: [bool; 2],
    /// Nothing was taken of what is there: all of it is new.
    from_start: bool,
    /// Lines are missing before the next one.
    gap: Option<Cause>,
    /// Entries to ask for in the next snapshot.
    tail: u64,
    events: mpsc::Sender<Event>,
    pool: Pool,
}

/// How following ended.
enum Followed {
    /// The container has stopped and was read to its end.
    Over,
    /// Lines may be skipped: catch up by snapshots.
    Behind,
    /// The stamps of a stream went back.
    Back,
    /// The last line taken was not in it.
    Missed,
}

impl Reader<'_> {
    /// Reads snapshots until there is little left; tells how many entries the log holds, if the last one saw all.
    async fn catch_up(&mut self) -> Result<Option<u64>, ApiError> {
        let mut whole = false;
        loop {
            let tail = (!self.from_start && !whole && self.tail <= MAX_TAIL).then_some(self.tail);
            let snapshot = self.snapshot(tail, whole).await?;
            // One less than asked for may be an unfinished one.
            let all = tail.is_none_or(|tail| snapshot.entries + 1 < tail);
            if snapshot.found {
                self.from_start &= snapshot.lines == 0;
                if snapshot.lines < FEW {
                    self.tail = TAIL;
                    return Ok(all.then_some(snapshot.entries));
                }
            } else if !all {
                self.tail *= 8;
            } else if !whole {
                whole = true;
            } else {
                // The whole log was read and what was taken last is not in it: all of it is newer.
                self.gap = Some(Cause::RotatedAway);
                self.from_start = true;
                whole = false;
            }
        }
    }

    async fn snapshot(&mut self, tail: Option<u64>, whole: bool) -> Result<Snapshot, ApiError> {
        let mut reading = self.open(false, tail, whole).await?;
        let mut lines = 0;
        let mut over = false;
        while !over {
            let late = |_| {
                io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the daemon stopped in the middle of a log",
                )
            };
            let first = timeout(STALLED, reading.answer.next())
                .await
                .map_err(late)??;
            over = first.is_none();
            let mut lease = self.pool.take().await;
            over |= reading.take(first, &mut lease).await?.over;
            lines += lease.len() as u64;
            self.hand_over(lease, &mut reading, false).await?;
        }
        if reading.decoder.cut() {
            return Err(ApiError::Stream("it ends inside a frame".to_owned()));
        }
        Ok(Snapshot {
            found: reading.sieve.passed(),
            lines,
            entries: reading.decoder.entries(),
        })
    }

    async fn follow(&mut self, entries: Option<u64>) -> Result<Followed, ApiError> {
        let tail = (!self.from_start).then_some(FOLLOW_TAIL);
        let whole = entries.is_some_and(|entries| entries < FOLLOW_TAIL / 2);
        let mut reading = self.open(true, tail, whole).await?;
        let mut behind = 0;
        loop {
            let (asked, asked_ns) = (Instant::now(), unix_ns());
            let first = match reading.answer.ready() {
                Some(first) => first?,
                None if reading.sieve.passed() => reading.answer.next().await?,
                None => match timeout(IDLE, reading.answer.next()).await {
                    Ok(first) => first?,
                    Err(_) => return Ok(Followed::Missed),
                },
            };
            let waited = asked.elapsed() >= PAUSE;
            let over = first.is_none();
            let full = Instant::now();
            let mut lease = self.pool.take().await;
            if self.stalled(full) {
                return Ok(Followed::Behind);
            }
            let passed = reading.sieve.passed();
            let taken = reading.take(first, &mut lease).await?;
            // Everything was read if what came next was not yet there when it was asked for, or is of this moment.
            let first_ns = lease.index.first().map(|line| line.time_ns);
            let last_ns = lease.index.last().map(|line| line.time_ns);
            let current = first_ns.is_some_and(|first_ns| self.clock && first_ns >= asked_ns)
                || last_ns
                    .is_some_and(|last_ns| self.clock && unix_ns().abs_diff(last_ns) < CURRENT_NS);
            behind = if passed && !waited && !current {
                behind + taken.octets
            } else {
                0
            };
            if over || taken.over {
                return self.ended(reading, lease).await;
            }
            let whole = self.withhold(&mut lease);
            let straight = self.straighten(&mut lease);
            self.from_start &= lease.is_empty();
            let full = Instant::now();
            self.hand_over(lease, &mut reading, false).await?;
            if !reading.sieve.passed() && reading.decoder.entries() > FOLLOW_TAIL {
                return Ok(Followed::Missed);
            }
            if !straight {
                return Ok(Followed::Back);
            }
            if !whole || self.stalled(full) || (self.rotates && behind > LAG) {
                return Ok(Followed::Behind);
            }
        }
    }

    /// The daemon has ended a follower's stream in good order.
    async fn ended(
        &mut self,
        mut reading: Reading,
        mut lease: Lease,
    ) -> Result<Followed, ApiError> {
        if reading.decoder.cut() {
            return Err(ApiError::Stream("it ends inside a frame".to_owned()));
        }
        if !reading.sieve.passed() {
            return Ok(Followed::Missed);
        }
        let whole = self.withhold(&mut lease);
        if self.daemon.runs_on().await? {
            // A line that has begun may go on when the daemon is back.
            self.straighten(&mut lease);
            self.hand_over(lease, &mut reading, false).await?;
            return Err(ApiError::Stream(
                "it ends, the container does not".to_owned(),
            ));
        }
        if !whole {
            self.straighten(&mut lease);
            self.hand_over(lease, &mut reading, false).await?;
            return Ok(Followed::Behind);
        }
        reading.finish(&mut lease);
        if !self.straighten(&mut lease) {
            self.hand_over(lease, &mut reading, false).await?;
            return Ok(Followed::Back);
        }
        self.hand_over(lease, &mut reading, true).await?;
        Ok(Followed::Over)
    }

    async fn open(
        &self,
        follow: bool,
        tail: Option<u64>,
        whole: bool,
    ) -> Result<Reading, ApiError> {
        let answer = self.daemon.logs(follow, tail).await?;
        let sieve = if self.from_start {
            Sieve::open(&self.cursor)
        } else {
            Sieve::new(&self.cursor, whole)
        };
        Ok(Reading::new(answer, self.options, sieve))
    }

    /// Sends a batch, if there is anything to tell.
    async fn hand_over(
        &mut self,
        lines: Lease,
        reading: &mut Reading,
        end: bool,
    ) -> Result<(), ApiError> {
        // Without a batch the cursor stays before what was left out.
        let withheld = std::mem::take(&mut self.withheld);
        let corrupt = reading.oversized();
        if lines.is_empty() && corrupt == 0 && !end {
            return Ok(());
        }
        let gap = self.gap.take().map(|cause| Gap {
            stream: None,
            from_ns: self.newest.into_iter().flatten().max(),
            to_ns: lines.index.first().map(|line| line.time_ns),
            bytes: None,
            lines: None,
            cause,
        });
        for line in &lines.index {
            self.newest[line.stream.index()] = Some(line.time_ns);
        }
        taken::advance(&mut self.cursor, &lines);
        self.cursor.held =
            Stream::ALL.map(|stream| reading.decoder.holds(stream) || withheld[stream.index()]);
        self.cursor.place = None;
        let (container, cursor) = (self.container.clone(), self.cursor.clone());
        let batch = Batch {
            container,
            lines,
            cursor,
            gaps: gap.into_iter().collect(),
            corrupt,
            end,
        };
        self.events
            .send(Event::Batch(batch))
            .await
            .map_err(|_| ApiError::Closed)
    }
}

fn unix_ns() -> i64 {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |now| now.as_nanos());
    i64::try_from(now).unwrap_or(i64::MAX)
}

/// What a snapshot gave.
struct Snapshot {
    /// The last line taken was in it.
    found: bool,
    /// New lines.
    lines: u64,
    /// Entries altogether.
    entries: u64,
}

#[cfg(test)]
mod tests;
