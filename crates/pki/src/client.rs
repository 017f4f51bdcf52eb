//! TLS on the forwarder's side: who may be the master, and what a failed connection means.

use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, InvalidMessage,
    OtherError, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::crypto::{VERSIONS, provider};
use crate::gate::check_chain;
use crate::identity::{Anchors, Identity};
use crate::name::SubjectName;
use crate::peer::subject_names;
use crate::refusal::{Refusal, alert_name, is_closed, timestamp, tls_error};

/// How a forwarder knows its master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MasterCheck {
    /// The chain, and one of these names among the SANs: no worker can pose as master.
    Names(Vec<String>),
    /// The chain alone: any certificate of the CA that may be a TLS server. With DECNET's certificates that
    /// is every worker's.
    Chain,
}

/// A master name that no certificate could carry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MasterNameError {
    /// Neither a DNS name nor an address.
    #[error("{0:?} is neither a DNS name nor an IP address")]
    Syntax(String),
    /// An empty list would accept nobody.
    #[error("no master name is given")]
    Empty,
}

/// Makes the client configuration: TLS 1.3 and 1.2, our certificate, no resumption, no early data.
///
/// # Errors
/// [`MasterNameError`] when a name cannot be checked.
pub fn client_config(
    identity: &Identity,
    check: MasterCheck,
    alpn: &[&[u8]],
) -> Result<Arc<ClientConfig>, MasterNameError> {
    let names = match check {
        MasterCheck::Chain => None,
        MasterCheck::Names(names) if names.is_empty() => return Err(MasterNameError::Empty),
        MasterCheck::Names(names) => Some(
            names
                .into_iter()
                .map(|name| {
                    ServerName::try_from(name.clone()).map_err(|_| MasterNameError::Syntax(name))
                })
                .collect::<Result<Vec<_>, _>>()?,
        ),
    };
    let chain =
        WebPkiServerVerifier::builder_with_provider(Arc::clone(&identity.roots), provider())
            .build()
            .expect("an identity has at least one trust anchor, and no CRL is given");
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .expect("aws-lc-rs has suites for TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(MasterVerifier {
            chain,
            anchors: Arc::clone(&identity.anchors),
            names,
        }))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&identity.key))));
    config.resumption = Resumption::disabled();
    config.alpn_protocols = alpn.iter().map(|id| id.to_vec()).collect();
    Ok(Arc::new(config))
}

/// The name to announce to the master at `host` (SNI). It decides nothing; a host name that DNS would not
/// take is replaced by the master's name.
pub fn server_name(host: &str) -> ServerName<'static> {
    ServerName::try_from(host.to_owned())
        .unwrap_or_else(|_| ServerName::try_from(crate::MASTER_NAMES[0]).expect("a valid DNS name"))
}

/// Why there is no session with the master, in words for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectProblem {
    /// The other side does not speak TLS.
    #[error("not TLS: the other side speaks another protocol")]
    NotTls,
    /// The chain is right, the names are not.
    #[error("the certificate is not the master's: it carries {}, not one of {}", list(.presented), list(.wanted))]
    NotMaster {
        /// The names in the certificate.
        presented: Vec<String>,
        /// The names asked for.
        wanted: Vec<String>,
    },
    /// Signed by another CA.
    #[error("the master's certificate is not signed by the CA of this identity")]
    OtherCa,
    /// The end of the master's certificate has passed.
    #[error("the master's certificate has expired{}", .0.map(|time| format!(" ({time})")).unwrap_or_default())]
    Expired(Option<jiff::Timestamp>),
    /// The master's certificate is not valid yet, or this host's clock is behind.
    #[error("the master's certificate is not valid yet{}", .0.map(|time| format!(" ({time})")).unwrap_or_default())]
    NotYetValid(Option<jiff::Timestamp>),
    /// Its certificate may not be used by a TLS server.
    #[error("the certificate is not for TLS servers")]
    WrongPurpose,
    /// Another fault of the master's certificate.
    #[error("bad master certificate: {0}")]
    BadCertificate(String),
    /// The master refused us with this alert, for instance `certificate_revoked` or `access_denied`.
    #[error("the master refused this worker: {0}")]
    Refused(String),
    /// The connection ended. A master of TLS 1.3 that refuses a certificate may end it like this too.
    #[error("connection closed: {0}")]
    Closed(String),
    /// Everything else.
    #[error("{0}")]
    Other(String),
}

