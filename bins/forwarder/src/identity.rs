//! This host's certificate: read again at each connection, so that a renewed one needs no restart. A broken new file
//! keeps the last good one, loudly.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use pki::{Identity, MasterCheck};
use rustls::ClientConfig;
use service::Seldom;
use tracing::{error, info};

/// The identity in use.
#[derive(Debug)]
pub(crate) struct Identities {
    dir: PathBuf,
    check: MasterCheck,
    current: Mutex<Option<Current>>,
    complaint: Seldom,
}

#[derive(Debug, Clone)]
struct Current {
    fingerprint: pki::Fingerprint,
    not_after: SystemTime,
    config: Arc<ClientConfig>,
}

impl Identities {
    /// Nothing is read yet.
    pub(crate) fn new(dir: PathBuf, check: MasterCheck) -> Self {
        Self {
            dir,
            check,
            current: Mutex::new(None),
            complaint: Seldom::new(Duration::from_secs(60)),
        }
    }

    /// The TLS configuration for a new connection. Blocks on small files.
    ///
    /// # Errors
    /// There is no usable identity, and there never was one.
    pub(crate) fn config(&self, alpn: &[&[u8]]) -> anyhow::Result<Arc<ClientConfig>> {
        let loaded = Identity::load(&self.dir).map_err(anyhow::Error::from);
        let made = loaded.and_then(|identity| {
            let config = pki::client_config(&identity, self.check.clone(), alpn)?;
            Ok(Current {
                fingerprint: identity.fingerprint(),
                not_after: identity.not_after(),
                config,
            })
        });
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match made {
            Ok(new) => {
                if current
                    .as_ref()
                    .is_some_and(|old| old.fingerprint != new.fingerprint)
                {
                    info!(fingerprint = %new.fingerprint, "new certificate in use");
                }
                let config = Arc::clone(&new.config);
                *current = Some(new);
                Ok(config)
            }
            Err(error) => match &*current {
                Some(old) => {
                    if self.complaint.allow((), Instant::now()).is_some() {
                        error!(
                            error = format!("{error:#}"),
                            "identity can't be read, the old one stays in use"
                        );
                    }
                    Ok(Arc::clone(&old.config))
                }
                None => Err(error),
            },
        }
    }

    /// When the certificate in use ends.
    pub(crate) fn not_after(&self) -> Option<SystemTime> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().map(|current| current.not_after)
    }
}
