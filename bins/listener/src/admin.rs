//! The commands that work on a data directory: they may run while the listener serves it.

mod audit;
mod failure;

use std::path::Path;
use std::time::SystemTime;

use pki::{Authority, Certificate, Enrolment, InitOptions, Registry, Revocation, Standing, Worker};
use serde::Serialize;
use service::Failure;
use service::out::Out;

pub(crate) use self::audit::{gaps, verify};
use self::failure::explain;
use crate::args::{EnrollArgs, ImportArgs, InitArgs, RevokeArgs, WorkersArgs};

/// Makes what is missing of a data directory, and says what it made.
pub(crate) fn init(args: &InitArgs) -> Result<(), Failure> {
    let options = InitOptions {
        name: args.name.clone(),
        names: args.san.clone(),
    };
    let done =
        block_on(Authority::init(&args.data, &options, SystemTime::now()))?.map_err(explain)?;
    let mut out = Out::new();
    if done.made.is_empty() {
        out.line(format_args!(
            "nothing to do: {} is initialised",
            args.data.display()
        ))?;
    }
    for path in &done.made {
        out.line(format_args!("made {}", path.display()))?;
    }
    for name in &done.missing_names {
        out.line(format_args!(
            "note: the master's certificate was there already and does not carry {name}"
        ))?;
    }
    out.line(format_args!("archive {}", done.archive_id))?;
    out.finish()
}

/// Writes a worker's bundle and registers it.
pub(crate) fn enroll(args: EnrollArgs) -> Result<(), Failure> {
    let EnrollArgs {
        name,
        data,
        out,
        san,
        replace,
    } = args;
    let enrolment = Enrolment {
        name,
        names: san,
        out: out.clone(),
        replace,
    };
    let peer = block_on(pki::enrol(&data, enrolment, SystemTime::now()))?.map_err(explain)?;
    let mut lines = Out::new();
    lines.line(format_args!("enrolled {}", peer.name))?;
    lines.line(format_args!("identity {}", out.display()))?;
    lines.line(format_args!("sha-256 {}", peer.fingerprint))?;
    lines.line(format_args!("expires {}", date(peer.not_after)))?;
    lines.finish()
}

/// Lists the workers: name, standing, end of the certificate in use, its fingerprint.
pub(crate) fn workers(args: &WorkersArgs) -> Result<(), Failure> {
    let workers = block_on(list(&args.data))?.map_err(explain)?;
    let now = SystemTime::now();
    let mut out = Out::new();
    for worker in &workers {
        if args.json {
            out.json(&WorkerLine::new(worker, now))?;
            continue;
        }
        let shown = newest(worker);
        let (standing, end, fingerprint) = (
            standing(shown, now),
            date(shown.not_after),
            shown.fingerprint,
        );
        out.line(format_args!(
            "{} {standing} until {end} sha-256 {fingerprint}",
            worker.name
        ))?;
    }
    out.finish()
}

/// Revokes every certificate of a worker.
pub(crate) fn revoke(args: &RevokeArgs) -> Result<(), Failure> {
    let work = async {
        Registry::open(&args.data)
            .await?
            .revoke(&args.name, SystemTime::now())
            .await
    };
    match block_on(work)?.map_err(explain)? {
        Revocation::Revoked(count) => service::out::line(format_args!(
            "revoked {} (certificates: {count})",
            args.name
        )),
        Revocation::Already => service::out::line(format_args!("{} was revoked before", args.name)),
    }
}

/// Takes over a DECNET CA directory, and says what it left behind and why.
pub(crate) fn import(args: &ImportArgs) -> Result<(), Failure> {
    let done =
        block_on(pki::import(&args.data, &args.ca_dir, SystemTime::now()))?.map_err(explain)?;
    let mut out = Out::new();
    for peer in &done.registered {
        out.line(format_args!(
            "imported {} sha-256 {}",
            peer.name, peer.fingerprint
        ))?;
    }
    for peer in &done.known {
        out.line(format_args!("known {}", peer.name))?;
    }
    for skipped in &done.skipped {
        out.line(format_args!(
            "skipped {}: {}",
            skipped.path.display(),
            skipped.reason
        ))?;
    }
    let (new, known, skipped) = (done.registered.len(), done.known.len(), done.skipped.len());
    out.line(format_args!(
        "workers imported {new} known {known} skipped {skipped}"
    ))?;
    out.line(format_args!("archive {}", done.init.archive_id))?;
    out.finish()
}

async fn list(data: &Path) -> Result<Vec<Worker>, pki::RegistryError> {
    Registry::open(data).await?.workers().await
}

/// A worker as `workers --json` prints it.
#[derive(Serialize)]
struct WorkerLine {
    worker: String,
    standing: &'static str,
    certificates: Vec<CertificateLine>,
}

#[derive(Serialize)]
struct CertificateLine {
    fingerprint: String,
    serial: String,
    standing: &'static str,
    enrolled_at: String,
    not_after: String,
    revoked_at: Option<String>,
}

impl WorkerLine {
    fn new(worker: &Worker, now: SystemTime) -> Self {
        let certificates = worker
            .certificates
            .iter()
            .map(|certificate| CertificateLine {
                fingerprint: certificate.fingerprint.to_string(),
                serial: certificate.serial.clone(),
                standing: standing(certificate, now),
                enrolled_at: date(certificate.enrolled_at),
                not_after: date(certificate.not_after),
                revoked_at: match certificate.standing {
                    Standing::Revoked(at) => Some(date(at)),
                    Standing::Active => None,
                },
            });
        Self {
            worker: worker.name.to_string(),
            standing: standing(newest(worker), now),
            certificates: certificates.collect(),
        }
    }
}

/// The newest active certificate, else the newest.
fn newest(worker: &Worker) -> &Certificate {
    let active = worker
        .certificates
        .iter()
        .rev()
        .find(|certificate| certificate.standing == Standing::Active);
    active
        .or(worker.certificates.last())
        .expect("a worker has at least one certificate")
}

fn standing(certificate: &Certificate, now: SystemTime) -> &'static str {
    match certificate.standing {
        Standing::Revoked(_) => "revoked",
        Standing::Active if certificate.not_after < now => "expired",
        Standing::Active => "active",
    }
}

fn date(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time)
        .unwrap_or_default()
        .to_string()
}

fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    Ok(service::runtime(1)?.block_on(work))
}
