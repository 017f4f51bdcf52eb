//! Whom we believe to be a receiver: the system's certificate authorities, and one file more if the operator says so.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Certificate authorities.
#[derive(Debug, Clone)]
pub struct Roots(Arc<RootCertStore>);

/// The extra file of certificate authorities cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootsError {
    /// It cannot be read, or is no PEM.
    #[error("cannot read certificates of {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls_pki_types::pem::Error,
    },
    /// One of its certificates is no certificate.
    #[error("{path} holds a certificate that cannot be used")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What rustls said.
        source: rustls::Error,
    },
    /// It holds no certificate.
    #[error("{0} holds no certificate")]
    Empty(PathBuf),
}

impl Roots {
    /// Loads the system's authorities (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others) and those in `extra`. A system
    /// without any is no error: receivers on http and those of `extra` can be reached still.
    ///
    /// # Errors
    /// [`RootsError`] of `extra`.
    pub fn load(extra: Option<&Path>) -> Result<Self, RootsError> {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::debug!(%error, "certificate authorities of the system not loaded");
        }
        let mut store = RootCertStore::empty();
        let (added, ignored) = store.add_parsable_certificates(found.certs);
        tracing::debug!(added, ignored, "certificate authorities of the system");
        if let Some(path) = extra {
            add(&mut store, path)?;
        }
        Ok(Self(Arc::new(store)))
    }

    /// How many authorities there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody would be believed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// TLS 1.3 or 1.2, no certificate of ours, HTTP/1.1.
    pub(crate) fn client_config(&self) -> Arc<ClientConfig> {
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
                .expect("aws-lc-rs has suites for TLS 1.2 and 1.3")
                .with_root_certificates(Arc::clone(&self.0))
                .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

fn add(store: &mut RootCertStore, path: &Path) -> Result<(), RootsError> {
    let read = |source| RootsError::Read {
        path: path.to_owned(),
        source,
    };
    let before = store.len();
    for cert in CertificateDer::pem_file_iter(path).map_err(read)? {
        store
            .add(cert.map_err(read)?)
            .map_err(|source| RootsError::Certificate {
                path: path.to_owned(),
                source,
            })?;
    }
    if store.len() == before {
        return Err(RootsError::Empty(path.to_owned()));
    }
    Ok(())
}
