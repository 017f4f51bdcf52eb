//! Why a connection was turned away, in words for the log and a fixed code for the metric.

use std::io;

use rustls::{AlertDescription, CertificateError, Error as TlsError, InvalidMessage};

use crate::fingerprint::Fingerprint;
use crate::name::WorkerName;
use crate::peer::PeerError;

/// Why the listener does not serve a peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The peer's first bytes are no TLS record: plain syslog, HTTP, a port scanner.
    #[error("not TLS: the peer speaks plain text or another protocol")]
    NotTls,
    /// No TLS version, suite or key exchange in common.
    #[error("no common TLS version or suite: {0}")]
    Incompatible(String),
    /// No client certificate.
    #[error("no client certificate")]
    NoCertificate,
    /// Signed by another CA, by itself, or with a bad signature.
    #[error("the certificate is not signed by this CA")]
    OtherCa,
    /// The end of the certificate has passed.
    #[error("the certificate has expired{}", date(*.0))]
    Expired(Option<jiff::Timestamp>),
    /// The beginning of the certificate has not come.
    #[error("the certificate is not valid yet{}", date(*.0))]
    NotYetValid(Option<jiff::Timestamp>),
    /// Revoked in the registry, or by the CRL (then without a name).
    #[error("the certificate{} is revoked", of(.0.as_ref()))]
    Revoked(Option<WorkerName>),
    /// The CRL is out of date or of another CA, so that nothing can be said.
    #[error("revocation cannot be checked: the CRL is expired or of another CA")]
    NoRevocationStatus,
    /// Not in the registry.
    #[error("the certificate of {name} is not enrolled (sha-256 {fingerprint})")]
    NotEnrolled {
        /// The name it carries.
        name: WorkerName,
        /// Its fingerprint.
        fingerprint: Fingerprint,
    },
    /// Its common name is no worker's name, or not the one it is registered for.
    #[error("bad name: {0}")]
    BadName(#[from] PeerError),
    /// Registered for another worker.
    #[error("the certificate names {name}, the registry says {registered}")]
    OtherName {
        /// The name it carries.
        name: WorkerName,
        /// The name it is registered for.
        registered: WorkerName,
    },
    /// Key usage or extended key usage do not allow a TLS client.
    #[error("the certificate is not for TLS clients")]
    WrongPurpose,
    /// More intermediates than the CA's pathLenConstraint allows.
    #[error("the certificate chain is longer than the CA allows")]
    LongChain,
    /// The peer showed a certificate whose key it does not hold (RFC 5425 §4.2.1).
    #[error("the peer does not hold the key of the certificate it shows")]
    NoProof,
    /// Another fault of the certificate.
    #[error("bad certificate: {0}")]
    BadCertificate(String),
    /// The peer refused us: it sent this alert.
    #[error("the peer refused this listener: {0}")]
    PeerRefused(String),
    /// Too slow.
    #[error("no handshake within {0:?}")]
    Timeout(std::time::Duration),
    /// The peer closed before the handshake was done.
    #[error("closed during the handshake")]
    Closed,
    /// Everything else.
    #[error("handshake failed: {0}")]
    Other(String),
}

impl Refusal {
    /// A short fixed word for each kind, for metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotTls => "not_tls",
            Self::Incompatible(_) => "incompatible",
            Self::NoCertificate => "no_certificate",
            Self::OtherCa => "other_ca",
            Self::Expired(_) => "expired",
            Self::NotYetValid(_) => "not_yet_valid",
            Self::Revoked(_) => "revoked",
            Self::NoRevocationStatus => "no_revocation_status",
            Self::NotEnrolled { .. } => "not_enrolled",
            Self::BadName(_) => "bad_name",
            Self::OtherName { .. } => "other_name",
            Self::WrongPurpose => "wrong_purpose",
            Self::LongChain => "long_chain",
            Self::NoProof => "no_proof",
            Self::BadCertificate(_) => "bad_certificate",
            Self::PeerRefused(_) => "peer_refused",
            Self::Timeout(_) => "timeout",
            Self::Closed => "closed",
            Self::Other(_) => "other",
        }
    }

    /// Reads the reason out of what a TLS handshake on the server's side failed with.
    pub fn of(error: &io::Error) -> Self {
        match tls_error(error) {
            Some(error) => Self::of_tls(error),
            None if is_closed(error.kind()) => Self::Closed,
            None => Self::Other(error.to_string()),
        }
    }

    fn of_tls(error: &TlsError) -> Self {
        match error {
            TlsError::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            ) => Self::NotTls,
            TlsError::PeerIncompatible(
                rustls::PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon,
            ) => Self::BadCertificate("no common signature scheme".to_owned()),
            TlsError::PeerIncompatible(what) => Self::Incompatible(format!("{what:?}")),
            TlsError::NoCertificatesPresented => Self::NoCertificate,
            TlsError::InvalidCertificate(error) => Self::of_certificate(error),
            TlsError::AlertReceived(alert) => Self::PeerRefused(alert_name(*alert)),
            other => Self::Other(other.to_string()),
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        use CertificateError as E;
        match error {
            E::UnknownIssuer | E::BadSignature => Self::OtherCa,
            E::Expired => Self::Expired(None),
            E::ExpiredContext { not_after, .. } => Self::Expired(timestamp(not_after.as_secs())),
            E::NotValidYet => Self::NotYetValid(None),
            E::NotValidYetContext { not_before, .. } => {
                Self::NotYetValid(timestamp(not_before.as_secs()))
            }
            E::Revoked => Self::Revoked(None),
            E::UnknownRevocationStatus
            | E::ExpiredRevocationList
            | E::ExpiredRevocationListContext { .. } => Self::NoRevocationStatus,
            E::InvalidPurpose | E::InvalidPurposeContext { .. } => Self::WrongPurpose,
            other => Self::BadCertificate(other.to_string()),
        }
    }
}

/// The TLS error inside what tokio-rustls returns.
pub(crate) fn tls_error(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}

/// Whether the other side, or the network, ended the connection.
pub(crate) fn is_closed(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as K;
    matches!(
        kind,
        K::UnexpectedEof
            | K::ConnectionReset
            | K::ConnectionAborted
            | K::BrokenPipe
            | K::NotConnected
    )
}

/// An alert as the RFC writes it: `unknown_ca`.
pub(crate) fn alert_name(alert: AlertDescription) -> String {
    let camel = format!("{alert:?}");
    let mut name = String::with_capacity(camel.len() + 4);
    let mut after_lower = false;
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() && after_lower {
            name.push('_');
        }
        after_lower = letter.is_ascii_lowercase() || letter.is_ascii_digit();
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// Seconds since 1970 as a time to show.
pub(crate) fn timestamp(seconds: u64) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}

fn date(time: Option<jiff::Timestamp>) -> String {
    time.map(|time| format!(" ({time})")).unwrap_or_default()
}

fn of(name: Option<&WorkerName>) -> String {
    name.map(|name| format!(" of {name}")).unwrap_or_default()
}

#[cfg(test)]
mod tests;
