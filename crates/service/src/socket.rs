//! Unix sockets at a path: made with mode and group right from the first moment, in the place of a dead one at most.
//!
//! A client may look for the path once, when it starts. So the path is never taken away, not even between two runs: a
//! new socket takes the place of the dead one in one step.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};

use rustix::fs::RenameFlags;
use rustix::io::Errno;

/// A path and who may use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The socket's path; its directory must be there.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// Its group; `None`: the process's own.
    pub group: Option<u32>,
}

/// Why there is no socket.
#[derive(Debug)]
#[non_exhaustive]
pub enum SocketError {
    /// Another process has the path in use; it is left alone.
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

impl Place {
    /// Makes a listening stream socket. One that nobody holds any more is replaced.
    ///
    /// # Errors
    /// [`SocketError`]; what stood at the path stands there still.
    pub fn listen(&self) -> Result<UnixListener, SocketError> {
        self.bind(UnixListener::bind)
    }

    /// Makes a datagram socket. One that nobody holds any more is replaced.
    ///
    /// # Errors
    /// [`SocketError`]; what stood at the path stands there still.
    pub fn datagram(&self) -> Result<UnixDatagram, SocketError> {
        self.bind(UnixDatagram::bind)
    }

    /// Whether a socket's path can read like this: absolute, and no longer than an address (unix(7)).
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), String> {
        let path = &self.path;
        if path.file_name().is_none() || !path.is_absolute() {
            return Err(format!(
                "`{}` is no absolute path of a socket",
                path.display()
            ));
        }
        let len = path.as_os_str().as_bytes().len();
        if len > MAX_PATH {
            return Err(format!(
                "path of {len} octets is longer than a socket's may be, {MAX_PATH}"
            ));
        }
        Ok(())
    }

    /// Looks at the path without touching it. The directory must be there: nobody wants a socket in one that was meant
    /// to be mounted. It need not be writable where a socket stands already, which systemd may have made.
    ///
    /// # Errors
    /// What is wrong.
    pub fn look(&self) -> Result<(), String> {
        let path = &self.path;
        let dir = path.parent().unwrap_or(Path::new("/"));
        match std::fs::metadata(dir) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(format!("{} is no directory", dir.display())),
            Err(error) => return Err(format!("{} can't be used: {error}", dir.display())),
        }
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => Ok(()),
            Ok(_) => Err(format!("{} is there and is no socket", path.display())),
            Err(_) => crate::check_writable(dir)
                .map_err(|error| format!("{} can't be written: {error}", dir.display())),
        }
    }

    fn bind<S>(&self, bind: fn(PathBuf) -> io::Result<S>) -> Result<S, SocketError> {
        // Somebody may come or go while we look: then we look again.
        for _ in 0..ATTEMPTS {
            let stale = stale(&self.path)?;
            if let Some(socket) = self.place(bind, stale)? {
                return Ok(socket);
            }
        }
        Err(SocketError::InUse(self.path.clone()))
    }

    /// Binds inside a new private directory, and moves the socket to its path when its mode and group are right;
    /// `None` when something else than `stale` stands there by now.
    fn place<S>(
        &self,
        bind: fn(PathBuf) -> io::Result<S>,
        stale: Option<(u64, u64)>,
    ) -> Result<Option<S>, SocketError> {
        let path = &self.path;
        let io = |error| SocketError::Io(path.clone(), error);
        let name = path.file_name().unwrap_or_default();
        // Through the descriptor: the private path may be longer than an address can be.
        let dir = File::open(path.parent().unwrap_or(Path::new("/"))).map_err(io)?;
        let alias = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
        let private = alias.join(format!(".logferry-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&private);
        DirBuilder::new().mode(0o700).create(&private).map_err(io)?;
        let result = self.bind_in(&private, bind).and_then(|socket| {
            let from = private.join(SOCKET);
            let to = alias.join(name);
            Ok(swap(&from, &to, stale)?.then_some(socket))
        });
        let _ = std::fs::remove_dir_all(&private);
        result.map_err(io)
    }

    fn bind_in<S>(&self, private: &Path, bind: fn(PathBuf) -> io::Result<S>) -> io::Result<S> {
        let bound = private.join(SOCKET);
        let socket = bind(bound.clone())?;
        // Nobody but us reaches into the directory, so the order of these two shows to no one.
        if self.group.is_some() {
            std::os::unix::fs::chown(&bound, None, self.group)?;
        }
        std::fs::set_permissions(&bound, Permissions::from_mode(self.mode))?;
        Ok(socket)
    }
}

/// Reads a socket's mode: octal digits that let at least somebody write.
///
/// # Errors
/// What is wrong with it.
pub fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode @ 0o200..=0o777) => Ok(mode),
        _ => Err(format!(
            "`{text}` is no mode of a socket: three octal digits that let at least somebody write, like \"0660\""
        )),
    }
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

/// Whether a process holds the socket file. Asked as a datagram's sender, which no server of connections notices.
fn answers(path: &Path) -> io::Result<bool> {
    let dir = File::open(path.parent().unwrap_or(Path::new("/")))?;
    let alias = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
    let asking = UnixDatagram::unbound()?;
    match asking.connect(alias.join(path.file_name().unwrap_or_default())) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        // Of another kind, and alive.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::PROTOTYPE) => Ok(true),
        Err(error) => Err(error),
    }
}

/// What a socket's address holds, without the NUL at its end (unix(7)).
const MAX_PATH: usize = 107;

/// The socket's name in the private directory.
const SOCKET: &str = "s";

/// How often the path is looked at again when it changes under us.
const ATTEMPTS: usize = 3;

#[cfg(test)]
mod tests;
