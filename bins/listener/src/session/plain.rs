//! A plain connection (RFC 5425): frames go in as they come, and nobody is told of it.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use framing::{Batch, Decoder, Frame};
use pki::Peer;
use tokio::io::{AsyncBufRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Semaphore, watch};

use super::inbound::Inbound;
use super::{CLOSE_LIMIT, End, MAX_PAUSE, Shared, unix_ms};
use crate::intake::{Closed, Intake};
use crate::workers::Worker;

/// What happens next on a connection.
enum Event {
    Read(io::Result<usize>),
    Recheck,
    Stop,
    Late,
}

/// A connection whose peer is known.
pub(crate) struct Plain<IO> {
    pub(crate) io: IO,
    pub(crate) peer: Peer,
    pub(crate) worker: Arc<Worker>,
    pub(crate) shared: Arc<Shared>,
    inbound: Inbound,
    /// Octets of whole frames before `buf`.
    offset: u64,
    own: Arc<Semaphore>,
    generation: watch::Receiver<u64>,
    stop: watch::Receiver<bool>,
}

impl<IO: AsyncBufRead + AsyncWrite + Unpin> Plain<IO> {
    pub(crate) fn new(io: IO, peer: Peer, worker: Arc<Worker>, shared: Arc<Shared>) -> Plain<IO> {
        Plain {
            io,
            peer,
            worker,
            inbound: Inbound::new(Arc::clone(&shared)),
            offset: 0,
            own: Intake::share(),
            generation: shared.tls.generation(),
            stop: shared.stop.clone(),
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
                Event::Late if self.inbound.buf.is_empty() => return Ok(End::Idle),
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
        let limit = if self.inbound.buf.is_empty() {
            self.shared.idle_limit
        } else {
            self.shared.frame_limit
        };
        self.inbound.fit();
        let Plain {
            io,
            inbound,
            generation,
            stop,
            ..
        } = self;
        let read = async {
            if let Some(room) = inbound.needs() {
                let room = room.wait().await;
                inbound.grant(room);
            }
            // The wait for room does not count.
            let fill = poll_fn(|cx| inbound.poll_fill(Pin::new(&mut *io), cx));
            tokio::time::timeout(limit, fill).await
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Event::Stop,
            Ok(()) = generation.changed() => Event::Recheck,
            read = read => read.map_or(Event::Late, Event::Read),
        }
    }

    /// Hands on the whole frames that are there; the session's end, if something breaks the framing.
    async fn take(&mut self, read: usize) -> Result<Option<End>, Closed> {
        self.inbound.took(read);
        let decoder = Decoder::new(self.shared.max_frame);
        let (batch, end) = match decoder.whole(&self.inbound.buf) {
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
        let error = framing::at_eof(&self.inbound.buf).err()?;
        Some(End::Framing {
            fault: error.fault,
            offset: self.offset + error.at as u64,
        })
    }

    async fn send(&mut self, decoder: Decoder, batch: Batch) -> Result<(), Closed> {
        let whole = self.inbound.split(batch.len, batch.len);
        self.offset += batch.len as u64;
        let metrics = &self.shared.metrics;
        metrics.frames.inc_by(batch.frames as u64);
        metrics.bytes.inc_by(batch.len as u64);
        if self.shared.counts_invalid {
            metrics
                .invalid_frames
                .inc_by(count_invalid(decoder, &whole));
        }
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

/// As the merger counts them when it makes records.
fn count_invalid(decoder: Decoder, mut bytes: &[u8]) -> u64 {
    let mut invalid = 0;
    while let Ok(Some((frame, consumed))) = decoder.decode(bytes) {
        let (Frame::Message(message) | Frame::Control(message)) = frame;
        let text = message.strip_suffix(b"\n").unwrap_or(message);
        invalid += u64::from(!rfc5424::decnet::accepts(text));
        bytes = &bytes[consumed..];
    }
    invalid
}

#[cfg(test)]
mod tests;
