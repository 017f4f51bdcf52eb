//! Where the status endpoint listens: a Unix socket or a loopback address, never anything else.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;

/// The `[status]` table of every program.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Config {
    listen: Option<Listen>,
}

impl Config {
    /// Where to listen: as configured, else `status.sock` in the program's state or data directory.
    pub fn listen(&self, dir: &Path) -> Listen {
        self.listen
            .clone()
            .unwrap_or_else(|| Listen::Unix(dir.join("status.sock")))
    }
}

/// An address no other host reaches: `127.0.0.1:9514`, `[::1]:9514`, `/run/x.sock` or `unix:/run/x.sock`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
#[non_exhaustive]
pub enum Listen {
    /// A socket file, mode 0600.
    Unix(PathBuf),
    /// A loopback address; [`FromStr`] lets no other through.
    Loopback(SocketAddr),
}

/// Why a text is no place for the status endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Not an address.
    #[error(
        "`{0}` is neither IP:PORT nor an absolute path: write \"127.0.0.1:9514\" or \"/run/logferry/x.sock\""
    )]
    NotAnAddress(String),
    /// An address that other hosts can reach.
    #[error(
        "{0} is not a loopback address: the endpoint has neither TLS nor authentication, so it listens on 127.0.0.1, \
         [::1] or a Unix socket only; let a reverse proxy or an agent on this host carry it further"
    )]
    NotLoopback(SocketAddr),
}

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        let path = text.strip_prefix("unix:").unwrap_or(text);
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.starts_with('/') {
            return Ok(Self::Unix(path.into()));
        }
        match text.parse::<SocketAddr>() {
            Ok(addr) if addr.ip().to_canonical().is_loopback() => Ok(Self::Loopback(addr)),
            Ok(addr) => Err(ListenError::NotLoopback(addr)),
            Err(_) => Err(ListenError::NotAnAddress(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Listen {
    type Error = ListenError;

    fn try_from(text: String) -> Result<Self, ListenError> {
        text.parse()
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Loopback(addr) => addr.fmt(f),
        }
    }
}

/// A path's last part under a short alias of its directory, because a socket's address holds 107 bytes only.
pub(super) struct Short {
    // Keeps the alias alive.
    _dir: std::fs::File,
    alias: PathBuf,
}

impl Short {
    /// Opens the directory of `path`.
    pub(super) fn of(path: &Path) -> std::io::Result<(Self, &std::ffi::OsStr)> {
        use std::os::fd::AsRawFd as _;
        let name = path
            .file_name()
            .ok_or(std::io::ErrorKind::InvalidFilename)?;
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let dir = std::fs::File::open(dir)?;
        let alias = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
        Ok((Self { _dir: dir, alias }, name))
    }

    /// A name in the directory.
    pub(super) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.alias.join(name)
    }
}
