//! The registry: which certificates belong to which worker, and which of them still count.
//!
//! `DATA/registry.sqlite`, one connection, rollback journal with `synchronous = EXTRA`: when `revoke`
//! returns, the revocation is on the disk.

mod sql;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::Mutex;

use crate::files::{self, FileError, Owner};
use crate::fingerprint::Fingerprint;
use crate::name::WorkerName;
use crate::peer::Peer;

use self::sql::{VERSION, from_seconds, insert, migrate, revoke_all, standing_of};

/// How long a statement waits for another process that is writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a certificate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is served.
    Active,
    /// It was revoked at this time.
    Revoked(SystemTime),
}

/// A registered certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Certificate {
    /// Whose it is.
    pub worker: WorkerName,
    /// SHA-256 of the DER form.
    pub fingerprint: Fingerprint,
    /// Serial number, lower-case hex.
    pub serial: String,
    /// When it was registered.
    pub enrolled_at: SystemTime,
    /// When it ends by itself.
    pub not_after: SystemTime,
    /// Whether it still counts.
    pub standing: Standing,
}

/// A worker and its certificates, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Worker {
    /// Its name.
    pub name: WorkerName,
    /// At least one.
    pub certificates: Vec<Certificate>,
}

impl Worker {
    /// Whether one of its certificates is active. Expiry is not considered.
    pub fn is_active(&self) -> bool {
        self.certificates
            .iter()
            .any(|certificate| certificate.standing == Standing::Active)
    }
}

/// What a revocation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// This many certificates were active until now.
    Revoked(u64),
    /// All had been revoked before.
    Already,
}

/// Why the registry could not be opened, read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// There is none yet.
    #[error("{}: no registry here: run init first", .0.display())]
    Missing(PathBuf),
    /// It could not be created.
    #[error(transparent)]
    File(#[from] FileError),
    /// SQLite refused.
    #[error("{}: {source}", path.display())]
    Database {
        /// The registry file.
        path: PathBuf,
        /// What SQLite said.
        source: sqlx::Error,
    },
    /// Written by a newer program.
    #[error("{}: layout {found} is newer than {VERSION}, the newest known here", path.display())]
    Version {
        /// The registry file.
        path: PathBuf,
        /// The layout it has.
        found: i64,
    },
    /// A row that no program of ours writes.
    #[error("{}: damaged row of {worker:?}", path.display())]
    Damaged {
        /// The registry file.
        path: PathBuf,
        /// The worker's name as it stands there.
        worker: String,
    },
    /// The name is taken.
    #[error("{name} is already enrolled{}", if *.revoked { " (and revoked)" } else { "" })]
    Duplicate {
        /// The worker.
        name: WorkerName,
        /// Whether all its certificates are revoked.
        revoked: bool,
    },
    /// No such worker.
    #[error("no worker {0} is enrolled")]
    Unknown(WorkerName),
}

/// The open registry of a data directory.
#[derive(Debug)]
pub struct Registry {
    path: PathBuf,
    connection: Mutex<SqliteConnection>,
}

type Row = (String, String, String, i64, i64, Option<i64>);

impl Registry {
    /// Where the registry of a data directory lies.
    pub fn path(data: &Path) -> PathBuf {
        data.join("registry.sqlite")
    }

