//! Datagrams, of which each is a message: UDP (RFC 5426) and the Unix socket.

use std::{
    io,
    net::{SocketAddr, UdpSocket as StdUdpSocket},
    time::Duration,
};

use rustix::net::RecvFlags;
use tokio::{
    io::Interest,
    net::{UdpSocket, UnixDatagram},
    sync::watch,
    time::Instant,
};
use tracing::warn;

use super::{
    DRAIN, SETTLE,
    intake::{Basket, Intake},
};
use crate::source::Cause;

/// A socket that gives datagrams.
pub(super) trait Datagrams {
    async fn readable(&self) -> io::Result<()>;

    /// Takes one if there is one.
    fn take(&self, buf: &mut [u8]) -> io::Result<Taken>;
}

/// A datagram that was taken.
pub(super) struct Taken {
    /// Its octets in the buffer.
    len: usize,
    /// Its octets on the way.
    whole: usize,
    /// Where it came from, if the transport can tell.
    peer: Option<SocketAddr>,
}

impl Datagrams for UdpSocket {
    async fn readable(&self) -> io::Result<()> {
        UdpSocket::readable(self).await
    }

    fn take(&self, buf: &mut [u8]) -> io::Result<Taken> {
        let (len, peer) = self.try_recv_from(buf)?;
        Ok(Taken {
            len,
            whole: len,
            peer: Some(peer),
        })
    }
}

impl Datagrams for UnixDatagram {
    async fn readable(&self) -> io::Result<()> {
        UnixDatagram::readable(self).await
    }

    fn take(&self, buf: &mut [u8]) -> io::Result<Taken> {
        let (len, whole) = self.try_io(Interest::READABLE, || {
            Ok(rustix::net::recv(self, &mut *buf, RecvFlags::TRUNC)?)
        })?;
        Ok(Taken {
            len,
            whole,
            peer: None,
        })
    }
}

/// Opens a UDP socket with room for a burst.
pub(super) fn bind(address: SocketAddr) -> io::Result<StdUdpSocket> {
    let socket = StdUdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    // As much of it as the system allows (net.core.rmem_max).
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER);
    Ok(socket)
}

/// Receives until told to stop, and then what waits.
pub(super) async fn receive(
    socket: impl Datagrams,
    intake: Intake,
    mut stop: watch::Receiver<bool>,
) {
    let mut buf = vec![0; MAX_DATAGRAM];
    let mut until = None;
    loop {
        tokio::select! {
            biased;
            () = super::told(&mut stop), if until.is_none() => {
                until = Some(Instant::now() + DRAIN);
                continue;
            }
            ready = socket.readable() => {
                if let Err(error) = ready {
                    return warn!(%error, transport = intake.transport.as_str(), "syslog socket failed");
                }
            }
            () = tokio::time::sleep(SETTLE), if until.is_some() => return,
        }
        let mut basket = intake.basket().await;
        if intake.is_closed() {
            return;
        }
        fill(&socket, &mut buf, &mut basket, &intake).await;
        let open = intake.hand_over(basket).await;
        if !open || until.is_some_and(|until| Instant::now() >= until) {
            return;
        }
    }
}

/// Takes what waits, as far as there is room for it.
async fn fill(socket: &impl Datagrams, buf: &mut [u8], basket: &mut Basket, intake: &Intake) {
    while !basket.is_full() {
        match socket.take(buf) {
            Ok(Taken {
                peer: Some(peer), ..
            }) if !peer.ip().to_canonical().is_loopback() => intake.refuse(peer),
            Ok(taken) => {
                basket.message(&buf[..taken.len]);
                if taken.whole > taken.len {
                    let beyond = (taken.whole - taken.len) as u64;
                    intake.lost(Cause::Truncated, 1, Some(beyond));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => {
                warn!(%error, transport = intake.transport.as_str(), "can't receive syslog");
                // Never in a circle, whatever it is.
                tokio::time::sleep(PAUSE).await;
                return;
            }
        }
    }
}

/// Octets of a datagram; UDP has no larger ones. What a Unix one has beyond is cut off, and counted.
const MAX_DATAGRAM: usize = 64 << 10;
/// Asked of the kernel for UDP: a burst of some ten thousand messages.
const RECEIVE_BUFFER: usize = 4 << 20;
const PAUSE: Duration = Duration::from_millis(100);