impl ConnectProblem {
    /// Reads the reason out of what a handshake, read or write on the client's side failed with.
    pub fn of(error: &io::Error) -> Self {
        match tls_error(error) {
            Some(error) => Self::of_tls(error),
            None if is_closed(error.kind()) => Self::Closed(error.to_string()),
            None => Self::Other(error.to_string()),
        }
    }

    fn of_tls(error: &TlsError) -> Self {
        use CertificateError as E;
        match error {
            TlsError::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            ) => Self::NotTls,
            TlsError::AlertReceived(alert) => Self::Refused(alert_name(*alert)),
            TlsError::InvalidCertificate(error) => match error {
                E::UnknownIssuer | E::BadSignature => Self::OtherCa,
                E::Expired => Self::Expired(None),
                E::ExpiredContext { not_after, .. } => {
                    Self::Expired(timestamp(not_after.as_secs()))
                }
                E::NotValidYet => Self::NotYetValid(None),
                E::NotValidYetContext { not_before, .. } => {
                    Self::NotYetValid(timestamp(not_before.as_secs()))
                }
                E::InvalidPurpose | E::InvalidPurposeContext { .. } => Self::WrongPurpose,
                E::Other(OtherError(other)) => match other.downcast_ref::<Self>() {
                    Some(problem) => problem.clone(),
                    None => Self::BadCertificate(other.to_string()),
                },
                other => Self::BadCertificate(other.to_string()),
            },
            other => Self::Other(other.to_string()),
        }
    }
}

/// webpki's path validation, then key usage, then one of several names (or none).
#[derive(Debug)]
struct MasterVerifier {
    chain: Arc<WebPkiServerVerifier>,
    anchors: Arc<Anchors>,
    /// `None`: any name will do.
    names: Option<Vec<ServerName<'static>>>,
}

impl MasterVerifier {
    /// Tries one name: whether it is in the certificate, once the chain is right. webpki looks at chain,
    /// dates and purpose before it looks at names, so a wrong name is the only thing that is wrong then.
    fn carries(
        &self,
        (end_entity, intermediates): (&CertificateDer<'_>, &[CertificateDer<'_>]),
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<bool, TlsError> {
        use CertificateError::{NotValidForName, NotValidForNameContext};
        match self
            .chain
            .verify_server_cert(end_entity, intermediates, name, ocsp, now)
        {
            Ok(_) => Ok(true),
            Err(TlsError::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

impl ServerCertVerifier for MasterVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let shown = (end_entity, intermediates);
        let names = self
            .names
            .as_deref()
            .unwrap_or(std::slice::from_ref(server_name));
        let mut found = false;
        for name in names {
            found |= self.carries(shown, name, ocsp, now)?;
        }
        check_chain(&self.anchors, end_entity, intermediates).map_err(|refusal| match refusal {
            Refusal::WrongPurpose => CertificateError::InvalidPurpose,
            other => tell(ConnectProblem::BadCertificate(other.to_string())),
        })?;
        if found || self.names.is_none() {
            return Ok(ServerCertVerified::assertion());
        }
        let show = |names: Vec<SubjectName>| names.iter().map(SubjectName::to_string).collect();
        let presented = subject_names(end_entity).map(show).unwrap_or_default();
        let wanted = names
            .iter()
            .map(|name| name.to_str().into_owned())
            .collect();
        Err(tell(ConnectProblem::NotMaster { presented, wanted }).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// A reason that survives the way through rustls.
fn tell(problem: ConnectProblem) -> CertificateError {
    CertificateError::Other(OtherError(Arc::new(problem)))
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "no name".to_owned()
    } else {
        names.join(", ")
    }
}
