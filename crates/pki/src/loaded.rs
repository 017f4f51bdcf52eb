//! What the listener's TLS is made of, read from the files of a data directory.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use crate::crypto::provider;
use crate::files::{self, FileError};
use crate::fingerprint::hex;
use crate::identity::{Anchors, Identity, IdentityError};
use crate::layout::CaFiles;
use crate::peer::{self, system_time};
use crate::registry::RegistryError;

/// Why the listener's TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerTlsError {
    /// A certificate or key file is unusable.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The CRL is no CRL, not of this CA, or expired.
    #[error("{}: {what}", path.display())]
    Crl {
        /// The CRL file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The registry is missing or damaged.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// rustls refused the verifier.
    #[error("cannot verify client certificates: {0}")]
    Verifier(#[from] VerifierBuilderError),
}

/// When something in use stops being valid.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expiry {
    /// The file.
    pub path: PathBuf,
    /// Its last valid second.
    pub not_after: SystemTime,
}

/// What was made of the files.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) chain: Arc<dyn ClientCertVerifier>,
    pub(crate) anchors: Arc<Anchors>,
    pub(crate) identity: Arc<SingleCertAndKey>,
    /// Serials that the CRL revokes, lower-case hex.
    pub(crate) revoked: HashSet<String>,
    pub(crate) expiries: Vec<Expiry>,
}

impl Loaded {
    /// Reads and checks every file.
    pub(crate) fn load(files: &CaFiles, now: SystemTime) -> Result<Self, ServerTlsError> {
        let master = files.master();
        let (certificate, key) = (master.join("worker.crt"), master.join("worker.key"));
        let identity = Identity::from_files(&files.certificate(), &certificate, &key, now)?;
        let mut expiries = vec![Expiry {
            path: certificate,
            not_after: identity.not_after(),
        }];
        for anchor in identity
            .anchors
            .0
            .iter()
            .filter_map(|anchor| peer::parse(anchor).ok())
        {
            expiries.push(Expiry {
                path: files.certificate(),
                not_after: system_time(&anchor.validity().not_after),
            });
        }
        let mut builder =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&identity.roots), provider());
        let mut revoked = HashSet::new();
        if let Some(pem) = files::read_if_there(&files.crl())? {
            let crls = crls(&files.crl(), &pem)?;
            for crl in &crls {
                let next_update =
                    read_crl(&files.crl(), crl, &identity.anchors.0, now, &mut revoked)?;
                expiries.push(Expiry {
                    path: files.crl(),
                    not_after: next_update,
                });
            }
            // Fail closed when it runs out (RFC 5280 §6.3.3); `expiries` is there to warn before.
            builder = builder
                .with_crls(crls)
                .only_check_end_entity_revocation()
                .enforce_revocation_expiration();
        }
        let anchors = Arc::clone(&identity.anchors);
        let identity = Arc::new(SingleCertAndKey::from(identity.key));
        Ok(Self {
            chain: builder.build()?,
            anchors,
            identity,
            revoked,
            expiries,
        })
    }
}

/// The files that [`Loaded::load`] reads.
pub(crate) fn watched_files(files: &CaFiles) -> Vec<PathBuf> {
    let master = files.master();
    vec![
        files.certificate(),
        master.join("worker.crt"),
        master.join("worker.key"),
        files.crl(),
    ]
}

fn crls(
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, ServerTlsError> {
    let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(ServerTlsError::Crl {
            path: path.to_owned(),
            what: "holds no PEM CRL",
        }),
    }
}

/// Checks that a CRL is one of our CA's and current, and notes what it revokes.
fn read_crl(
    path: &Path,
    der: &[u8],
    anchors: &[CertificateDer<'_>],
    now: SystemTime,
    revoked: &mut HashSet<String>,
) -> Result<SystemTime, ServerTlsError> {
    let fail = |what| ServerTlsError::Crl {
        path: path.to_owned(),
        what,
    };
    let (_, crl) =
        CertificateRevocationList::from_der(der).map_err(|_| fail("holds a malformed CRL"))?;
    let ours = anchors
        .iter()
        .filter_map(|anchor| peer::parse(anchor).ok())
        .any(|anchor| {
            anchor.subject().as_raw() == crl.issuer().as_raw()
                && crl.verify_signature(anchor.public_key()).is_ok()
        });
    if !ours {
        return Err(fail("the CRL is not signed by this CA"));
    }
    let next_update = crl.next_update().map(|time| system_time(&time));
    let next_update = next_update.ok_or_else(|| fail("the CRL has no nextUpdate"))?;
    if next_update < now {
        return Err(fail("the CRL has expired"));
    }
    revoked.extend(
        crl.iter_revoked_certificates()
            .map(|entry| hex(entry.raw_serial())),
    );
    Ok(next_update)
}
