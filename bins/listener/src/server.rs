//! The accept loop: who may come in, how many, and what is said of those who may not.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use delivery::Code;
use pki::{Accepted, Mode, Refusal};
use service::Seldom;
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tracing::Instrument as _;

use crate::config::Limits;
use crate::metrics::count;
use crate::session::{Acknowledged, End, Plain, Shared, turn_away};
use crate::workers::Workers;

/// Accepts connections and owns their tasks.
pub(crate) struct Server {
    listener: TcpListener,
    limits: Limits,
    door: Arc<Door>,
    stop: watch::Receiver<bool>,
}

/// What a connection needs on its way in.
struct Door {
    shared: Arc<Shared>,
    workers: Arc<Workers>,
    limits: Limits,
    connections: Arc<Semaphore>,
    handshakes: Semaphore,
    /// One line per address, reason and minute.
    quiet: Seldom<(IpAddr, &'static str)>,
}

impl Server {
    pub(crate) fn new(
        listener: TcpListener,
        limits: Limits,
        shared: Arc<Shared>,
        workers: Arc<Workers>,
    ) -> Server {
        let stop = shared.stop.clone();
        let door = Door {
            shared,
            workers,
            limits,
            connections: Arc::new(Semaphore::new(limits.connections)),
            handshakes: Semaphore::new(limits.handshakes),
            quiet: Seldom::new(QUIET),
        };
        Server {
            listener,
            limits,
            door: Arc::new(door),
            stop,
        }
    }

    /// Serves until the stop, then waits for the connections to end by it.
    pub(crate) async fn run(mut self) {
        let mut tasks = JoinSet::new();
        let full = Seldom::new(QUIET);
        loop {
            let accepted = tokio::select! {
                biased;
                _ = self.stop.wait_for(|stop| *stop) => break,
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                    report_panic(ended);
                    continue;
                }
                accepted = self.listener.accept() => accepted,
            };
            let (tcp, addr) = match accepted {
                Ok(accepted) => accepted,
                Err(e) => {
                    accept_failed(&e, &full).await;
                    continue;
                }
            };
            let span = tracing::info_span!("connection", client.addr = %addr);
            match Arc::clone(&self.door.connections).try_acquire_owned() {
                Ok(permit) => {
                    tasks.spawn(
                        Arc::clone(&self.door)
                            .enter(tcp, addr, permit)
                            .instrument(span),
                    );
                }
                Err(_) => span.in_scope(|| {
                    self.door
                        .refuse(addr, "connections", &"as many connections as may be");
                }),
            }
        }
        // Nobody new: the port is closed before those who are here are asked to go.
        drop(self.listener);
        let all = async {
            while let Some(ended) = tasks.join_next().await {
                report_panic(ended);
            }
        };
        if tokio::time::timeout(self.limits.drain, all).await.is_err() {
            tracing::warn!("connections did not end in time, aborted");
            tasks.shutdown().await;
        }
    }
}

impl Door {
    async fn enter(
        self: Arc<Door>,
        tcp: TcpStream,
        addr: SocketAddr,
        _permit: OwnedSemaphorePermit,
    ) {
        let metrics = &self.shared.metrics;
        metrics.connections.inc();
        self.serve(tcp, addr).await;
        metrics.connections.dec();
    }

