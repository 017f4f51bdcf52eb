//! Notices what other processes do to the registry, so that `revoke` acts at once on live connections.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, watch};

use crate::fingerprint::Fingerprint;
use crate::registry::{Certificate, Registry, RegistryError};

/// How often the registry is asked for changes.
const POLL: Duration = Duration::from_millis(200);

/// Every registered certificate, as of one moment.
#[derive(Debug, Default)]
pub struct Roster {
    certificates: HashMap<Fingerprint, Certificate>,
}

impl Roster {
    /// The certificate with this fingerprint.
    pub fn get(&self, fingerprint: &Fingerprint) -> Option<&Certificate> {
        self.certificates.get(fingerprint)
    }
}

/// A registry and a copy of it in memory that follows the file. One query of some 50 µs per look; a registry
/// that cannot be read any more keeps the last good copy and is reported once.
#[derive(Debug)]
pub struct RegistryWatch {
    data: PathBuf,
    source: Mutex<Source>,
    roster: ArcSwap<Roster>,
    generation: watch::Sender<u64>,
}

#[derive(Debug)]
struct Source {
    registry: Registry,
    version: i64,
    file: Option<(u64, u64)>,
    failing: bool,
}

impl RegistryWatch {
    /// Opens the registry of a data directory and reads it.
    ///
    /// # Errors
    /// [`RegistryError`] when there is none, or it cannot be read.
    pub async fn open(data: &Path) -> Result<Self, RegistryError> {
        let (source, roster) = read(data).await?;
        Ok(Self {
            data: data.to_owned(),
            source: Mutex::new(source),
            roster: ArcSwap::from_pointee(roster),
            generation: watch::Sender::new(0),
        })
    }

    /// The registry as last seen.
    pub fn roster(&self) -> Arc<Roster> {
        self.roster.load_full()
    }

    /// A counter that goes up whenever the registry has changed.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// The counter itself, for those who have more to announce.
    pub(crate) fn generation(&self) -> watch::Sender<u64> {
        self.generation.clone()
    }

    /// Looks once. Afterwards [`RegistryWatch::roster`] holds what was committed before the call.
    pub async fn look(&self) {
        let mut source = self.source.lock().await;
        match self.changed(&mut source).await {
            Ok(None) => {}
            Ok(Some(roster)) => {
                self.roster.store(Arc::new(roster));
                self.generation.send_modify(|generation| *generation += 1);
            }
            Err(error) if !source.failing => {
                source.failing = true;
                tracing::error!(error = %error, "registry cannot be read, the last good state stays in force");
                return;
            }
            Err(_) => return,
        }
        if std::mem::take(&mut source.failing) {
            tracing::info!(path = %self.data.display(), "registry can be read again");
        }
    }

    /// Looks five times a second, for ever.
    pub async fn follow(&self) -> std::convert::Infallible {
        let mut ticks = tokio::time::interval(POLL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look().await;
        }
    }

    async fn changed(&self, source: &mut Source) -> Result<Option<Roster>, RegistryError> {
        // A file that was replaced (a restored backup) leaves our connection on the old one.
        if file_id(&self.data) != source.file {
            let (fresh, roster) = read(&self.data).await?;
            let failing = source.failing;
            *source = Source { failing, ..fresh };
            return Ok(Some(roster));
        }
        // The version is taken before the rows: a commit between the two is seen again, never missed.
        let version = source.registry.data_version().await?;
        if version == source.version {
            return Ok(None);
        }
        let roster = roster(&source.registry).await?;
        source.version = version;
        Ok(Some(roster))
    }
}

async fn read(data: &Path) -> Result<(Source, Roster), RegistryError> {
    let file = file_id(data);
    let registry = Registry::open(data).await?;
    let version = registry.data_version().await?;
    let roster = roster(&registry).await?;
    Ok((
        Source {
            registry,
            version,
            file,
            failing: false,
        },
        roster,
    ))
}

async fn roster(registry: &Registry) -> Result<Roster, RegistryError> {
    let certificates = registry.certificates().await?.into_iter();
    Ok(Roster {
        certificates: certificates
            .map(|certificate| (certificate.fingerprint, certificate))
            .collect(),
    })
}

fn file_id(data: &Path) -> Option<(u64, u64)> {
    let meta = std::fs::metadata(Registry::path(data)).ok()?;
    Some((meta.dev(), meta.ino()))
}
