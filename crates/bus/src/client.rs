//! The one task that speaks to the bus: connects, says who it is and what it wants to hear, beats, writes what is queued,
//! and begins again when the connection is over.

use std::{
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::{Buf as _, BytesMut};
use rand::{SeedableRng as _, rngs::SmallRng};
use ratelimit::Backoff;
use serde_json::{Map, Value};
use service::Seldom;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tracing::{debug, info, warn};

use crate::{
    batch::{Batch, Chunk, unix_seconds},
    config::Socket,
    event::{Event, EventError},
    frame::{FrameError, Verb, decode, encode},
    queue::{Queue, Reason},
};

/// What the task needs.
pub(crate) struct Client {
    pub(crate) socket: Socket,
    /// The program's name on the bus.
    pub(crate) worker: &'static str,
    pub(crate) queue: Arc<Queue>,
    /// What a heartbeat carries beyond name and time.
    pub(crate) extra: Box<dyn Fn() -> Value + Send + Sync>,
    /// Set when the bus asked for a stop.
    pub(crate) told: watch::Sender<bool>,
    /// Tells the task to say goodbye.
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) pace: Pace,
    /// What is logged of a bus that comes and goes all the time.
    pub(crate) said: Seldom<&'static str>,
}

/// Times that tests shorten.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) heartbeat: Duration,
    /// How long a write may take before the bus counts as stalled.
    pub(crate) stall: Duration,
    /// The first and the longest wait between two connections.
    pub(crate) backoff: (Duration, Duration),
}

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
enum Over {
    #[error("the bus closed the connection")]
    Closed,
    #[error("another bus listens at the path now")]
    Replaced,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the bus sent no frame: {0}")]
    Frame(#[from] FrameError),
    #[error("the bus sent a client's frame: {0}")]
    Verb(Verb),
}

impl Client {
    /// Works until told to stop.
    pub(crate) async fn run(self) {
        let mut rng = SmallRng::from_rng(&mut rand::rng());
        let (first, longest) = self.pace.backoff;
        let mut backoff = Backoff::new(first, longest);
        let mut stop = self.stop.clone();
        let mut absent = false;
        loop {
            let path = self.socket.path();
            match connect(&path).await {
                Ok((stream, identity)) => {
                    if let Some(left_out) = self.says("connected") {
                        info!(path = %path.display(), left_out, "connected to the bus");
                    }
                    absent = false;
                    let began = Instant::now();
                    let metrics = &self.queue.metrics;
                    metrics.connections.inc();
                    metrics.connected.set(1);
                    self.queue.open();
                    let over = self.talk(stream, &path, identity).await;
                    metrics.connected.set(0);
                    let Err(over) = over else { return };
                    if let Some(left_out) = self.says("over") {
                        warn!(path = %path.display(), error = %over, left_out, "connection to the bus is over");
                    }
                    if began.elapsed() >= SETTLED {
                        backoff.reset();
                    }
                }
                Err(error) => {
                    self.queue.shut(Reason::Absent);
                    if !std::mem::replace(&mut absent, true) {
                        info!(path = %path.display(), %error, "no bus; events are dropped until there is one");
                    }
                }
            }
            tokio::select! {
                () = sleep(backoff.next(&mut rng)) => {}
                _ = stop.wait_for(|stop| *stop) => return self.queue.shut(Reason::Absent),
            }
        }
    }

    /// Speaks over one connection until it is over, or until the goodbye is said.
    async fn talk(&self, stream: UnixStream, path: &Path, identity: Identity) -> Result<(), Over> {
        let (read, write) = stream.into_split();
        tokio::select! {
            biased;
            over = self.read(read) => Err(over),
            over = watch_path(path, identity, self.pace.heartbeat) => Err(over),
            done = self.write(write) => done,
        }
    }

