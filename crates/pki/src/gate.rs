//! The verifier of client certificates: webpki's path validation, then what it leaves out, then the
//! registry. One gate per connection, so that the reason of a refusal can be told with the worker's name
//! while the alert on the wire is the fitting one.

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error as TlsError, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::extensions::KeyUsage;

use crate::identity::Anchors;
use crate::peer::{self, Peer};
use crate::refusal::Refusal;
use crate::registry::Standing;
use crate::server::Trust;
use crate::watch::RegistryWatch;

/// Who may be served, apart from the chain.
#[derive(Debug)]
pub(crate) struct Judge {
    pub(crate) trust: Trust,
    pub(crate) registry: Option<RegistryWatch>,
}

impl Judge {
    /// Whether the certificate of `peer` counts now.
    pub(crate) fn judge(&self, peer: &Peer, now: SystemTime) -> Result<(), Refusal> {
        if now > peer.not_after {
            return Err(Refusal::Expired(
                jiff::Timestamp::try_from(peer.not_after).ok(),
            ));
        }
        let roster = self.registry.as_ref().map(RegistryWatch::roster);
        match roster
            .as_ref()
            .and_then(|roster| roster.get(&peer.fingerprint))
        {
            Some(found) if found.worker != peer.name => Err(Refusal::OtherName {
                name: peer.name.clone(),
                registered: found.worker.clone(),
            }),
            Some(found) if found.standing != Standing::Active => {
                Err(Refusal::Revoked(Some(peer.name.clone())))
            }
            Some(_) => Ok(()),
            None if self.trust == Trust::Ca => Ok(()),
            None => Err(Refusal::NotEnrolled {
                name: peer.name.clone(),
                fingerprint: peer.fingerprint,
            }),
        }
    }
}

/// The verifier of one connection.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) chain: Arc<dyn ClientCertVerifier>,
    pub(crate) anchors: Arc<Anchors>,
    pub(crate) judge: Arc<Judge>,
    /// Ask the registry within the handshake. Acknowledged mode asks afterwards, to refuse in its own words.
    pub(crate) strict: bool,
    pub(crate) verdict: Arc<OnceLock<Refusal>>,
}

impl Gate {
    /// Set once: a connection has one certificate.
    fn note(&self, refusal: Refusal) {
        let _ = self.verdict.set(refusal);
    }

    fn admit(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Refusal> {
        check_chain(&self.anchors, end_entity, intermediates)?;
        let peer = peer::peer(end_entity)?;
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(now.as_secs());
        if self.strict {
            self.judge.judge(&peer, now)
        } else {
            Ok(())
        }
    }
}

impl ClientCertVerifier for Gate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        let verified = self
            .chain
            .verify_client_cert(end_entity, intermediates, now)?;
        match self.admit(end_entity, intermediates, now) {
            Ok(()) => Ok(verified),
            Err(refusal) => {
                let alert = match refusal {
                    Refusal::Revoked(_) => CertificateError::Revoked,
                    Refusal::WrongPurpose => CertificateError::InvalidPurpose,
                    _ => CertificateError::ApplicationVerificationFailure,
                };
                self.note(refusal);
                Err(alert.into())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let valid = self.chain.verify_tls12_signature(message, cert, dss);
        valid.inspect_err(|_| self.note(Refusal::NoProof))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let valid = self.chain.verify_tls13_signature(message, cert, dss);
        valid.inspect_err(|_| self.note(Refusal::NoProof))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// What webpki 0.103 does not look at, after it has verified the chain.
///
/// Key usage where it is present (RFC 5280 §4.2.1.3, §4.2.1.12): the leaf signs the handshake, every
/// intermediate signs certificates. And the path length that the CA allows itself (§4.2.1.9), which webpki
/// reads in intermediates but not in a trust anchor.
pub(crate) fn check_chain(
    anchors: &Anchors,
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Result<(), Refusal> {
    if !allows(end_entity, KeyUsage::digital_signature)? {
        return Err(Refusal::WrongPurpose);
    }
    for intermediate in intermediates {
        if !allows(intermediate, KeyUsage::key_cert_sign)? {
            return Err(Refusal::WrongPurpose);
        }
    }
    if !anchors.allow_path(end_entity, intermediates) {
        return Err(Refusal::LongChain);
    }
    Ok(())
}

fn allows(der: &CertificateDer<'_>, may: fn(&KeyUsage) -> bool) -> Result<bool, Refusal> {
    match peer::parse(der)?.key_usage() {
        Ok(usage) => Ok(usage.is_none_or(|usage| may(usage.value))),
        Err(_) => Ok(false),
    }
}
