//! The plaintext of a connection on its way into frames: how much is read at a time, and kept.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncBufRead;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Shared;

/// What was read of one connection and is not whole frames yet.
#[derive(Debug)]
pub(super) struct Inbound {
    shared: Arc<Shared>,
    pub(super) buf: BytesMut,
    large: Option<OwnedSemaphorePermit>,
    chunk: usize,
}

impl Inbound {
    /// Of a connection that has just come.
    pub(super) fn new(shared: Arc<Shared>) -> Inbound {
        shared.sessions.fetch_add(1, Ordering::Relaxed);
        Inbound {
            shared,
            buf: BytesMut::new(),
            large: None,
            chunk: MIN_CHUNK,
        }
    }

    /// Reads no more at a time than this connection's share of the memory, and holds no buffer between frames. To be
    /// called before each read.
    pub(super) fn fit(&mut self) {
        let sessions = self.shared.sessions.load(Ordering::Relaxed).max(1);
        self.chunk = self
            .chunk
            .min((READ_BYTES / sessions).clamp(MIN_CHUNK, MAX_CHUNK));
        if self.buf.is_empty() {
            self.buf = BytesMut::new();
            self.large = None;
        }
    }

    /// So much was read: as much as the peer fills, so that a busy one saves wakes and a quiet one memory.
    pub(super) fn took(&mut self, read: usize) {
        if read >= self.chunk {
            self.chunk = (self.chunk * 2).min(MAX_CHUNK);
        } else if read < self.chunk / 4 {
            self.chunk = (self.chunk / 2).max(MIN_CHUNK);
        }
    }

    /// Takes octets out of the front; the first `len` of them are to be kept while others are read.
    pub(super) fn split(&mut self, taken: usize, len: usize) -> Bytes {
        split(&mut self.buf, self.chunk, taken, len)
    }

    /// Room that a large frame needs before more of it is read.
    pub(super) fn needs(&self) -> Option<Room> {
        let room = Room {
            all: Arc::clone(&self.shared.large),
            kib: (self.shared.max_frame / 1024 + 1).min(LARGE_KIB),
        };
        (self.buf.len() >= OWN_FRAME && self.large.is_none()).then_some(room)
    }

    /// That room.
    pub(super) fn grant(&mut self, room: Option<OwnedSemaphorePermit>) {
        self.large = room;
    }

    /// Reads what is there, at most a chunk. Zero is the end.
    pub(super) fn poll_fill<IO: AsyncBufRead>(
        &mut self,
        io: Pin<&mut IO>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        poll_fill(io, cx, &mut self.buf, self.chunk)
    }
}

/// Reads at most `most` octets until nothing more is there: one wake, one batch. Zero is the end.
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

/// The first `len` of the octets that are taken out of the front. The queue would hold on to the whole allocation that
/// they are in, so a few are copied out of it: what waits takes at most twice the memory that it is counted with.
fn split(buf: &mut BytesMut, chunk: usize, taken: usize, len: usize) -> Bytes {
    let mut kept = buf.split_to(taken);
    if len < chunk / 2 {
        return Bytes::copy_from_slice(&kept[..len]);
    }
    kept.truncate(len);
    kept.freeze()
}

impl Drop for Inbound {
    fn drop(&mut self) {
        self.shared.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Room for a large frame, to be waited for.
#[derive(Debug)]
pub(super) struct Room {
    all: Arc<Semaphore>,
    kib: u32,
}

impl Room {
    pub(super) async fn wait(self) -> Option<OwnedSemaphorePermit> {
        // Never closed: the semaphore lives as long as the sessions.
        self.all.acquire_many_owned(self.kib).await.ok()
    }
}

/// Memory that all sessions together read into, in bytes.
const READ_BYTES: usize = 32 << 20;
/// Least and most that a session reads at a time, in bytes. A TLS record has 16 KiB.
const MIN_CHUNK: usize = 16 << 10;
const MAX_CHUNK: usize = 120 << 10;
/// A frame up to this size needs no room of its own, in bytes.
const OWN_FRAME: usize = 64 << 10;
/// Room for larger frames, of all sessions together, in KiB.
pub(crate) const LARGE_KIB: u32 = 64 << 10;

#[cfg(test)]
mod tests;