    /// Reads events until the connection is over.
    async fn read(&self, mut read: OwnedReadHalf) -> Over {
        let mut buf = BytesMut::new();
        loop {
            loop {
                let used = match decode(&buf) {
                    Ok(None) => break,
                    Ok(Some((frame, used))) => {
                        match Event::read(&frame) {
                            Ok(event) => self.hear(&event),
                            Err(EventError::Verb(verb)) => return Over::Verb(verb),
                            Err(error) => {
                                debug!(%error, "event not understood");
                                self.queue.metrics.control(IGNORED);
                            }
                        }
                        used
                    }
                    Err(error) => return error.into(),
                };
                buf.advance(used);
            }
            if buf.is_empty() {
                // A large event's buffer is not kept.
                buf = BytesMut::with_capacity(READ);
            }
            buf.reserve(READ);
            match read.read_buf(&mut buf).await {
                Ok(0) => return Over::Closed,
                Ok(_) => {}
                Err(error) => return error.into(),
            }
        }
    }

    /// Takes an event of the one topic that was asked for.
    fn hear(&self, event: &Event) {
        let action = event.payload.get("action").and_then(Value::as_str);
        if event.topic != control_topic(self.worker) || action != Some(STOP) {
            debug!(topic = event.topic, "control message ignored");
            return self.queue.metrics.control(IGNORED);
        }
        self.queue.metrics.control(STOP);
        let by = event.payload.get("requested_by").and_then(Value::as_str);
        let by: String = by.unwrap_or_default().chars().take(MAX_SHOWN).collect();
        info!(requested_by = ?by, "stop asked for on the bus");
        let _ = self.told.send(true);
    }

    /// Writes greeting, heartbeats and what is queued, until told to stop; then what is queued still, and the goodbye.
    async fn write(&self, mut write: OwnedWriteHalf) -> Result<(), Over> {
        let mut stop = self.stop.clone();
        let mut greeting = Vec::new();
        encode(Verb::Hello, self.worker, b"", &mut greeting)?;
        encode(Verb::Sub, &control_topic(self.worker), b"", &mut greeting)?;
        let mut greeting = Sending::new(&self.queue, "", greeting, Vec::new());
        self.send(&mut write, &mut greeting).await?;
        let mut heartbeat = interval(self.pace.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (label, chunk) = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                _ = heartbeat.tick() => (HEALTH, self.health()),
                chunk = self.queue.next() => chunk,
            };
            let mut sending = Sending::new(&self.queue, label, chunk.octets, chunk.ends);
            self.send(&mut write, &mut sending).await?;
        }
        while let Some((label, chunk)) = self.queue.take() {
            let mut sending = Sending::new(&self.queue, label, chunk.octets, chunk.ends);
            self.send(&mut write, &mut sending).await?;
        }
        let mut goodbye = Vec::new();
        encode(Verb::Bye, "", b"", &mut goodbye)?;
        write.write_all(&goodbye).await?;
        write.shutdown().await?;
        Ok(())
    }

    /// Writes all of it. A bus that takes nothing for a while is waited for with empty hands: the queue is shut, and
    /// only the frame that is half written is kept.
    async fn send(
        &self,
        write: &mut OwnedWriteHalf,
        sending: &mut Sending<'_>,
    ) -> Result<(), Over> {
        while let rest @ [_, ..] = sending.rest() {
            match timeout(self.pace.stall, write.write(rest)).await {
                Ok(Ok(0)) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(written) => sending.advance(written?),
                Err(_) => {
                    sending.give_up_rest();
                    self.stalled(write).await?;
                }
            }
        }
        Ok(())
    }

    /// Waits until a stalled bus takes something again.
    async fn stalled(&self, write: &OwnedWriteHalf) -> Result<(), Over> {
        self.queue.shut(Reason::Stalled);
        self.queue.metrics.connected.set(0);
        let left_out = self.says("stalled");
        if let Some(left_out) = left_out {
            warn!(
                left_out,
                "the bus takes nothing; events are dropped until it does"
            );
        }
        write.writable().await?;
        if left_out.is_some() {
            info!("the bus takes events again");
        }
        self.queue.metrics.connected.set(1);
        self.queue.open();
        Ok(())
    }

