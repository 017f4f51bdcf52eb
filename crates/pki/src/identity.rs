//! The identity of this host: `ca.crt worker.crt worker.key` of one directory, loaded and checked before a
//! socket is opened, so that a bad file is an error with a name and not a failed handshake.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::X509Certificate;

use crate::crypto::provider;
use crate::files;
use crate::fingerprint::Fingerprint;
use crate::peer::{common_name, parse, system_time};

/// A certificate with its key, and the CA that its peers must come from.
#[derive(Debug, Clone)]
pub struct Identity {
    pub(crate) key: Arc<CertifiedKey>,
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) anchors: Arc<Anchors>,
    name: String,
    fingerprint: Fingerprint,
    not_after: SystemTime,
}

/// The CA certificates of `ca.crt`.
#[derive(Debug)]
pub(crate) struct Anchors(pub(crate) Vec<CertificateDer<'static>>);

impl Anchors {
    /// Whether one of them allows a path with these intermediates (RFC 5280 §4.2.1.9). A peer may send more
    /// than the path needs, its CA for instance; those do not count.
    pub(crate) fn allow_path(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> bool {
        if intermediates.is_empty() || signed_by_any(std::slice::from_ref(end_entity), &self.0) {
            return true;
        }
        let extra = intermediates.iter().filter(|der| !self.0.contains(der));
        let extra = u32::try_from(extra.count()).unwrap_or(u32::MAX);
        self.0.iter().any(|anchor| {
            let Ok(anchor) = parse(anchor) else {
                return false;
            };
            match anchor.basic_constraints() {
                Ok(Some(constraints)) => constraints
                    .value
                    .path_len_constraint
                    .is_none_or(|most| extra <= most),
                Ok(None) => true,
                Err(_) => false,
            }
        })
    }
}

/// An identity that cannot be used: which file, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct IdentityError {
    /// The file at fault.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: IdentityProblem,
}

/// What is wrong with a file of an identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityProblem {
    /// Missing or unreadable.
    #[error("cannot read: {0}")]
    Unreadable(#[source] std::io::Error),
    /// Not PEM, or PEM of something else.
    #[error("holds no PEM {0}")]
    NotPem(&'static str),
    /// PEM around something that is no certificate.
    #[error("holds a malformed certificate")]
    Malformed,
    /// Its end has passed.
    #[error("expired on {0}")]
    Expired(jiff::Timestamp),
    /// Its beginning has not come.
    #[error("not valid before {0}")]
    NotYetValid(jiff::Timestamp),
    /// A key that this build cannot use.
    #[error("unusable private key: {0}")]
    BadKey(#[source] rustls::Error),
    /// Key and certificate belong to different identities.
    #[error("the key does not match the certificate {}", .0.display())]
    KeyMismatch(PathBuf),
    /// The certificate does not come from the CA beside it.
    #[error("not signed by the CA in {}", .0.display())]
    OtherCa(PathBuf),
    /// A leaf where a CA is needed.
    #[error("not a CA certificate")]
    NotCa,
}

impl Identity {
    /// Loads `ca.crt`, `worker.crt` and `worker.key` of `dir`, valid now.
    ///
    /// # Errors
    /// [`IdentityError`] naming the first file at fault.
    pub fn load(dir: &Path) -> Result<Self, IdentityError> {
        Self::load_at(dir, SystemTime::now())
    }

    /// As [`Identity::load`], with the time given.
    ///
    /// # Errors
    /// [`IdentityError`] naming the first file at fault.
    pub fn load_at(dir: &Path, now: SystemTime) -> Result<Self, IdentityError> {
        Self::from_files(
            &dir.join("ca.crt"),
            &dir.join("worker.crt"),
            &dir.join("worker.key"),
            now,
        )
    }

    pub(crate) fn from_files(
        ca: &Path,
        certificate: &Path,
        key: &Path,
        now: SystemTime,
    ) -> Result<Self, IdentityError> {
        let anchors = certificates(ca)?;
        let roots = trust(ca, &anchors, now)?;
        let chain = certificates(certificate)?;
        let at = |what| IdentityError {
            path: certificate.to_owned(),
            what,
        };
        let leaf = parse(&chain[0]).map_err(|_| at(IdentityProblem::Malformed))?;
        check_validity(&leaf, now).map_err(at)?;
        if !signed_by_any(&chain, &anchors) {
            return Err(at(IdentityProblem::OtherCa(ca.to_owned())));
        }
        let name = common_name(&leaf).unwrap_or_default().to_owned();
        let not_after = system_time(&leaf.validity().not_after);
        let fingerprint = Fingerprint::of(&chain[0]);
        let der = private_key(key)?;
        let key =
            CertifiedKey::from_der(chain, der, &provider()).map_err(|error| IdentityError {
                path: key.to_owned(),
                what: match error {
                    rustls::Error::InconsistentKeys(_) => {
                        IdentityProblem::KeyMismatch(certificate.to_owned())
                    }
                    error => IdentityProblem::BadKey(error),
                },
            })?;
        Ok(Self {
            key: Arc::new(key),
            roots: Arc::new(roots),
            anchors: Arc::new(Anchors(anchors)),
            name,
            fingerprint,
            not_after,
        })
    }

    /// The common name of the certificate; empty when it has none. For display, not for decisions.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The fingerprint of the certificate.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The last second in which the certificate is valid.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }
}

/// Every certificate of a PEM file, in order; at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let fail = |what| IdentityError {
        path: path.to_owned(),
        what,
    };
    let pem = files::read(path).map_err(|error| fail(IdentityProblem::Unreadable(error.source)))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(fail(IdentityProblem::NotPem("certificate"))),
    }
}

