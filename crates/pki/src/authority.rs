//! The CA of a data directory: made once, then used to sign.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::{Issuer, KeyPair};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::certificate::{self, Role};
use crate::files::{self, DirLock, FileError, Owner};
use crate::fingerprint::{Fingerprint, hex};
use crate::identity::{Identity, IdentityError, check_validity};
use crate::layout::CaFiles;
use crate::name::{SubjectName, WorkerName};
use crate::peer::{self, Peer, PeerError};
use crate::registry::{Registry, RegistryError};

/// The name by which our forwarders know their master.
const MASTER: &str = "logferry-master";

/// What `init` is told.
#[derive(Debug, Clone, Default)]
pub struct InitOptions {
    /// Name of this installation: part of the CA's name, and a name of the master if it is a DNS name or an
    /// address. At most 40 octets.
    pub name: Option<String>,
    /// More names and addresses for the master's certificate.
    pub names: Vec<SubjectName>,
}

/// What `init` did.
#[derive(Debug)]
#[non_exhaustive]
pub struct Initialised {
    /// Files that were not there before, in the order in which they were made.
    pub made: Vec<PathBuf>,
    /// Names asked for that the master's certificate, which was there already, does not carry.
    pub missing_names: Vec<SubjectName>,
    /// The archive's id, 32 hex digits.
    pub archive_id: String,
}

/// A freshly signed worker certificate. The key exists nowhere else.
#[derive(Debug)]
#[non_exhaustive]
pub struct Issued {
    /// Who it is for.
    pub peer: Peer,
    /// The CA's certificate.
    pub ca_pem: String,
    /// The worker's certificate.
    pub certificate_pem: String,
    /// The worker's private key, PKCS #8.
    pub key_pem: String,
}