    /// Whether something is to be logged, and how often it was not since the last time.
    fn says(&self, what: &'static str) -> Option<u64> {
        self.said.allow(what, Instant::now().into_std())
    }

    /// A heartbeat's frame.
    fn health(&self) -> Chunk {
        let mut payload = Map::new();
        payload.insert("worker".to_owned(), self.worker.into());
        payload.insert("ts".to_owned(), unix_seconds().into());
        if let Value::Object(extra) = (self.extra)() {
            for (key, value) in extra {
                payload.entry(key).or_insert(value);
            }
        }
        let topic = format!("system.{}.health", self.worker);
        let mut batch = Batch::new(&topic, HEALTH, self.queue.ids());
        batch.add("health", &payload);
        batch.chunks.pop().unwrap_or_default()
    }
}

fn control_topic(worker: &str) -> String {
    format!("system.{worker}.control")
}

/// Frames on their way; what was not written when it is dropped is counted as lost.
struct Sending<'a> {
    queue: &'a Queue,
    label: &'static str,
    octets: Vec<u8>,
    ends: Vec<usize>,
    written: usize,
}

impl<'a> Sending<'a> {
    fn new(queue: &'a Queue, label: &'static str, octets: Vec<u8>, ends: Vec<usize>) -> Self {
        Self {
            queue,
            label,
            octets,
            ends,
            written: 0,
        }
    }

    fn rest(&self) -> &[u8] {
        &self.octets[self.written..]
    }

    fn advance(&mut self, octets: usize) {
        self.written += octets;
    }

    /// Keeps the frame that has begun and gives up those behind it.
    fn give_up_rest(&mut self) {
        if self.label.is_empty() {
            return;
        }
        let whole = self.ends.partition_point(|end| *end <= self.written);
        let begun = whole.checked_sub(1).map_or(0, |last| self.ends[last]) < self.written;
        let keep = whole + usize::from(begun);
        let given_up = self.ends.len().saturating_sub(keep) as u64;
        self.ends.truncate(keep);
        self.octets
            .truncate(self.ends.last().copied().unwrap_or_default());
        let stalled = Reason::Stalled.as_str();
        self.queue.metrics.dropped(self.label, stalled, given_up);
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        let published = self.ends.partition_point(|end| *end <= self.written) as u64;
        let lost = self.ends.len() as u64 - published;
        let metrics = &self.queue.metrics;
        metrics.published(self.label, published);
        metrics.dropped(self.label, Reason::Lost.as_str(), lost);
    }
}

/// What tells one socket at a path from the next.
type Identity = Option<(u64, u64, i64, i64)>;

fn identity(path: &Path) -> Identity {
    let found = std::fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.mtime(), found.mtime_nsec()))
}

async fn connect(path: &PathBuf) -> io::Result<(UnixStream, Identity)> {
    let identity = identity(path);
    let stream = timeout(CONNECT, UnixStream::connect(path)).await;
    let stream = stream.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok((stream, identity))
}

/// Ends when another socket has taken the path: a bus that hangs does not close its connections.
async fn watch_path(path: &Path, known: Identity, period: Duration) -> Over {
    loop {
        sleep(period).await;
        let now = identity(path);
        if now.is_some() && now != known {
            return Over::Replaced;
        }
    }
}

/// What heartbeats are counted as.
const HEALTH: &str = "health";
const STOP: &str = "stop";
const IGNORED: &str = "ignored";
/// A connection that lasted so long was a good one: the next wait is short.
const SETTLED: Duration = Duration::from_secs(2);
/// Longest wait for a connection; on a Unix socket it is there or not.
const CONNECT: Duration = Duration::from_secs(5);
/// Octets read at a time, at least.
const READ: usize = 4096;
/// How much of a name from outside is logged, in characters.
const MAX_SHOWN: usize = 64;

#[cfg(test)]
mod tests;
