//! One TLS connection to a master: made with limits, written in large pieces, its read side always watched.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use pki::{ALPN_ACKNOWLEDGED, ConnectProblem};
use rustix::net::sockopt;
use rustls::ProtocolVersion;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::Master;
use crate::identity::Identities;
use crate::limits::Limits;
use crate::sendq;

mod outbox;

pub(crate) use outbox::Outbox;

/// Bytes that a plain receiver may send us. RFC 5425 has nothing for it to say; more than a little is not a syslog
/// receiver.
const MAX_CHATTER: u64 = 64 << 10;
/// Bytes of an acknowledged peer that wait to be heard: two of its longest messages.
const MAX_INBOX: usize = 2 * delivery::control::MAX_CONTROL;
/// How long the kernel's table of sockets is left alone after a look, as a multiple of what the look took.
const PACE: u32 = 50;

/// An established connection.
#[derive(Debug)]
pub(crate) struct Connection {
    tls: TlsStream<Counted>,
    inode: u64,
    v6: bool,
    /// The peer has surely judged our certificate (TLS 1.2), or may still do so.
    judged: bool,
    since: Instant,
    chatter: u64,
    ended: bool,
    /// What broke the connection, behind bytes that were heard before.
    failed: Option<io::Error>,
    next_look: Instant,
    acknowledged: u64,
    /// Written and flushed up to here at this time, oldest first; for hosts without `/proc/self/net`.
    unacknowledged: Duration,
}

/// How a peer ended the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeerEnd {
    /// By `close_notify`: it has read everything up to ours.
    Orderly,
    /// Without one, or not in time.
    Abrupt,
}

impl Connection {
    /// Connects to `master`: name, TCP, TLS, each within its limit.
    ///
    /// # Errors
    /// What went wrong, in words for the log.
    pub(crate) async fn open(
        master: &Master,
        identities: &Identities,
        alpn: &[&[u8]],
        limits: &Limits,
    ) -> anyhow::Result<Self> {
        let tcp = timeout(limits.connect, connect(master, limits))
            .await
            .with_context(|| format!("no TCP connection within {:?}", limits.connect))??;
        let config = identities.config(alpn).context("use the identity")?;
        let inode = rustix::fs::fstat(&tcp)
            .context("ask for the socket's inode")?
            .st_ino;
        let v6 = tcp.peer_addr().is_ok_and(|addr| addr.is_ipv6());
        let counted = Counted { tcp, written: 0 };
        let handshake = TlsConnector::from(config).connect(pki::server_name(&master.host), counted);
        let tls = timeout(limits.handshake, handshake)
            .await
            .with_context(|| format!("no TLS handshake within {:?}", limits.handshake))?
            .map_err(|error| ConnectProblem::of(&error))?;
        let judged = tls.get_ref().1.protocol_version() != Some(ProtocolVersion::TLSv1_3);
        let now = Instant::now();
        Ok(Self {
            tls,
            inode,
            v6,
            judged,
            since: now,
            chatter: 0,
            ended: false,
            failed: None,
            next_look: now,
            acknowledged: 0,
            unacknowledged: limits.unacknowledged,
        })
    }

