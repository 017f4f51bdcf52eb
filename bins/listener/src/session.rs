//! One plain connection: TLS records in, batches of whole frames out, until the peer, a limit or the operator ends it.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use framing::{Batch, Decoder, Fault, Frame};
use pki::{Peer, Refusal, ServerTls};
use tokio::io::{AsyncBufRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::intake::{Closed, Intake};
use crate::metrics::Metrics;
use crate::workers::Worker;

/// What all sessions share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) tls: Arc<ServerTls>,
    pub(crate) intake: Intake,
    pub(crate) metrics: Metrics,
    pub(crate) max_frame: u32,
    pub(crate) frame_limit: Duration,
    pub(crate) idle_limit: Duration,
    /// Sessions now, which share the memory for reading.
    pub(crate) sessions: AtomicUsize,
    /// Room for frames that are larger than a connection's own buffer, in KiB.
    pub(crate) large: Arc<Semaphore>,
    /// Turns true when the program stops.
    pub(crate) stop: watch::Receiver<bool>,
}

/// How a session ended.
#[derive(Debug)]
pub(crate) enum End {
    /// `close_notify`, after a whole frame.
    Clean,
    /// The stream broke the framing, or ended inside a frame, at this octet of the connection's plaintext.
    Framing { fault: Fault, offset: u64 },
    /// The connection broke; also an end without `close_notify` after a whole frame.
    Broken(io::Error),
    /// No octet of a frame for too long.
    Stuck { offset: u64 },
    /// No frame for too long.
    Idle,
    /// The peer's certificate counts no longer.
    Refused(Refusal),
    /// The program stops.
    Stop,
}

impl End {
    /// The reason, for the metric.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            End::Clean => "clean",
            End::Framing { .. } => "framing",
            End::Broken(_) => "broken",
            End::Stuck { .. } => "stuck",
            End::Idle => "idle",
            End::Refused(_) => "revoked",
            End::Stop => "stop",
        }
    }
}

/// What happens next on a connection.
enum Event {
    Read(io::Result<usize>),
    Recheck,
    Stop,
    Late,
}

/// A connection whose peer is known.
pub(crate) struct Session<IO> {
    pub(crate) io: IO,
    pub(crate) peer: Peer,
    pub(crate) worker: Arc<Worker>,
    pub(crate) shared: Arc<Shared>,
    /// Plaintext that is not whole frames yet.
    buf: BytesMut,
    /// Octets of whole frames before `buf`.
    offset: u64,
    own: Arc<Semaphore>,
    generation: watch::Receiver<u64>,
    stop: watch::Receiver<bool>,
    large: Option<OwnedSemaphorePermit>,
    chunk: usize,
}

impl<IO: AsyncBufRead + AsyncWrite + Unpin> Session<IO> {
    pub(crate) fn new(io: IO, peer: Peer, worker: Arc<Worker>, shared: Arc<Shared>) -> Session<IO> {
        shared.sessions.fetch_add(1, Ordering::Relaxed);
        Session {
            io,
            peer,
            worker,
            buf: BytesMut::new(),
            offset: 0,
            own: Intake::share(),
            generation: shared.tls.generation(),
            stop: shared.stop.clone(),
            large: None,
            chunk: MIN_CHUNK,
            shared,
        }
    }

    /// Serves the connection to its end and closes it in an orderly way.
    pub(crate) async fn run(mut self) -> End {
        // The registry may have moved between the handshake and the subscription.
        let end = match self.shared.tls.recheck(&self.peer) {
            Err(refusal) => End::Refused(refusal),
            Ok(()) => self.serve().await.unwrap_or(End::Stop),
        };
        // RFC 5425 §4.4: answer close_notify, and send it first when closing.
        let _ = tokio::time::timeout(CLOSE_LIMIT, self.io.shutdown()).await;
        end
    }

    async fn serve(&mut self) -> Result<End, Closed> {
        loop {
            match self.event().await {
                Event::Stop => return Ok(End::Stop),
                Event::Late if self.buf.is_empty() => return Ok(End::Idle),
                Event::Late => {
                    return Ok(End::Stuck {
                        offset: self.offset,
                    });
                }
                Event::Recheck => {
                    if let Err(refusal) = self.shared.tls.recheck(&self.peer) {
                        return Ok(End::Refused(refusal));
                    }
                }
                Event::Read(Ok(0)) => return Ok(self.cut_short().unwrap_or(End::Clean)),
                Event::Read(Ok(read)) => {
                    if let Some(end) = self.take(read).await? {
                        return Ok(end);
                    }
                }
                // Without close_notify the end is a truncation: a crash, an attacker, or a peer that knows no better.
                Event::Read(Err(e)) => return Ok(self.cut_short().unwrap_or(End::Broken(e))),
            }
        }
    }

    async fn event(&mut self) -> Event {
        let limit = if self.buf.is_empty() {
            self.shared.idle_limit
        } else {
            self.shared.frame_limit
        };
        self.fit_chunk();
        let Session {
            io,
            buf,
            generation,
            stop,
            shared,
            large,
            chunk,
            ..
        } = self;
        let read = async {
            if buf.len() >= OWN_FRAME && large.is_none() {
                let kib = (shared.max_frame / 1024 + 1).min(LARGE_KIB);
                // Never closed: the semaphore lives as long as the sessions.
                *large = Arc::clone(&shared.large).acquire_many_owned(kib).await.ok();
            }
            // The wait for room does not count.
            tokio::time::timeout(limit, fill(io, buf, *chunk)).await
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Event::Stop,
            Ok(()) = generation.changed() => Event::Recheck,
            read = read => read.map_or(Event::Late, Event::Read),
        }
    }

