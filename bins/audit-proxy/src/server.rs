//! Accepts connections, and at the stop takes in what had come by then.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::Shutdown;
use service::Seldom;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::config::Limits;
use crate::connection;
use crate::event::{Client, Event, Peer, raised};
use crate::metrics::Metrics;
use crate::socket::Socket;

/// The accepting end.
#[derive(Debug)]
pub(crate) struct Server {
    /// `None` once the queue is taken in.
    listener: Option<UnixListener>,
    ours: bool,
    limits: Limits,
    metrics: Metrics,
    events: mpsc::Sender<Event>,
    stop: watch::Receiver<bool>,
    next_conn: u64,
    clients: JoinSet<()>,
    seldom: Seldom,
}

impl Server {
    /// Serves on `socket`; connections are numbered from `next_conn` on.
    ///
    /// # Errors
    /// The system refuses to watch the socket.
    pub(crate) fn new(
        socket: Socket,
        limits: Limits,
        metrics: Metrics,
        events: mpsc::Sender<Event>,
        stop: watch::Receiver<bool>,
        next_conn: u64,
    ) -> io::Result<Self> {
        socket.listener.set_nonblocking(true)?;
        Ok(Self {
            listener: Some(UnixListener::from_std(socket.listener)?),
            ours: socket.ours,
            limits,
            metrics,
            events,
            stop,
            next_conn,
            clients: JoinSet::new(),
            seldom: Seldom::new(Duration::from_secs(60)),
        })
    }

    /// Serves until the stop, and then until everything that clients had written is handed on. What connected after
    /// the stop was refused, and keeps what it has; with a socket of systemd's it waits there for the next process.
    pub(crate) async fn run(mut self) {
        let mut stopped = self.stop.clone();
        loop {
            self.has_room().await;
            let Some(listener) = &self.listener else {
                break;
            };
            tokio::select! {
                biased;
                () = raised(&mut stopped) => break,
                Some(_) = self.clients.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => self.take(stream),
                    Err(error) => {
                        if let Some(left_out) = self.seldom.allow((), Instant::now()) {
                            warn!(%error, left_out, "connection not accepted");
                        }
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        if self.ours {
            self.take_queued().await;
        }
        while self.clients.join_next().await.is_some() {}
        self.metrics.connections.set(0);
    }

    /// Takes in the connections that wait. From here on connecting is refused, so the queue has an end.
    async fn take_queued(&mut self) {
        // Not tokio's: it would try a shut socket again and again.
        let Some(listener) = self
            .listener
            .take()
            .and_then(|listener| listener.into_std().ok())
        else {
            return;
        };
        if let Err(error) = rustix::net::shutdown(&listener, Shutdown::Read) {
            warn!(%error, "socket can't be shut");
        }
        loop {
            self.has_room().await;
            let accepted = listener.accept().and_then(|(stream, _)| {
                stream.set_nonblocking(true)?;
                UnixStream::from_std(stream)
            });
            match accepted {
                Ok(stream) => self.take(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    warn!(%error, "connections that waited are not accepted");
                    return;
                }
            }
        }
    }

    /// Waits while all connections are taken: others stay in the kernel's queue, with what they have written. To
    /// accept and close them would lose that.
    async fn has_room(&mut self) {
        while self.clients.try_join_next().is_some() {}
        if self.clients.len() >= self.limits.connections {
            if let Some(left_out) = self.seldom.allow((), Instant::now()) {
                warn!(
                    connections = self.clients.len(),
                    left_out, "all connections are taken, others wait"
                );
            }
            let mut stopped = self.stop.clone();
            tokio::select! {
                _ = self.clients.join_next() => {}
                // Then clients end by themselves.
                () = raised(&mut stopped), if !*self.stop.borrow() => {}
            }
        }
        self.count();
    }

    fn take(&mut self, stream: UnixStream) {
        let cred = stream.peer_cred().ok();
        let peer = Peer {
            pid: cred.as_ref().and_then(tokio::net::unix::UCred::pid),
            uid: cred.as_ref().map(tokio::net::unix::UCred::uid),
            gid: cred.as_ref().map(tokio::net::unix::UCred::gid),
        };
        let conn = self.next_conn;
        self.next_conn += 1;
        debug!(conn, pid = peer.pid, uid = peer.uid, "connected");
        let client = Arc::new(Client { conn, peer });
        self.metrics.accepted.inc();
        let events = self.events.clone();
        let (timeout, stop) = (self.limits.frame_timeout, self.stop.clone());
        self.clients
            .spawn(connection::serve(stream, client, events, timeout, stop));
        self.count();
    }

    fn count(&self) {
        let open = i64::try_from(self.clients.len()).unwrap_or(i64::MAX);
        self.metrics.connections.set(open);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.clients.is_empty() {
            info!(connections = self.clients.len(), "connections cut");
        }
    }
}

/// The pause after an accept that failed: descriptors are short, and spinning frees none.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
