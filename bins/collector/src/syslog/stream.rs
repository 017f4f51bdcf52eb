//! Connections on which messages are counted or end with an LF (RFC 6587).

use std::{io, net::SocketAddr, time::Duration};

use bytes::{Buf as _, BytesMut};
use docker_demux::Part;
use framing::{FrameError, Mixed, Piece};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::Instant,
};
use tracing::{debug, warn};

use super::{
    Config, DRAIN, SETTLE,
    intake::{Basket, Intake},
};
use crate::source::Cause;

/// Accepts connections and serves them until told to stop; then those that wait, and what they have written.
pub(super) async fn serve(
    listener: TcpListener,
    intake: Intake,
    config: Config,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let told = stop.clone();
    let open = |accepted: io::Result<(TcpStream, SocketAddr)>, tasks: &mut JoinSet<()>| {
        match accepted {
            Ok((_, peer)) if !peer.ip().to_canonical().is_loopback() => {
                intake.refuse(peer);
            }
            Ok((stream, peer)) => {
                let connection = Connection {
                    stream,
                    peer,
                    intake: intake.clone(),
                    mixed: Mixed::new(config.max_message),
                    buf: BytesMut::new(),
                    line: None,
                };
                tasks.spawn(connection.serve(config.idle, told.clone()));
            }
            // The next one may be better: a sender that has gone, or no descriptor free.
            Err(error) => warn!(%error, "can't accept a syslog connection"),
        }
    };
    loop {
        intake
            .metrics
            .connections
            .set(i64::try_from(connections.len()).unwrap_or(i64::MAX));
        tokio::select! {
            biased;
            () = super::told(&mut stop) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < config.connections => {
                let failed = accepted.is_err();
                open(accepted, &mut connections);
                if failed {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
    while let Ok(Ok(accepted)) = tokio::time::timeout(SETTLE, listener.accept()).await {
        open(Ok(accepted), &mut connections);
        if connections.len() >= config.connections {
            break;
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    intake.metrics.connections.set(0);
}

/// One sender.
struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    intake: Intake,
    mixed: Mixed,
    buf: BytesMut,
    /// The over-long line that is under way: its number, and that of its next part.
    line: Option<(u64, u32)>,
}

/// How a connection ended.
enum End {
    /// The sender closed it, or the program stops.
    Over,
    /// Nothing came for too long.
    Idle,
    /// The sender broke the framing.
    Malformed(FrameError),
    /// The writer is gone: the program stops with a full disk.
    Closed,
}

impl Connection {
    async fn serve(mut self, idle: Duration, stop: watch::Receiver<bool>) {
        let end = self.receive(idle, stop).await;
        let transport = self.intake.transport.as_str();
        match end {
            Ok(End::Over) => self.finish().await,
            Ok(End::Idle) => {
                self.intake.metrics.idle.inc();
                debug!(peer = %self.peer, transport, "syslog connection closed: it was silent");
                self.finish().await;
            }
            Ok(End::Malformed(error)) => {
                let bytes = self.buf.len() as u64;
                self.intake
                    .broken(Cause::Malformed, self.peer, error, bytes);
            }
            Ok(End::Closed) => self.give_up(),
            Err(error) => {
                debug!(peer = %self.peer, %error, "syslog connection failed");
                self.finish().await;
            }
        }
    }

    /// Reads and hands over; with a stop what has arrived by then.
    async fn receive(
        &mut self,
        idle: Duration,
        mut stop: watch::Receiver<bool>,
    ) -> io::Result<End> {
        let mut until = None;
        loop {
            tokio::select! {
                biased;
                () = super::told(&mut stop), if until.is_none() => {
                    until = Some(Instant::now() + DRAIN);
                    continue;
                }
                ready = self.stream.readable() => ready?,
                () = tokio::time::sleep(SETTLE), if until.is_some() => return Ok(End::Over),
                () = tokio::time::sleep(idle), if until.is_none() => return Ok(End::Idle),
            }
            if self.intake.is_closed() {
                return Ok(End::Closed);
            }
            self.buf.reserve(READ);
            match self.stream.try_read_buf(&mut self.buf) {
                Ok(0) => return Ok(End::Over),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if let Some(end) = self.hand_over().await {
                return Ok(end);
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(End::Over);
            }
        }
    }

    /// Hands over the messages that are whole.
    async fn hand_over(&mut self) -> Option<End> {
        loop {
            let mut at = 0;
            let mut basket: Option<Basket> = None;
            let fault = loop {
                match self.mixed.decode(&self.buf[at..]) {
                    Ok(Some((piece, consumed))) => {
                        let mut held = match basket.take() {
                            Some(held) => held,
                            None => self.intake.basket().await,
                        };
                        put(piece, &mut held, &mut self.line);
                        at += consumed;
                        if basket.insert(held).is_full() {
                            break None;
                        }
                    }
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            };
            self.buf.advance(at);
            let more = basket.as_ref().is_some_and(Basket::is_full);
            if let Some(basket) = basket
                && !self.intake.hand_over(basket).await
            {
                return Some(End::Closed);
            }
            if let Some(error) = fault {
                return Some(End::Malformed(error));
            }
            if !more {
                break;
            }
        }
        if self.buf.is_empty() && self.buf.capacity() > KEPT {
            self.buf = BytesMut::new();
        }
        None
    }

    /// Counts what was read and has nowhere to go, a message that has only begun too.
    fn give_up(mut self) {
        let mut messages = 0;
        while let Ok(Some((_, consumed))) = self.mixed.decode(&self.buf) {
            self.buf.advance(consumed);
            messages += 1;
        }
        messages += u64::from(!self.buf.is_empty());
        self.intake.stranded(messages);
    }

    /// Hands over a line without its LF at the end of the stream; half a counted message is lost.
    async fn finish(mut self) {
        match self.mixed.finish(&self.buf) {
            Ok(None) => {}
            Ok(Some(piece)) => {
                let mut basket = self.intake.basket().await;
                put(piece, &mut basket, &mut self.line);
                self.intake.hand_over(basket).await;
            }
            Err(error) => {
                let bytes = self.buf.len() as u64;
                self.intake
                    .broken(Cause::Incomplete, self.peer, error, bytes);
            }
        }
    }
}

/// Puts a piece into the basket; `line` is the over-long line that is under way.
fn put(piece: Piece<'_>, basket: &mut Basket, line: &mut Option<(u64, u32)>) {
    match piece {
        Piece::Message(octets) => basket.message(octets),
        Piece::Part { octets, last } => {
            let stamp = u64::try_from(basket.now_ns()).unwrap_or_default();
            let (number, n) = line.unwrap_or((stamp, 0));
            let part = Part {
                line: number,
                n,
                last,
            };
            basket.part(octets, part);
            *line = (!last).then_some((number, n + 1));
        }
    }
}

/// Octets read at a time.
const READ: usize = 64 << 10;
/// An idle connection keeps no larger buffer.
const KEPT: usize = 128 << 10;
/// Between two tries when no descriptor is free.
const PAUSE: Duration = Duration::from_millis(100);
