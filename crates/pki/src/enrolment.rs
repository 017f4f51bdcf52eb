//! Enrolment without a network: key, certificate and CA for one worker, written to a directory and registered.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::authority::{Authority, AuthorityError};
use crate::files::{self, DirLock, FileError, Owner};
use crate::identity::certificates;
use crate::name::{SubjectName, SubjectNameError, WorkerName};
use crate::peer::{self, Peer};
use crate::registry::{Registry, RegistryError};

/// What `enroll` is told.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// The worker.
    pub name: WorkerName,
    /// More names and addresses for its certificate.
    pub names: Vec<SubjectName>,
    /// Where `ca.crt worker.crt worker.key` go. Made, 0700, if missing.
    pub out: PathBuf,
    /// Enrol a known name again; its older certificates are revoked.
    pub replace: bool,
}

/// Why a worker could not be enrolled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolError {
    /// The CA.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The registry; among others a name that is taken.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A file operation.
    #[error(transparent)]
    File(#[from] FileError),
    /// A name that a worker's certificate never carries.
    #[error(transparent)]
    SubjectName(#[from] SubjectNameError),
    /// The directory already holds somebody's identity.
    #[error("{} already holds the identity of {holder}", path.display())]
    Occupied {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        holder: String,
    },
}

/// Enrols a worker: the bundle is written first, then registered in one transaction, so that after a crash
/// in between the same command simply works again.
///
/// # Errors
/// [`EnrolError`]; nothing is registered then.
pub async fn enrol(data: &Path, enrolment: Enrolment, now: SystemTime) -> Result<Peer, EnrolError> {
    let Enrolment {
        name,
        names,
        out,
        replace,
    } = enrolment;
    let names: Vec<SubjectName> = names
        .into_iter()
        .map(SubjectName::for_worker)
        .collect::<Result<_, _>>()?;
    let authority = Authority::open(data, now)?;
    let _lock = DirLock::take(&authority.files().dir)?;
    let registry = Registry::open(data).await?;
    if !replace {
        registry.ensure_free(&name).await?;
    }
    check_unoccupied(&out, &name)?;
    let issued = authority.issue(&name, &names, now)?;

    let owner = Owner::of_existing(&out);
    files::make_dir(&out, owner)?;
    files::write_private(&out.join("ca.crt"), issued.ca_pem.as_bytes(), owner)?;
    files::write_private(
        &out.join("worker.crt"),
        issued.certificate_pem.as_bytes(),
        owner,
    )?;
    files::write_private(&out.join("worker.key"), issued.key_pem.as_bytes(), owner)?;
    keep_public_part(&authority, &name, &issued.ca_pem, &issued.certificate_pem)?;
    registry.enrol(&issued.peer, replace, now).await?;
    Ok(issued.peer)
}

/// The CA's own record of a worker: its certificate, never its key.
fn keep_public_part(
    authority: &Authority,
    name: &WorkerName,
    ca: &str,
    certificate: &str,
) -> Result<(), FileError> {
    let dir = authority.files().workers().join(name.as_str());
    files::make_private_dir(&dir, authority.owner())?;
    files::write_private(&dir.join("ca.crt"), ca.as_bytes(), authority.owner())?;
    files::write_private(
        &dir.join("worker.crt"),
        certificate.as_bytes(),
        authority.owner(),
    )
}

/// Refuses to write over another's identity; what an earlier attempt for the same worker left is fine.
fn check_unoccupied(out: &Path, name: &WorkerName) -> Result<(), EnrolError> {
    let occupied = |holder: &str| {
        Err(EnrolError::Occupied {
            path: out.to_owned(),
            holder: holder.to_owned(),
        })
    };
    let certificate = out.join("worker.crt");
    if !certificate.exists() {
        return if out.join("worker.key").exists() {
            occupied("an unknown owner (worker.key)")
        } else {
            Ok(())
        };
    }
    let holder = certificates(&certificate).ok();
    let holder = holder
        .as_ref()
        .and_then(|chain| peer::parse(&chain[0]).ok());
    match holder
        .as_ref()
        .and_then(|certificate| peer::common_name(certificate).ok())
    {
        Some(holder) if holder == name.as_str() => Ok(()),
        Some(holder) => occupied(holder),
        None => occupied("an unknown owner (worker.crt)"),
    }
}