    /// Reads no more at a time than this session's share of the memory, and holds no buffer between frames.
    fn fit_chunk(&mut self) {
        let sessions = self.shared.sessions.load(Ordering::Relaxed).max(1);
        self.chunk = self
            .chunk
            .min((READ_BYTES / sessions).clamp(MIN_CHUNK, MAX_CHUNK));
        if self.buf.is_empty() {
            self.buf = BytesMut::new();
            self.large = None;
        }
    }

    /// Hands on the whole frames that are there; the session's end, if something breaks the framing.
    async fn take(&mut self, read: usize) -> Result<Option<End>, Closed> {
        // As much as the peer fills: a busy one saves wakes, a quiet one memory.
        if read >= self.chunk {
            self.chunk = (self.chunk * 2).min(MAX_CHUNK);
        } else if read < self.chunk / 4 {
            self.chunk = (self.chunk / 2).max(MIN_CHUNK);
        }
        let decoder = Decoder::new(self.shared.max_frame);
        let (batch, end) = match decoder.whole(&self.buf) {
            Ok(batch) => (batch, None),
            Err((batch, error)) => {
                let offset = self.offset + error.at as u64;
                (
                    batch,
                    Some(End::Framing {
                        fault: error.fault,
                        offset,
                    }),
                )
            }
        };
        if batch.len > 0 {
            self.send(decoder, batch).await?;
        }
        Ok(end)
    }

    /// What the end of the connection means when a part of a frame is left.
    fn cut_short(&self) -> Option<End> {
        let error = framing::at_eof(&self.buf).err()?;
        Some(End::Framing {
            fault: error.fault,
            offset: self.offset + error.at as u64,
        })
    }

    async fn send(&mut self, decoder: Decoder, batch: Batch) -> Result<(), Closed> {
        let whole = self.buf.split_to(batch.len).freeze();
        self.offset += batch.len as u64;
        let metrics = &self.shared.metrics;
        metrics.frames.inc_by(batch.frames as u64);
        metrics.bytes.inc_by(batch.len as u64);
        metrics
            .invalid_frames
            .inc_by(count_invalid(decoder, &whole));
        self.worker.took(batch.frames, batch.len, unix_ms());
        self.shared
            .intake
            .send(&self.own, &self.worker, whole)
            .await?;
        loop {
            let pause = self.worker.pause(batch.len, Instant::now());
            if pause.is_zero() {
                return Ok(());
            }
            // Short enough for a stop or a revocation to be seen by its timer.
            tokio::time::sleep(pause.min(MAX_PAUSE)).await;
            if *self.stop.borrow() || self.generation.has_changed().unwrap_or(false) {
                return Ok(());
            }
        }
    }
}

impl<IO> Drop for Session<IO> {
    fn drop(&mut self) {
        self.shared.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Reads at most `most` octets until nothing more is there: one wake, one batch. Zero is the end.
async fn fill<IO: AsyncBufRead + Unpin>(
    io: &mut IO,
    buf: &mut BytesMut,
    most: usize,
) -> io::Result<usize> {
    poll_fn(|cx| poll_fill(Pin::new(&mut *io), cx, buf, most)).await
}

fn poll_fill<IO: AsyncBufRead>(
    mut io: Pin<&mut IO>,
    cx: &mut Context<'_>,
    buf: &mut BytesMut,
    most: usize,
) -> Poll<io::Result<usize>> {
    let mut read = 0;
    while read < most {
        match io.as_mut().poll_fill_buf(cx) {
            Poll::Ready(Ok([])) => return Poll::Ready(Ok(read)),
            Poll::Ready(Ok(octets)) => {
                let octets = &octets[..octets.len().min(most - read)];
                if read == 0 {
                    // The record that is there tells nothing of what follows it: room for a chunk saves copies.
                    buf.reserve(most);
                }
                buf.extend_from_slice(octets);
                let taken = octets.len();
                read += taken;
                io.as_mut().consume(taken);
            }
            // What was read comes first; a broken connection says so again.
            Poll::Ready(Err(_)) | Poll::Pending if read > 0 => return Poll::Ready(Ok(read)),
            Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
            Poll::Pending => return Poll::Pending,
        }
    }
    Poll::Ready(Ok(read))
}

fn count_invalid(decoder: Decoder, mut bytes: &[u8]) -> u64 {
    let mut invalid = 0;
    while let Ok(Some((frame, consumed))) = decoder.decode(bytes) {
        let (Frame::Message(message) | Frame::Control(message)) = frame;
        invalid += u64::from(rfc5424::parse(message).is_err());
        bytes = &bytes[consumed..];
    }
    invalid
}

fn unix_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Memory that all sessions together read into, in bytes.
const READ_BYTES: usize = 32 << 20;
/// Least and most that a session reads at a time, in bytes. A TLS record has 16 KiB.
const MIN_CHUNK: usize = 16 << 10;
const MAX_CHUNK: usize = 256 << 10;
/// A frame up to this size needs no room of its own, in bytes.
const OWN_FRAME: usize = 64 << 10;
/// Room for larger frames, of all sessions together, in KiB.
pub(crate) const LARGE_KIB: u32 = 64 << 10;
/// Longest wait for the peer while closing.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// Longest sleep at a time of a worker over its rate.
const MAX_PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests;