/// Why the CA could not be made, opened or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A certificate or key file is unusable.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The registry could not be opened.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// There is no CA here yet.
    #[error("{}: no CA here: run init first", .0.display())]
    NotInitialised(PathBuf),
    /// The CA's certificate is there, its key is not: it can be served, not signed with.
    #[error("{}: the CA's key is missing: certificates cannot be issued here", .0.display())]
    NoKey(PathBuf),
    /// The CA's key cannot be used for signing.
    #[error("{}: unusable private key: {source}", path.display())]
    BadKey {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        source: rcgen::Error,
    },
    /// Key and certificate of the CA do not belong together.
    #[error("{}: the key does not match the certificate {}", key.display(), certificate.display())]
    KeyMismatch {
        /// The key file.
        key: PathBuf,
        /// The certificate file.
        certificate: PathBuf,
    },
    /// The archive id file holds something else.
    #[error("{}: not an archive id (32 lower-case hex digits)", .0.display())]
    BadArchiveId(PathBuf),
    /// The name of the installation is too long or holds control characters.
    #[error("{0:?} is not a name of 1 to 40 printable characters")]
    BadName(String),
    /// Signing failed.
    #[error("cannot sign a certificate: {0}")]
    Sign(#[from] rcgen::Error),
    /// What was signed does not read back: a subject of the CA that cannot be encoded the same way again.
    #[error("the CA's subject cannot be reproduced as an issuer")]
    Issuer,
    /// What was signed names no worker.
    #[error(transparent)]
    Peer(#[from] PeerError),
}

/// A CA with its key.
pub struct Authority {
    files: CaFiles,
    owner: Owner,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    not_after: SystemTime,
    pem: String,
}

impl Authority {
    /// Makes what is missing of a data directory: CA, master identity, registry, archive id. What is there
    /// stays as it is, so a second call changes nothing and a call after a crash completes the first.
    ///
    /// # Errors
    /// [`AuthorityError`], naming the file at fault.
    pub async fn init(
        data: &Path,
        options: &InitOptions,
        now: SystemTime,
    ) -> Result<Initialised, AuthorityError> {
        let name = installation_name(options)?;
        files::make_dir(data, Owner::of(data))?;
        let owner = Owner::of(data);
        let files = CaFiles::in_data(data);
        for dir in [&files.dir, &files.master(), &files.workers()] {
            files::make_private_dir(dir, owner)?;
        }
        let _lock = DirLock::take(&files.dir)?;
        let mut made = Vec::new();
        make_ca(&files, &name, owner, now, &mut made)?;
        let mut names = vec![SubjectName::Dns(MASTER.to_owned())];
        names.extend(options.name.iter().filter_map(|name| name.parse().ok()));
        names.extend(options.names.iter().cloned());
        names.dedup();
        let missing_names = make_master(&files, names, owner, now, &mut made)?;
        if !Registry::path(data).exists() {
            made.push(Registry::path(data));
        }
        Registry::create(data).await?;
        let archive_id = make_archive_id(data, owner, &mut made)?;
        Ok(Initialised {
            made,
            missing_names,
            archive_id,
        })
    }

    /// Opens the CA of a data directory for signing.
    ///
    /// # Errors
    /// [`AuthorityError::NotInitialised`], [`AuthorityError::NoKey`], or the file at fault.
    pub fn open(data: &Path, now: SystemTime) -> Result<Self, AuthorityError> {
        Self::open_files(CaFiles::in_data(data), Owner::of(data), now)
    }

    pub(crate) fn open_files(
        files: CaFiles,
        owner: Owner,
        now: SystemTime,
    ) -> Result<Self, AuthorityError> {
        let path = files.certificate();
        if !path.exists() {
            return Err(AuthorityError::NotInitialised(files.dir));
        }
        if !files.key().exists() {
            return Err(AuthorityError::NoKey(files.key()));
        }
        let key = load_key(&files.key())?;
        let certificate = own_certificate(&files, &key)?;
        let parsed = peer::parse(&certificate)?;
        check_validity(&parsed, now).map_err(|what| IdentityError {
            path: path.clone(),
            what,
        })?;
        let not_after = peer::system_time(&parsed.validity().not_after);
        let pem = String::from_utf8_lossy(&files::read(&path)?).into_owned();
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Self {
            files,
            owner,
            issuer,
            certificate,
            not_after,
            pem,
        })
    }

    /// Makes a key and signs a client certificate for `name`. Its SANs are `names` and the worker's own name
    /// where that is a DNS name.
    ///
    /// # Errors
    /// [`AuthorityError`] when signing fails.
    pub fn issue(
        &self,
        name: &WorkerName,
        names: &[SubjectName],
        now: SystemTime,
    ) -> Result<Issued, AuthorityError> {
        let mut all: Vec<SubjectName> = name.as_str().parse().into_iter().collect();
        for name in names {
            if !all.contains(name) {
                all.push(name.clone());
            }
        }
        let key = KeyPair::generate()?;
        let certificate = self.sign(Role::Worker, (name.as_str(), &all), &key, now)?;
        Ok(Issued {
            peer: peer::peer(certificate.der())?,
            ca_pem: self.pem.clone(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    pub(crate) fn files(&self) -> &CaFiles {
        &self.files
    }

    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }

    fn sign(
        &self,
        role: Role,
        subject: (&str, &[SubjectName]),
        key: &KeyPair,
        now: SystemTime,
    ) -> Result<rcgen::Certificate, AuthorityError> {
        let signed = certificate::leaf(&self.issuer, self.not_after, role, subject, key, now)?;
        let (ca, leaf) = (peer::parse(&self.certificate)?, peer::parse(signed.der())?);
        // RFC 5280 §4.1.2.4: the issuer's name, octet for octet.
        if ca.subject().as_raw() != leaf.issuer().as_raw() {
            return Err(AuthorityError::Issuer);
        }
        Ok(signed)
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("dir", &self.files.dir)
            .finish_non_exhaustive()
    }
}

/// Makes `ca.key`, then `ca.crt` for it, where they are missing.
fn make_ca(
    files: &CaFiles,
    name: &str,
    owner: Owner,
    now: SystemTime,
    made: &mut Vec<PathBuf>,
) -> Result<(), AuthorityError> {
    if files.certificate().exists() {
        return Ok(());
    }
    if !files.key().exists() {
        files::write_private(
            &files.key(),
            KeyPair::generate()?.serialize_pem().as_bytes(),
            owner,
        )?;
        made.push(files.key());
    }
    let key = load_key(&files.key())?;
    // Two CAs never share a subject: a verifier that finds its issuer by name would report a bad signature
    // where the truth is another CA.
    let id = hex(&Fingerprint::of(key.public_key_raw()).as_bytes()[..4]);
    let certificate = certificate::authority(&format!("{name} CA {id}"), now).self_signed(&key)?;
    files::write_private(&files.certificate(), certificate.pem().as_bytes(), owner)?;
    made.push(files.certificate());
    Ok(())
}

/// Makes the master's identity where it is missing; otherwise says which of `names` it lacks.
fn make_master(
    files: &CaFiles,
    names: Vec<SubjectName>,
    owner: Owner,
    now: SystemTime,
    made: &mut Vec<PathBuf>,
) -> Result<Vec<SubjectName>, AuthorityError> {
    let dir = files.master();
    let (ca, certificate, key) = (
        dir.join("ca.crt"),
        dir.join("worker.crt"),
        dir.join("worker.key"),
    );
    if !ca.exists() {
        files::write_private(&ca, &files::read(&files.certificate())?, owner)?;
        made.push(ca.clone());
    }
    if certificate.exists() {
        Identity::from_files(&ca, &certificate, &key, now)?;
        let present = crate::identity::certificates(&certificate)?;
        let present = peer::subject_names(&present[0])?;
        let lacking = names
            .into_iter()
            .skip(1)
            .filter(|name| !present.contains(name));
        return Ok(lacking.collect());
    }
    let authority = Authority::open_files(files.clone(), owner, now)?;
    if !key.exists() {
        files::write_private(&key, KeyPair::generate()?.serialize_pem().as_bytes(), owner)?;
        made.push(key.clone());
    }
    let pair = load_key(&key)?;
    let signed = authority.sign(Role::Master, (MASTER, &names), &pair, now)?;
    files::write_private(&certificate, signed.pem().as_bytes(), owner)?;
    made.push(certificate);
    Ok(Vec::new())
}

/// Makes the archive's id where it is missing, and returns it.
fn make_archive_id(
    data: &Path,
    owner: Owner,
    made: &mut Vec<PathBuf>,
) -> Result<String, AuthorityError> {
    let path = data.join("archive-id");
    if let Some(bytes) = files::read_if_there(&path)? {
        let id = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let digits = id
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        return match std::str::from_utf8(id) {
            Ok(id) if digits && id.len() == 32 => Ok(id.to_owned()),
            _ => Err(AuthorityError::BadArchiveId(path)),
        };
    }
    let id = hex(&rand::random::<[u8; 16]>());
    files::write_private(&path, format!("{id}\n").as_bytes(), owner)?;
    made.push(path);
    Ok(id)
}

fn installation_name(options: &InitOptions) -> Result<String, AuthorityError> {
    let Some(name) = &options.name else {
        return Ok("logferry".to_owned());
    };
    // The common name holds at most 64 characters (RFC 5280 ub-common-name), and ours adds 12.
    if name.trim().is_empty() || name.len() > 40 || name.chars().any(char::is_control) {
        return Err(AuthorityError::BadName(name.clone()));
    }
    Ok(name.clone())
}

fn load_key(path: &Path) -> Result<KeyPair, AuthorityError> {
    let der = crate::identity::private_key(path)?;
    KeyPair::try_from(&der).map_err(|source| AuthorityError::BadKey {
        path: path.to_owned(),
        source,
    })
}

/// The certificate of `ca.crt` that belongs to the key; there may be others while a CA is being replaced.
fn own_certificate(
    files: &CaFiles,
    key: &KeyPair,
) -> Result<CertificateDer<'static>, AuthorityError> {
    let path = files.certificate();
    let mine = |der: &CertificateDer<'_>| {
        peer::parse(der).is_ok_and(|certificate| {
            certificate.public_key().subject_public_key.data.as_ref() == key.public_key_raw()
        })
    };
    let found = CertificateDer::pem_slice_iter(&files::read(&path)?)
        .filter_map(Result::ok)
        .find(mine);
    found.ok_or(AuthorityError::KeyMismatch {
        key: files.key(),
        certificate: path,
    })
}
