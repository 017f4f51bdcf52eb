//! From messages to the writer: a transport's way in, and the buffer that it fills.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use docker_demux::{Line, Part, Stream};
use framing::FrameError;
use service::Seldom;
use tokio::sync::mpsc;
use tracing::warn;

use super::{
    Transport,
    losses::Losses,
    metrics::{LossLabel, Metrics, TransportLabel},
    taken::Taken,
};
use crate::source::{Batch, Cause, Container, Cursor, Event, Gap, Lease, Pool};

/// What all tasks of a transport share.
#[derive(Clone, Debug)]
pub(super) struct Intake {
    pub(super) transport: Transport,
    pub(super) metrics: Metrics,
    container: Arc<Container>,
    events: mpsc::Sender<Event>,
    pool: Pool,
    losses: Losses,
    taken: Taken,
    /// What was said of bad senders, by what it was.
    said: Arc<Seldom<&'static str>>,
}

/// Messages on their way into one batch.
#[derive(Debug)]
pub(super) struct Basket {
    lines: Lease,
    /// The stamp of the next line.
    time_ns: i64,
}

impl Intake {
    pub(super) fn new(
        transport: Transport,
        container: Arc<Container>,
        events: &mpsc::Sender<Event>,
        pool: &Pool,
        metrics: &Metrics,
        taken: &Taken,
    ) -> Intake {
        Intake {
            transport,
            metrics: metrics.clone(),
            container,
            events: events.clone(),
            pool: pool.clone(),
            losses: Losses::default(),
            taken: taken.clone(),
            said: Arc::new(Seldom::new(SAID_EVERY)),
        }
    }

    /// Waits for a free buffer; that is where a full disk is felt. Ask when there is something to put in it.
    pub(super) async fn basket(&self) -> Basket {
        Basket {
            lines: self.pool.take().await,
            time_ns: now_ns(),
        }
    }

    /// Gives the lines to the writer; false when it is gone.
    pub(super) async fn hand_over(&self, basket: Basket) -> bool {
        if basket.lines.is_empty() {
            return true;
        }
        let messages = basket.lines.len() as u64;
        self.taken.add(self.transport, messages);
        let batch = self.batch(basket.lines, Vec::new());
        let taken = self.events.send(Event::Batch(batch)).await.is_ok();
        if taken {
            let transport = self.transport.as_str();
            let counter = self
                .metrics
                .messages
                .get_or_create(&TransportLabel { transport });
            counter.inc_by(messages);
        }
        taken
    }

    /// Whether the writer is gone: what is taken from a sender now is lost.
    pub(super) fn is_closed(&self) -> bool {
        self.events.is_closed()
    }

    /// Counts messages that were taken from a sender and can't be handed over any more.
    pub(super) fn stranded(&self, messages: u64) {
        self.taken.add(self.transport, messages);
    }

    /// Enters what will never come.
    pub(super) fn lost(&self, cause: Cause, lines: u64, bytes: Option<u64>) {
        let label = LossLabel {
            transport: self.transport.as_str(),
            cause: cause.as_str(),
        };
        self.metrics.lost.get_or_create(&label).inc_by(lines);
        let counter = self.metrics.lost_bytes.get_or_create(&label);
        counter.inc_by(bytes.unwrap_or(0));
        self.losses.add(cause, lines, bytes, now_ns());
    }

    /// Counts a sender that is not on this host.
    pub(super) fn refuse(&self, peer: SocketAddr) {
        let transport = self.transport.as_str();
        let label = TransportLabel { transport };
        self.metrics.refused.get_or_create(&label).inc();
        if let Some(more) = self.said.allow("refused", Instant::now()) {
            warn!(%peer, transport, more, "refused syslog that is not from a loopback address");
        }
    }

    /// Enters octets of a connection that are no whole message, and says so.
    pub(super) fn broken(&self, cause: Cause, peer: SocketAddr, error: FrameError, bytes: u64) {
        self.lost(cause, 1, Some(bytes));
        if let Some(more) = self.said.allow(cause.as_str(), Instant::now()) {
            warn!(%peer, %error, bytes, more, "syslog connection closed: no whole message");
        }
    }

    /// Tells the ledger what was lost, unless there is no room now.
    pub(super) fn tell_losses(&self, end: bool) {
        let gaps = self.losses.due(Instant::now(), end);
        if gaps.is_empty() {
            return;
        }
        match (self.pool.try_take(), self.events.try_reserve()) {
            (Some(lines), Ok(room)) => room.send(Event::Batch(self.batch(lines, gaps))),
            _ => self.losses.again(gaps),
        }
    }

    /// Tells the ledger what is left to tell.
    pub(super) async fn tell_last_losses(&self) {
        let gaps = self.losses.due(Instant::now(), true);
        if !gaps.is_empty() {
            let batch = self.batch(self.pool.take().await, gaps);
            // Only fails when the disk is full at the stop.
            let _ = self.events.send(Event::Batch(batch)).await;
        }
    }

    fn batch(&self, lines: Lease, gaps: Vec<Gap>) -> Batch {
        Batch {
            container: self.container.clone(),
            lines,
            cursor: Cursor::default(),
            gaps,
            corrupt: 0,
            end: false,
        }
    }
}

impl Basket {
    /// Adds a message. An LF at its end is a terminator; one inside becomes `#012`, as a line can't hold it.
    pub(super) fn message(&mut self, octets: &[u8]) {
        self.add(octets.strip_suffix(b"\n").unwrap_or(octets), None);
    }

    /// Adds a part of a line over the limit.
    pub(super) fn part(&mut self, octets: &[u8], part: Part) {
        self.add(octets, Some(part));
    }

    /// Whether it is time to hand over.
    pub(super) fn is_full(&self) -> bool {
        self.lines.bytes.len() >= FULL_BYTES || self.lines.len() >= FULL_LINES
    }

    /// The stamp that the next line gets.
    pub(super) fn now_ns(&self) -> i64 {
        self.time_ns
    }

    fn add(&mut self, octets: &[u8], part: Option<Part>) {
        let start = self.lines.bytes.len();
        let mut rest = octets;
        while let Some(at) = memchr::memchr(b'\n', rest) {
            self.lines.bytes.extend_from_slice(&rest[..at]);
            self.lines.bytes.extend_from_slice(LF);
            rest = &rest[at + 1..];
        }
        self.lines.bytes.extend_from_slice(rest);
        let line = Line {
            start,
            end: self.lines.bytes.len(),
            time_ns: self.time_ns,
            stream: Stream::Stdout,
            part,
            terminated: true,
        };
        self.lines.index.push(line);
        // Each line has a stamp of its own, as Docker's have.
        self.time_ns += 1;
    }
}

/// The wall clock in Unix nanoseconds.
fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    })
}

/// What a line has for an LF: the octal notation of other syslog programs, and of the merged files.
const LF: &[u8] = b"#012";
/// Half of what a buffer is meant to hold: a message of 1 MiB fits behind it.
const FULL_BYTES: usize = 512 << 10;
const FULL_LINES: usize = 8192;
/// Time between two log lines about one kind of bad sender.
const SAID_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