    /// Opens the registry, making an empty one if there is none.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn create(data: &Path) -> Result<Self, RegistryError> {
        let path = Self::path(data);
        if !path.exists() {
            // SQLite would make it by umask; an empty file is an empty database.
            files::write_private(&path, b"", Owner::of(data))?;
        }
        Self::open(data).await
    }

    /// Opens the registry that `init` made.
    ///
    /// # Errors
    /// [`RegistryError::Missing`] when there is none, and what SQLite says otherwise.
    pub async fn open(data: &Path) -> Result<Self, RegistryError> {
        let path = Self::path(data);
        if !path.exists() {
            return Err(RegistryError::Missing(path));
        }
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Delete)
            .synchronous(SqliteSynchronous::Extra)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging();
        let fail = |source| RegistryError::Database {
            path: path.clone(),
            source,
        };
        let mut connection = options.connect().await.map_err(fail)?;
        let (found,): (i64,) = sqlx::query_as("PRAGMA user_version")
            .fetch_one(&mut connection)
            .await
            .map_err(fail)?;
        match found {
            0 => migrate(&mut connection).await.map_err(fail)?,
            VERSION => {}
            _ => return Err(RegistryError::Version { path, found }),
        }
        Ok(Self {
            connection: Mutex::new(connection),
            path,
        })
    }

    /// Registers a certificate. Without `replace` the name must be new; with it the worker's older
    /// certificates are revoked in the same transaction.
    ///
    /// # Errors
    /// [`RegistryError::Duplicate`] when the name is taken.
    pub async fn enrol(
        &self,
        peer: &Peer,
        replace: bool,
        now: SystemTime,
    ) -> Result<(), RegistryError> {
        let mut connection = self.connection.lock().await;
        let mut change = connection
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(|error| self.fail(error))?;
        let taken = standing_of(&mut change, &peer.name)
            .await
            .map_err(|error| self.fail(error))?;
        if let (Some(revoked), false) = (taken, replace) {
            return Err(RegistryError::Duplicate {
                name: peer.name.clone(),
                revoked,
            });
        }
        let name = peer.name.as_str();
        revoke_all(&mut change, name, now)
            .await
            .map_err(|error| self.fail(error))?;
        insert(&mut change, peer, now)
            .await
            .map_err(|error| self.fail(error))?;
        change.commit().await.map_err(|error| self.fail(error))
    }

    /// Registers a certificate beside the worker's others; one that is known stays as it is. Returns whether
    /// it was new.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn adopt(&self, peer: &Peer, now: SystemTime) -> Result<bool, RegistryError> {
        let mut connection = self.connection.lock().await;
        insert(&mut connection, peer, now)
            .await
            .map_err(|error| self.fail(error))
    }

    /// Revokes every certificate of a worker. Durable when it returns.
    ///
    /// # Errors
    /// [`RegistryError::Unknown`] when there is no such worker.
    pub async fn revoke(
        &self,
        name: &WorkerName,
        now: SystemTime,
    ) -> Result<Revocation, RegistryError> {
        let mut connection = self.connection.lock().await;
        let mut change = connection
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(|error| self.fail(error))?;
        let known = standing_of(&mut change, name)
            .await
            .map_err(|error| self.fail(error))?;
        if known.is_none() {
            return Err(RegistryError::Unknown(name.clone()));
        }
        let revoked = revoke_all(&mut change, name.as_str(), now)
            .await
            .map_err(|error| self.fail(error))?;
        change.commit().await.map_err(|error| self.fail(error))?;
        Ok(if revoked == 0 {
            Revocation::Already
        } else {
            Revocation::Revoked(revoked)
        })
    }

    /// The certificate with this fingerprint.
    ///
    /// # Errors
    /// What SQLite says, and [`RegistryError::Damaged`].
    pub async fn lookup(
        &self,
        fingerprint: &Fingerprint,
    ) -> Result<Option<Certificate>, RegistryError> {
        let mut connection = self.connection.lock().await;
        let row: Option<Row> = sqlx::query_as(
            "SELECT worker, fingerprint, serial, enrolled_at, not_after, revoked_at FROM certificates WHERE fingerprint = ?",
        )
        .bind(fingerprint.to_string())
        .fetch_optional(&mut *connection)
        .await
        .map_err(|error| self.fail(error))?;
        row.map(|row| self.certificate(row)).transpose()
    }

    /// Whether a worker of this name was ever enrolled.
    ///
    /// # Errors
    /// [`RegistryError::Duplicate`] when it was, and what SQLite says.
    pub async fn ensure_free(&self, name: &WorkerName) -> Result<(), RegistryError> {
        let mut connection = self.connection.lock().await;
        match standing_of(&mut connection, name)
            .await
            .map_err(|error| self.fail(error))?
        {
            Some(revoked) => Err(RegistryError::Duplicate {
                name: name.clone(),
                revoked,
            }),
            None => Ok(()),
        }
    }

    /// All workers, by name.
    ///
    /// # Errors
    /// What SQLite says, and [`RegistryError::Damaged`].
    pub async fn workers(&self) -> Result<Vec<Worker>, RegistryError> {
        let mut workers: Vec<Worker> = Vec::new();
        for certificate in self.certificates().await? {
            match workers
                .last_mut()
                .filter(|worker| worker.name == certificate.worker)
            {
                Some(worker) => worker.certificates.push(certificate),
                None => workers.push(Worker {
                    name: certificate.worker.clone(),
                    certificates: vec![certificate],
                }),
            }
        }
        Ok(workers)
    }

    /// All certificates, by worker, oldest first.
    pub(crate) async fn certificates(&self) -> Result<Vec<Certificate>, RegistryError> {
        let mut connection = self.connection.lock().await;
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT worker, fingerprint, serial, enrolled_at, not_after, revoked_at FROM certificates \
             ORDER BY worker, enrolled_at, rowid",
        )
        .fetch_all(&mut *connection)
        .await
        .map_err(|error| self.fail(error))?;
        rows.into_iter().map(|row| self.certificate(row)).collect()
    }

    /// A number that changes when another connection has committed something.
    pub(crate) async fn data_version(&self) -> Result<i64, RegistryError> {
        let mut connection = self.connection.lock().await;
        let version: Result<(i64,), _> = sqlx::query_as("PRAGMA data_version")
            .fetch_one(&mut *connection)
            .await;
        version
            .map(|(version,)| version)
            .map_err(|error| self.fail(error))
    }

    fn certificate(&self, row: Row) -> Result<Certificate, RegistryError> {
        let (worker, fingerprint, serial, enrolled_at, not_after, revoked_at) = row;
        let (Ok(name), Ok(fingerprint)) = (
            WorkerName::new(&worker),
            Fingerprint::from_str(&fingerprint),
        ) else {
            return Err(RegistryError::Damaged {
                path: self.path.clone(),
                worker,
            });
        };
        Ok(Certificate {
            worker: name,
            fingerprint,
            serial,
            enrolled_at: from_seconds(enrolled_at),
            not_after: from_seconds(not_after),
            standing: revoked_at.map_or(Standing::Active, |at| Standing::Revoked(from_seconds(at))),
        })
    }

    fn fail(&self, source: sqlx::Error) -> RegistryError {
        RegistryError::Database {
            path: self.path.clone(),
            source,
        }
    }
}
