//! A connection that is read and written at once, by one task.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::Shared;
use super::inbound::Inbound;

/// Both directions of a connection. What is to be written waits in a buffer, so that a peer that does not read holds
/// up nothing but itself.
#[derive(Debug)]
pub(super) struct Wire<IO> {
    io: IO,
    pub(super) inbound: Inbound,
    out: BytesMut,
    /// The last of it is on its way through TLS.
    flushing: bool,
    /// When the peer last took something.
    moved: Instant,
}

/// What happened.
#[derive(Debug)]
pub(super) enum Moved {
    /// So many octets came; zero is the end.
    Read(io::Result<usize>),
    /// Everything is written.
    Wrote(io::Result<()>),
}

impl<IO: AsyncBufRead + AsyncWrite + Unpin> Wire<IO> {
    pub(super) fn new(io: IO, shared: Arc<Shared>) -> Wire<IO> {
        Wire {
            io,
            inbound: Inbound::new(shared),
            out: BytesMut::new(),
            flushing: false,
            moved: Instant::now(),
        }
    }

    /// Adds a control message to what is to be written.
    pub(super) fn control(&mut self, json: &[u8]) {
        if self.is_quiet() {
            self.moved = Instant::now();
        }
        let mut frame = Vec::with_capacity(json.len() + 8);
        framing::encode_control(json, &mut frame);
        self.out.extend_from_slice(&frame);
    }

    /// Octets that wait.
    pub(super) fn waiting(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing waits to be written.
    pub(super) fn is_quiet(&self) -> bool {
        self.out.is_empty() && !self.flushing
    }

    /// Since when the peer has taken nothing of what waits for it.
    pub(super) fn stuck_since(&self) -> Option<Instant> {
        (!self.is_quiet()).then_some(self.moved)
    }

    /// Writes what waits, and reads if it may.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, read: bool) -> Poll<Moved> {
        match self.poll_out(cx) {
            Poll::Ready(Ok(false)) | Poll::Pending => {}
            Poll::Ready(Ok(true)) => return Poll::Ready(Moved::Wrote(Ok(()))),
            Poll::Ready(Err(e)) => return Poll::Ready(Moved::Wrote(Err(e))),
        }
        if read {
            let io = Pin::new(&mut self.io);
            return self.inbound.poll_fill(io, cx).map(Moved::Read);
        }
        Poll::Pending
    }

    /// Whether there was something to write, and it is written.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        while !self.out.is_empty() {
            match Pin::new(&mut self.io).poll_write(cx, &self.out) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    self.out.advance(n);
                    self.flushing = true;
                    self.moved = Instant::now();
                }
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if !self.flushing {
            return Poll::Ready(Ok(false));
        }
        Pin::new(&mut self.io).poll_flush(cx).map_ok(|()| {
            self.flushing = false;
            self.out = BytesMut::new();
            true
        })
    }

    /// Writes what waits and takes leave: `close_notify`, and for a moment what the peer still sends is read, because
    /// a socket closed with unread bytes in it is reset, and the reset can overtake what was said last.
    pub(super) async fn close(mut self, limit: Duration) {
        let leave = async {
            while !self.is_quiet() {
                std::future::poll_fn(|cx| self.poll_out(cx)).await?;
            }
            self.io.shutdown().await?;
            let mut left = LINGER_BYTES;
            loop {
                let octets = self.io.fill_buf().await?.len();
                if octets == 0 || left < octets {
                    return io::Result::Ok(());
                }
                left -= octets;
                self.io.consume(octets);
            }
        };
        // Whatever comes of it, the connection is over.
        let _ = tokio::time::timeout(limit, leave).await;
    }
}

/// What a peer may still send before it learns that the connection is over, in bytes.
const LINGER_BYTES: usize = 8 << 20;