    /// Writes `bytes` and hands all of it to the kernel. Meanwhile reads: an alert or an end of the peer is an error at
    /// once, however full the pipe is.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), ConnectProblem> {
        let mut done = 0;
        std::future::poll_fn(|cx| {
            self.poll_peer(cx)?;
            while done < bytes.len() {
                match Pin::new(&mut self.tls).poll_write(cx, &bytes[done..]) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(more)) => done += more,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => return Poll::Pending,
                }
            }
            Pin::new(&mut self.tls).poll_flush(cx)
        })
        .await
        .map_err(|error| ConnectProblem::of(&error))
    }

    /// Whether the peer has agreed to the acknowledged protocol.
    pub(crate) fn speaks_acknowledged(&self) -> bool {
        self.tls.get_ref().1.alpn_protocol() == Some(ALPN_ACKNOWLEDGED)
    }

    /// Moves bytes both ways, until all of `out` is with the kernel or something came into `inbox`. Cancel safe.
    ///
    /// # Errors
    /// The connection is of no use any more, and everything that came before is in `inbox`.
    pub(crate) async fn exchange(
        &mut self,
        out: &mut Outbox,
        inbox: &mut Vec<u8>,
    ) -> Result<(), ConnectProblem> {
        std::future::poll_fn(|cx| {
            let came = self.poll_inbox(cx, inbox)?;
            let wrote = self.poll_outbox(cx, out)?;
            if came || wrote {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            }
        })
        .await
        .map_err(|error: io::Error| ConnectProblem::of(&error))
    }

    fn poll_inbox(&mut self, cx: &mut Context<'_>, inbox: &mut Vec<u8>) -> io::Result<bool> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let before = inbox.len();
        let mut bytes = [0; 4096];
        while inbox.len() < MAX_INBOX && !self.ended {
            let mut buf = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.tls).poll_read(cx, &mut buf) {
                Poll::Pending => break,
                // What came before the end is heard first.
                Poll::Ready(Err(error)) if inbox.len() > before => {
                    self.failed = Some(error);
                    break;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Ready(Ok(())) if buf.filled().is_empty() => self.ended = true,
                Poll::Ready(Ok(())) => inbox.extend_from_slice(buf.filled()),
            }
        }
        if self.ended && inbox.len() == before {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the master ended the connection",
            ));
        }
        Ok(inbox.len() > before)
    }

    fn poll_outbox(&mut self, cx: &mut Context<'_>, out: &mut Outbox) -> io::Result<bool> {
        if out.is_empty() {
            return Ok(false);
        }
        while out.done < out.bytes.len() {
            match Pin::new(&mut self.tls).poll_write(cx, &out.bytes[out.done..]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(more)) => out.done += more,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(false),
            }
        }
        match Pin::new(&mut self.tls).poll_flush(cx) {
            Poll::Ready(flushed) => flushed.map(|()| {
                out.clear();
                true
            }),
            Poll::Pending => Ok(false),
        }
    }

    /// Waits until the peer ends or breaks the connection. Cancel safe.
    pub(crate) async fn peer_gone(&mut self) -> ConnectProblem {
        let error = std::future::poll_fn(|cx| match self.poll_peer(cx) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(error),
        })
        .await;
        ConnectProblem::of(&error)
    }

    /// Whether the connection is still good, as far as what has arrived says.
    ///
    /// # Errors
    /// It is not.
    pub(crate) async fn healthy(&mut self) -> Result<(), ConnectProblem> {
        std::future::poll_fn(|cx| Poll::Ready(self.poll_peer(cx)))
            .await
            .map_err(|error| ConnectProblem::of(&error))
    }

    /// Reads what there is. A plain receiver says nothing: what it says all the same is passed over, its end is ours.
    fn poll_peer(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut bytes = [0; 512];
        loop {
            if self.ended {
                return Err(io::Error::new(
                    io::ErrorKind::ConnectionAborted,
                    "the master ended the connection",
                ));
            }
            let mut buf = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.tls).poll_read(cx, &mut buf) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Ready(Ok(())) if buf.filled().is_empty() => self.ended = true,
                Poll::Ready(Ok(())) => {
                    self.chatter += buf.filled().len() as u64;
                    if self.chatter > MAX_CHATTER {
                        let what = format!(
                            "the other side sent more than {MAX_CHATTER} bytes: no syslog receiver does"
                        );
                        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                    }
                }
            }
        }
    }

    /// Bytes handed to the kernel since the connection was made, as they are on the wire.
    pub(crate) fn written(&self) -> u64 {
        self.tls.get_ref().0.written
    }

    /// How many of them the peer's TCP has for sure. Looks at the kernel's table, or, when that takes long, at the last
    /// answer.
    pub(crate) async fn acknowledged(&mut self) -> u64 {
        let now = Instant::now();
        if now >= self.next_look {
            let (inode, v6, written) = (self.inode, self.v6, self.written());
            let look = tokio::task::spawn_blocking(move || sendq::unacknowledged(inode, v6));
            if let Ok(Ok(Some(queue))) = look.await {
                self.acknowledged = self.acknowledged.max(written.saturating_sub(queue));
            }
            self.next_look = now + now.elapsed() * PACE;
        }
        self.acknowledged
    }

    /// Whether the peer has had time to say that it does not want us, and from when on it will have had.
    pub(crate) fn verdict_due(&self, limits: &Limits) -> Option<Instant> {
        let from = self.since + limits.verdict;
        (!self.judged && Instant::now() < from).then_some(from)
    }

    /// What was handed to the kernel before this time is acknowledged, or TCP would have given up by now.
    pub(crate) fn outlived(&self) -> Option<Instant> {
        Instant::now().checked_sub(self.unacknowledged * 2)
    }

    /// Says `close_notify`, ends the write side and waits for the peer's end (RFC 5425 §4.4); unread data would make
    /// the kernel reset the connection and the peer lose what it has not read.
    pub(crate) async fn close(mut self, limit: Duration) -> PeerEnd {
        let farewell = async {
            self.tls.shutdown().await?;
            std::future::poll_fn(|cx| match self.poll_peer(cx) {
                Ok(()) => Poll::Pending,
                Err(error) if self.ended => {
                    drop(error);
                    Poll::Ready(Ok(()))
                }
                Err(error) => Poll::Ready(Err(error)),
            })
            .await
        };
        match timeout(limit, farewell).await {
            Ok(Ok(())) => PeerEnd::Orderly,
            Ok(Err(_)) | Err(_) => PeerEnd::Abrupt,
        }
    }
}

async fn connect(master: &Master, limits: &Limits) -> anyhow::Result<TcpStream> {
    let tcp = TcpStream::connect((master.host.as_str(), master.port)).await?;
    tcp.set_nodelay(true)?;
    sockopt::set_socket_keepalive(&tcp, true)?;
    sockopt::set_tcp_keepidle(&tcp, limits.keepalive)?;
    sockopt::set_tcp_keepintvl(&tcp, limits.keepalive)?;
    sockopt::set_tcp_keepcnt(&tcp, 3)?;
    let patience = u32::try_from(limits.unacknowledged.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(&tcp, patience)?;
    Ok(tcp)
}

/// Counts what the kernel has taken.
#[derive(Debug)]
struct Counted {
    tcp: TcpStream,
    written: u64,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.count(taken)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let taken = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        self.count(taken)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

impl Counted {
    fn count(&mut self, taken: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &taken {
            self.written += *bytes as u64;
        }
        taken
    }
}
