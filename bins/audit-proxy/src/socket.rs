//! The listening socket: ours at a path, or the one that systemd hands over.
//!
//! A client looks for the path once, when it starts. So the path is never taken away, not even between two runs: a new
//! socket takes the place of the dead one in one step, with its mode and group right from the first moment.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::RenameFlags;
use rustix::io::Errno;

use crate::config::Config;

/// A listening socket.
#[derive(Debug)]
pub struct Socket {
    pub(crate) listener: UnixListener,
    /// Whether nobody else holds it: then the stop shuts it, and reads what waits in it.
    pub(crate) ours: bool,
}

/// Why there is no socket.
#[derive(Debug)]
#[non_exhaustive]
pub enum SocketError {
    /// A server answers at the path; it is left alone.
    InUse(PathBuf),
    /// What stands at the path is no socket; it is left alone.
    NotASocket(PathBuf),
    /// What systemd handed over can't be used.
    Handed(&'static str),
    /// The system refused.
    Io(PathBuf, io::Error),
}

impl std::fmt::Display for SocketError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InUse(path) => {
                write!(f, "socket {}: another server answers there", path.display())
            }
            Self::NotASocket(path) => {
                write!(
                    f,
                    "socket {}: a file that is no socket is in the way",
                    path.display()
                )
            }
            Self::Handed(what) => write!(f, "socket of the service manager: {what}"),
            Self::Io(path, error) => write!(f, "socket {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for SocketError {}

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
        let path = &config.socket;
        // Somebody may come or go while we look: then we look again.
        for _ in 0..ATTEMPTS {
            let stale = Self::stale(path)?;
            if let Some(listener) = Self::place(config, stale)? {
                return Ok(Self {
                    listener,
                    ours: true,
                });
            }
        }
        Err(SocketError::InUse(path.clone()))
    }

    /// The dead socket at the path, if there is one, by device and inode.
    fn stale(path: &Path) -> Result<Option<(u64, u64)>, SocketError> {
        let io = |error| SocketError::Io(path.to_owned(), error);
        let found = match std::fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found.map_err(io)?,
        };
        if !found.file_type().is_socket() {
            return Err(SocketError::NotASocket(path.to_owned()));
        }
        if answers(path).map_err(io)? {
            return Err(SocketError::InUse(path.to_owned()));
        }
        Ok(Some((found.dev(), found.ino())))
    }

    /// Binds inside a new private directory, and moves the socket to its path when its mode and group are right;
    /// `None` when something else than `stale` stands there by now.
    fn place(
        config: &Config,
        stale: Option<(u64, u64)>,
    ) -> Result<Option<UnixListener>, SocketError> {
        let path = &config.socket;
        let io = |error| SocketError::Io(path.clone(), error);
        let name = path.file_name().unwrap_or_default();
        // Through the descriptor: the private path may be longer than an address can be.
        let dir = File::open(path.parent().unwrap_or(Path::new("/"))).map_err(io)?;
        let alias = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
        let private = alias.join(format!(".logferry-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&private);
        DirBuilder::new().mode(0o700).create(&private).map_err(io)?;
        let result = bind_in(&private, config).and_then(|listener| {
            let from = private.join(SOCKET);
            let to = alias.join(name);
            Ok(swap(&from, &to, stale)?.then_some(listener))
        });
        let _ = std::fs::remove_dir_all(&private);
        result.map_err(io)
    }
}

fn bind_in(private: &Path, config: &Config) -> io::Result<UnixListener> {
    let bound = private.join(SOCKET);
    let listener = UnixListener::bind(&bound)?;
    // Nobody but us reaches into the directory, so the order of these two shows to no one.
    if config.group.is_some() {
        std::os::unix::fs::chown(&bound, None, config.group)?;
    }
    std::fs::set_permissions(&bound, Permissions::from_mode(config.mode))?;
    Ok(listener)
}

/// Moves the socket `from` to `to`, where nothing or the dead socket `stale` stands. False, and nothing moved, if it is
/// something else: it is looked at when it is out of the way, so nothing can slip in between.
fn swap(from: &Path, to: &Path, stale: Option<(u64, u64)>) -> io::Result<bool> {
    let dir = rustix::fs::CWD;
    let rename = |flags| rustix::fs::renameat_with(dir, from, dir, to, flags);
    let Some(stale) = stale else {
        return match rename(RenameFlags::NOREPLACE) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            // A file system without such a rename: a link does not replace either.
            Err(Errno::INVAL | Errno::NOSYS) => linked(from, to),
            Err(error) => Err(error.into()),
        };
    };
    match rename(RenameFlags::EXCHANGE) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(false),
        Err(Errno::INVAL | Errno::NOSYS) => {
            std::fs::rename(from, to)?;
            return Ok(true);
        }
        Err(error) => return Err(error.into()),
    }
    // What was at the path is at `from` now.
    let old = std::fs::symlink_metadata(from)?;
    if (old.dev(), old.ino()) == stale && !answers(from)? {
        return Ok(true);
    }
    rename(RenameFlags::EXCHANGE)?;
    Ok(false)
}

fn linked(from: &Path, to: &Path) -> io::Result<bool> {
    match std::fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        result => result.map(|()| true),
    }
}

/// Whether someone listens on the socket file.
fn answers(path: &Path) -> io::Result<bool> {
    let dir = File::open(path.parent().unwrap_or(Path::new("/")))?;
    let short = format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd());
    match UnixStream::connect(Path::new(&short).join(path.file_name().unwrap_or_default())) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        // Its queue of connections is full: it lives.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error),
    }
}

/// The socket's name in the private directory.
const SOCKET: &str = "s";

/// How often the path is looked at again when it changes under us.
const ATTEMPTS: usize = 3;
