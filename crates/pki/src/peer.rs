//! Who a certificate speaks for.
//!
//! A parser: DER in, [`Peer`] out. It proves nothing; the chain was verified by the handshake.

use std::time::{Duration, SystemTime};

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use crate::fingerprint::{Fingerprint, hex};
use crate::name::{NameError, SubjectName, WorkerName};

/// A worker as its certificate names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The subject's only common name, checked.
    pub name: WorkerName,
    /// SHA-256 of the DER form.
    pub fingerprint: Fingerprint,
    /// The last second in which the certificate is valid.
    pub not_after: SystemTime,
    /// The serial number, lower-case hex of its DER octets.
    pub serial: String,
}

/// Why a certificate names no worker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// Not an X.509 certificate, or bytes after it.
    #[error("not an X.509 certificate")]
    Malformed,
    /// No common name, more than one, or one that is not text.
    #[error("the subject has {0} common names instead of one")]
    CommonName(usize),
    /// The common name is no worker's name.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// Reads name, fingerprint, serial and end of life from a certificate's DER form.
///
/// # Errors
/// [`PeerError`] when the bytes are no certificate or its common name is no worker's name.
pub fn peer(der: &[u8]) -> Result<Peer, PeerError> {
    let certificate = parse(der)?;
    let name = WorkerName::new(common_name(&certificate)?)?;
    Ok(Peer {
        name,
        fingerprint: Fingerprint::of(der),
        not_after: system_time(&certificate.validity().not_after),
        serial: hex(certificate.raw_serial()),
    })
}

/// Parses one certificate and nothing after it.
pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, PeerError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(PeerError::Malformed),
    }
}

/// The subject's only common name. Two of them would let two readers see two peers.
pub(crate) fn common_name<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a str, PeerError> {
    let mut names = certificate.subject().iter_common_name();
    let first = names.next();
    let more = names.count();
    match first {
        Some(name) if more == 0 => name.as_str().map_err(|_| PeerError::CommonName(0)),
        Some(_) => Err(PeerError::CommonName(more + 1)),
        None => Err(PeerError::CommonName(0)),
    }
}

/// The DNS names and addresses of a certificate.
pub(crate) fn subject_names(der: &[u8]) -> Result<Vec<SubjectName>, PeerError> {
    let certificate = parse(der)?;
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| PeerError::Malformed)?;
    let names = names
        .map(|extension| &extension.value.general_names)
        .into_iter()
        .flatten();
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => name.parse().ok(),
        GeneralName::IPAddress([a, b, c, d]) => Some(SubjectName::Ip([*a, *b, *c, *d].into())),
        GeneralName::IPAddress(octets) => <[u8; 16]>::try_from(*octets)
            .ok()
            .map(|v6| SubjectName::Ip(v6.into())),
        _ => None,
    });
    Ok(names.collect())
}

/// An X.509 time as the system's; a date before 1970 counts as 1970.
pub(crate) fn system_time(time: &ASN1Time) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
}

#[cfg(test)]
mod tests;
