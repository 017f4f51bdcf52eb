//! Names: of workers, and of hosts that a certificate may carry.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use rustls_pki_types::DnsName;

/// Names that are never a worker's: those of masters and of DECNET's own services. Compared without regard
/// to case, because a worker's name is also a DNS name of its certificate, and DNS names ignore case: a
/// worker `Logferry-Master` could pose as the master.
const RESERVED: [&str; 4] = ["decnet-master", "logferry-master", "swarmctl", "unknown"];

/// The longest worker name, in octets (docs/wire.md).
const MAX_WORKER_NAME: usize = 64;

/// The name of an enrolled host: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`, not reserved.
///
/// Safe as one component of a path: it holds no `/`, no NUL, and does not begin with a dot.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerName(String);

/// Why a text is not a worker's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// It does not match the pattern.
    #[error("{0:?} is not a worker name ([A-Za-z0-9][A-Za-z0-9._-]{{0,63}})")]
    Pattern(String),
    /// It belongs to a master or to a service.
    #[error("{0:?} is reserved and never a worker's name")]
    Reserved(String),
}

impl WorkerName {
    /// Checks `name`.
    ///
    /// # Errors
    /// [`NameError::Pattern`] or [`NameError::Reserved`].
    pub fn new(name: &str) -> Result<Self, NameError> {
        let bytes = name.as_bytes();
        let first = bytes.first().is_some_and(u8::is_ascii_alphanumeric);
        let rest = bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte));
        if !first || !rest || bytes.len() > MAX_WORKER_NAME {
            return Err(NameError::Pattern(
                name.chars().take(2 * MAX_WORKER_NAME).collect(),
            ));
        }
        if is_reserved(name) {
            return Err(NameError::Reserved(name.to_owned()));
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WorkerName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

impl fmt::Display for WorkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for WorkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for WorkerName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// A subject alternative name: a DNS name or an IP address (RFC 5280 §4.2.1.6).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SubjectName {
    /// A DNS name without wildcard.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

/// Why a text is not a subject alternative name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectNameError {
    /// Neither an address nor a DNS name.
    #[error("{0:?} is neither an IP address nor a DNS name")]
    Syntax(String),
    /// A worker's certificate that carries a master's name could pose as the master.
    #[error("{0:?} is a master's name and never stands in a worker's certificate")]
    Master(String),
}

impl SubjectName {
    /// Refuses the names by which forwarders know their master.
    ///
    /// # Errors
    /// [`SubjectNameError::Master`].
    pub fn for_worker(self) -> Result<Self, SubjectNameError> {
        match self {
            Self::Dns(name) if is_reserved(name.trim_end_matches('.')) => {
                Err(SubjectNameError::Master(name))
            }
            other => Ok(other),
        }
    }
}

impl FromStr for SubjectName {
    type Err = SubjectNameError;

    fn from_str(text: &str) -> Result<Self, SubjectNameError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Ip(address));
        }
        match DnsName::try_from(text) {
            Ok(_) => Ok(Self::Dns(text.to_owned())),
            Err(_) => Err(SubjectNameError::Syntax(text.to_owned())),
        }
    }
}

impl fmt::Display for SubjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

fn is_reserved(name: &str) -> bool {
    RESERVED
        .iter()
        .any(|reserved| reserved.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests;