/// The private key of a PEM file: PKCS #8, SEC 1 or PKCS #1, unencrypted.
pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, IdentityError> {
    let fail = |what| IdentityError {
        path: path.to_owned(),
        what,
    };
    let pem = files::read(path).map_err(|error| fail(IdentityProblem::Unreadable(error.source)))?;
    if files::is_open_to_all(path) {
        tracing::warn!(path = %path.display(), "private key is readable by every user of this host");
    }
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| fail(IdentityProblem::NotPem("private key")))
}

/// The trust anchors of `ca.crt`: CA certificates that may sign certificates, at least one of them in force.
fn trust(
    path: &Path,
    anchors: &[CertificateDer<'static>],
    now: SystemTime,
) -> Result<RootCertStore, IdentityError> {
    let fail = |what| IdentityError {
        path: path.to_owned(),
        what,
    };
    let mut roots = RootCertStore::empty();
    let mut stale = None;
    for anchor in anchors {
        let certificate = parse(anchor).map_err(|_| fail(IdentityProblem::Malformed))?;
        // webpki takes a trust anchor as it is; these two are ours to check (RFC 5280 §4.2.1.3, §4.2.1.9).
        let may_sign = match certificate.key_usage() {
            Ok(usage) => usage.is_none_or(|usage| usage.value.key_cert_sign()),
            Err(_) => false,
        };
        if !certificate.is_ca() || !may_sign {
            return Err(fail(IdentityProblem::NotCa));
        }
        match check_validity(&certificate, now) {
            Ok(()) => roots
                .add(anchor.clone())
                .map_err(|_| fail(IdentityProblem::Malformed))?,
            Err(what) => stale = Some(what),
        }
    }
    match stale {
        Some(what) if roots.is_empty() => Err(fail(what)),
        _ => Ok(roots),
    }
}

/// Checks both ends of the validity, inclusive (RFC 5280 §4.1.2.5).
pub(crate) fn check_validity(
    certificate: &X509Certificate<'_>,
    now: SystemTime,
) -> Result<(), IdentityProblem> {
    let now = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as i64);
    let validity = certificate.validity();
    let date = |time: i64| jiff::Timestamp::from_second(time).unwrap_or_default();
    if now > validity.not_after.timestamp() {
        return Err(IdentityProblem::Expired(date(
            validity.not_after.timestamp(),
        )));
    }
    if now < validity.not_before.timestamp() {
        return Err(IdentityProblem::NotYetValid(date(
            validity.not_before.timestamp(),
        )));
    }
    Ok(())
}

/// Whether each certificate of the chain is signed by the next, and the last by one of the anchors.
pub(crate) fn signed_by_any(chain: &[CertificateDer<'_>], anchors: &[CertificateDer<'_>]) -> bool {
    let signed = |child: &CertificateDer<'_>, issuer: &CertificateDer<'_>| {
        let (Ok(child), Ok(issuer)) = (parse(child), parse(issuer)) else {
            return false;
        };
        child.issuer().as_raw() == issuer.subject().as_raw()
            && child.verify_signature(Some(issuer.public_key())).is_ok()
    };
    let Some(last) = chain.last() else {
        return false;
    };
    chain.windows(2).all(|pair| signed(&pair[0], &pair[1]))
        && anchors.iter().any(|anchor| signed(last, anchor))
}
