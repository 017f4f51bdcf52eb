//! Takes over a DECNET CA directory: CA, master identity, and the certificates of its workers.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;

use crate::authority::{Authority, AuthorityError, InitOptions, Initialised};
use crate::files::{self, DirLock, FileError, Owner};
use crate::identity::{
    Identity, IdentityError, IdentityProblem, certificates, check_validity, signed_by_any,
};
use crate::layout::CaFiles;
use crate::name::WorkerName;
use crate::peer::{self, Peer, PeerError};
use crate::registry::{Registry, RegistryError};

/// The most worker directories that one import walks through.
const MAX_WORKERS: usize = 100_000;

/// What `import` did.
#[derive(Debug)]
#[non_exhaustive]
pub struct Imported {
    /// Workers registered now.
    pub registered: Vec<Peer>,
    /// Workers that the registry knew already, with the same certificate.
    pub known: Vec<Peer>,
    /// Directories that were not taken over, and why.
    pub skipped: Vec<Skipped>,
    /// What else had to be made.
    pub init: Initialised,
}

/// A worker directory that was not taken over.
#[derive(Debug)]
#[non_exhaustive]
pub struct Skipped {
    /// The directory.
    pub path: PathBuf,
    /// Why.
    pub reason: SkipReason,
}

/// Why a worker directory was not taken over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SkipReason {
    /// The certificate cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The certificate names no worker.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The worker was revoked here; an import does not bring it back.
    #[error("{0} is revoked")]
    Revoked(WorkerName),
}

/// Why nothing could be imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A file operation.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file of the CA or of the master is unusable.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The CA, once copied.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The data directory has a CA of its own.
    #[error("{}: is another CA: an import needs a data directory without one", .0.display())]
    OtherCa(PathBuf),
}

/// Copies the CA in `ca_dir` into `data` and registers its workers. What is there already stays; a second
/// import takes over what has been added since, also a new certificate of a worker that is known.
///
/// # Errors
/// [`ImportError`]; a worker that cannot be taken over is no error but listed in [`Imported::skipped`].
pub async fn import(data: &Path, ca_dir: &Path, now: SystemTime) -> Result<Imported, ImportError> {
    let source = CaFiles {
        dir: ca_dir.to_owned(),
    };
    let anchors = certificates(&source.certificate())?;
    let target = CaFiles::in_data(data);
    if target.certificate().exists() && certificates(&target.certificate())? != anchors {
        return Err(ImportError::OtherCa(target.certificate()));
    }
    // A key without certificate is either what an interrupted import left, or another CA's.
    if let (Some(key), false) = (
        files::read_if_there(&target.key())?,
        target.certificate().exists(),
    ) && files::read_if_there(&source.key())?.as_ref() != Some(&key)
    {
        return Err(ImportError::OtherCa(target.key()));
    }
    copy_ca(data, &source, &target, now)?;
    let init = Authority::init(data, &InitOptions::default(), now).await?;

    let registry = Registry::open(data).await?;
    let _lock = DirLock::take(&target.dir)?;
    let mut imported = Imported {
        registered: Vec::new(),
        known: Vec::new(),
        skipped: Vec::new(),
        init,
    };
    for dir in worker_dirs(&source.workers())? {
        match read_worker(&dir, &anchors, now) {
            Ok((peer, pem)) => {
                take_over(
                    &registry,
                    &target,
                    data,
                    dir,
                    (peer, pem),
                    now,
                    &mut imported,
                )
                .await?
            }
            Err(reason) => imported.skipped.push(Skipped { path: dir, reason }),
        }
    }
    Ok(imported)
}

/// CA and master identity: certificate last, since its presence says that the key is there too.
fn copy_ca(
    data: &Path,
    source: &CaFiles,
    target: &CaFiles,
    now: SystemTime,
) -> Result<(), ImportError> {
    files::make_dir(data, Owner::of(data))?;
    let owner = Owner::of(data);
    for dir in [&target.dir, &target.master(), &target.workers()] {
        files::make_private_dir(dir, owner)?;
    }
    let _lock = DirLock::take(&target.dir)?;
    let copy = |from: PathBuf, to: PathBuf| -> Result<(), FileError> {
        match (to.exists(), files::read_if_there(&from)?) {
            (false, Some(bytes)) => files::write_private(&to, &bytes, owner),
            _ => Ok(()),
        }
    };
    copy(source.key(), target.key())?;
    copy(source.certificate(), target.certificate())?;
    copy(source.crl(), target.crl())?;
    let (from, to) = (source.master(), target.master());
    if from.join("worker.crt").exists() && !to.join("worker.crt").exists() {
        // Checked before it is copied: what fails here would fail every handshake later.
        Identity::from_files(
            &source.certificate(),
            &from.join("worker.crt"),
            &from.join("worker.key"),
            now,
        )?;
        for name in ["ca.crt", "worker.key", "worker.crt"] {
            copy(from.join(name), to.join(name))?;
        }
    }
    Ok(())
}

fn worker_dirs(workers: &Path) -> Result<Vec<PathBuf>, FileError> {
    let entries = match fs::read_dir(workers) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(FileError::new(workers, "read", error)),
    };
    let dirs = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.is_dir());
    let mut dirs: Vec<PathBuf> = dirs.take(MAX_WORKERS).collect();
    dirs.sort();
    Ok(dirs)
}

fn read_worker(
    dir: &Path,
    anchors: &[CertificateDer<'_>],
    now: SystemTime,
) -> Result<(Peer, Vec<u8>), SkipReason> {
    let path = dir.join("worker.crt");
    let at = |what| IdentityError {
        path: path.clone(),
        what,
    };
    let chain = certificates(&path)?;
    let parsed = peer::parse(&chain[0])?;
    check_validity(&parsed, now).map_err(at)?;
    if !signed_by_any(&chain, anchors) {
        return Err(at(IdentityProblem::OtherCa(PathBuf::from("ca.crt"))).into());
    }
    let peer = peer::peer(&chain[0])?;
    let pem = files::read(&path).map_err(|error| at(IdentityProblem::Unreadable(error.source)))?;
    Ok((peer, pem))
}

async fn take_over(
    registry: &Registry,
    target: &CaFiles,
    data: &Path,
    dir: PathBuf,
    (peer, pem): (Peer, Vec<u8>),
    now: SystemTime,
    imported: &mut Imported,
) -> Result<(), ImportError> {
    if registry.lookup(&peer.fingerprint).await?.is_some() {
        imported.known.push(peer);
        return Ok(());
    }
    match registry.ensure_free(&peer.name).await {
        Ok(()) | Err(RegistryError::Duplicate { revoked: false, .. }) => {}
        Err(RegistryError::Duplicate { name, .. }) => {
            let reason = SkipReason::Revoked(name);
            imported.skipped.push(Skipped { path: dir, reason });
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    }
    let owner = Owner::of(data);
    let kept = target.workers().join(peer.name.as_str());
    files::make_private_dir(&kept, owner)?;
    files::write_private(
        &kept.join("ca.crt"),
        &files::read(&target.certificate())?,
        owner,
    )?;
    files::write_private(&kept.join("worker.crt"), &pem, owner)?;
    registry.adopt(&peer, now).await?;
    imported.registered.push(peer);
    Ok(())
}