    async fn serve(&self, tcp: TcpStream, addr: SocketAddr) {
        let mut stop = self.shared.stop.clone();
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = self.handshake(tcp) => accepted,
        };
        let Accepted {
            stream, peer, mode, ..
        } = match accepted {
            Ok(accepted) => accepted,
            Err(refusal) => return self.refuse(addr, refusal.code(), &refusal),
        };
        let name = peer.name.clone();
        let crowds = mode == Mode::Acknowledged;
        let joined = match self.workers.join(name.as_str(), crowds) {
            Ok(Some(joined)) => joined,
            Ok(None) => {
                let why = format!("{name} has as many as it may");
                self.refuse(addr, "worker_connections", &why);
                if mode == Mode::Acknowledged {
                    let shared = Arc::clone(&self.shared);
                    turn_away(stream, shared, Code::Limit, &why).await;
                }
                return;
            }
            Err(e) => return self.refuse(addr, "bad_name", &e),
        };
        self.shared.metrics.accepted.inc();
        let worker = Arc::clone(&joined.worker);
        let fingerprint = peer.fingerprint;
        tracing::info!(worker = worker.name(), %fingerprint, mode = mode_name(mode), "connected");
        let shared = Arc::clone(&self.shared);
        let end = match mode {
            Mode::Acknowledged => {
                let session = Acknowledged::new(stream, peer, &joined, shared);
                session.run().await
            }
            _ => {
                let session = Plain::new(stream, peer, Arc::clone(&worker), shared);
                session.run().await
            }
        };
        if joined.full && matches!(end, End::Declined(Code::Limit)) {
            let why = format!("{} has as many as it may", worker.name());
            self.refuse(addr, "worker_connections", &why);
        }
        self.report(addr, worker.name(), &end);
    }

    /// A handshake, with all that it has to wait for.
    async fn handshake(&self, tcp: TcpStream) -> Result<Accepted<BufReader<TcpStream>>, Refusal> {
        let limit = self.limits.handshake;
        let handshake = async {
            prepare(&tcp);
            // Whoever says nothing takes nobody's turn. To be readable is not enough: a new socket may be called so. What
            // fails here fails the handshake as well.
            let _ = tcp.peek(&mut [0]).await;
            // Never closed.
            let _turn = self.handshakes.acquire().await.ok();
            let tcp = BufReader::with_capacity(RECEIVE_BYTES, tcp);
            self.shared.tls.accept(tcp, limit).await
        };
        let accepted = tokio::time::timeout(limit, handshake).await;
        accepted.unwrap_or(Err(Refusal::Timeout(limit)))
    }

    /// Says once per address, reason and minute that a connection was turned away, and why.
    fn refuse(&self, addr: SocketAddr, code: &'static str, why: &dyn std::fmt::Display) {
        count(&self.shared.metrics.refused, "reason", code, 1);
        if let Some(suppressed) = self.quiet.allow((addr.ip(), code), Instant::now()) {
            tracing::warn!(reason = %why, suppressed, "connection refused");
        }
    }

    fn report(&self, addr: SocketAddr, worker: &str, end: &End) {
        let metrics = &self.shared.metrics;
        count(&metrics.closed, "reason", end.name(), 1);
        let key = match end {
            End::Framing { fault, .. } => {
                count(&metrics.framing_errors, "error", fault.name(), 1);
                fault.name()
            }
            End::Refused(refusal) => {
                count(&metrics.refused, "reason", refusal.code(), 1);
                refusal.code()
            }
            End::Stuck { .. } => end.name(),
            End::Violation(what) => what,
            End::Declined(_) | End::Void => end.name(),
            End::Broken(error) => return tracing::info!(worker, %error, "connection broken"),
            _ => return tracing::info!(worker, reason = end.name(), "closed"),
        };
        let Some(suppressed) = self.quiet.allow((addr.ip(), key), Instant::now()) else {
            return;
        };
        match end {
            End::Framing { fault, offset } => {
                tracing::warn!(worker, offset, error = %fault, suppressed, "closed: framing broken");
            }
            End::Refused(refusal) => {
                tracing::warn!(worker, reason = %refusal, suppressed, "closed: no longer served");
            }
            End::Stuck { offset } => {
                tracing::warn!(
                    worker,
                    offset,
                    suppressed,
                    "closed: no progress inside a frame"
                );
            }
            End::Violation(what) => {
                tracing::warn!(worker, what, suppressed, "closed: protocol broken");
            }
            End::Declined(code) => {
                tracing::info!(worker, ?code, suppressed, "closed: refused");
            }
            End::Void => {
                tracing::warn!(
                    worker,
                    suppressed,
                    "closed: what it wrote does not stand, it comes again"
                );
            }
            End::Clean | End::Broken(_) | End::Idle | End::Stop => {}
        }
    }
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Acknowledged => "acknowledged",
        _ => "plain",
    }
}

/// Asks the kernel to find dead peers, and to send small answers at once.
fn prepare(tcp: &TcpStream) {
    use rustix::net::sockopt;
    let set = || {
        sockopt::set_tcp_nodelay(tcp, true)?;
        sockopt::set_socket_keepalive(tcp, true)?;
        sockopt::set_tcp_keepidle(tcp, Duration::from_secs(60))?;
        sockopt::set_tcp_keepintvl(tcp, Duration::from_secs(10))?;
        sockopt::set_tcp_keepcnt(tcp, 6)
    };
    if let Err(error) = set() {
        tracing::debug!(error = %io::Error::from(error), "a socket option can't be set");
    }
}

/// Survives a failed accept: out of descriptors, the loop waits instead of spinning.
async fn accept_failed(error: &io::Error, quiet: &Seldom) {
    if quiet.allow((), Instant::now()).is_some() {
        tracing::error!(%error, "accept failed");
    }
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

fn report_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked");
    }
}

/// Read from a socket at a time: TLS alone would ask for a record or less, and each answer costs a system call and
/// often a packet. A connection that is quiet never touches most of it.
const RECEIVE_BYTES: usize = 64 << 10;
/// How long the same address is not logged again.
const QUIET: Duration = Duration::from_secs(60);
/// The pause after an accept that failed: descriptors are short, and spinning frees none.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
