//! The listening socket: ours at a path, or the one that systemd hands over.

use std::os::unix::net::UnixListener;

pub use service::socket::SocketError;

use crate::config::Config;

/// A listening socket.
#[derive(Debug)]
pub struct Socket {
    pub(crate) listener: UnixListener,
    /// Whether nobody else holds it: then the stop shuts it, and reads what waits in it.
    pub(crate) ours: bool,
}

impl Socket {
    /// Takes the socket that systemd handed to this process (sd_listen_fds(3)), if it did.
    ///
    /// # Errors
    /// It is not exactly one listening Unix stream socket.
    pub fn handed() -> Result<Option<Self>, SocketError> {
        let mut handed = listenfd::ListenFd::from_env();
        let listener = match handed.len() {
            0 => return Ok(None),
            1 => handed.take_unix_listener(0),
            _ => return Err(SocketError::Handed("there are several, one is wanted")),
        };
        let wrong = SocketError::Handed("it is no listening Unix stream socket");
        let Ok(Some(listener)) = listener else {
            return Err(wrong);
        };
        if rustix::net::sockopt::socket_acceptconn(&listener) != Ok(true) {
            return Err(wrong);
        }
        Ok(Some(Self {
            listener,
            ours: false,
        }))
    }

    /// Makes the socket of the configuration. One that nobody answers on is replaced.
    ///
    /// # Errors
    /// [`SocketError`]; what stood at the path stands there still.
    pub fn bind(config: &Config) -> Result<Self, SocketError> {
        Ok(Self {
            listener: config.place.listen()?,
            ours: true,
        })
    }
}
