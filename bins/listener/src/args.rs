//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use pki::{SubjectName, WorkerName};
use service::args::{CompletionsArgs, ConfigArg, StatusArgs};

/// Receives syslog over mutual TLS and keeps it per worker
#[derive(Debug, Parser)]
#[command(name = "logferry-listener", version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve until SIGTERM or SIGINT
    Run(ConfigArg),
    /// Look at the configuration and what it names, without opening a port
    Check(ConfigArg),
    /// Ask the running listener how it is
    Status(StatusArgs),
    /// Print a completion script
    Completions(CompletionsArgs),
    /// Make CA, master identity, registry and archive id; what is there stays
    Init(InitArgs),
    /// Make a worker's key and certificate, and register it
    Enroll(EnrollArgs),
    /// List the workers
    Workers(WorkersArgs),
    /// Revoke a worker; its open connections are cut
    Revoke(RevokeArgs),
    /// Take over a DECNET CA: the CA, the master identity and the workers' certificates
    Import(ImportArgs),
    /// Make an invitation by which a worker enrols itself
    Invite(InviteArgs),
    /// List the gaps: what is missing of workers' files, and why
    Gaps(AuditArgs),
    /// Check segments and ledgers of the archive against each other
    Verify(AuditArgs),
}

/// `init`.
#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// Data directory; made if missing
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Name of this installation: part of the CA's name, and a name of the master
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// DNS name or IP address of the master; may be given several times
    #[arg(long, value_name = "NAME_OR_IP")]
    pub(crate) san: Vec<SubjectName>,
}

/// `enroll`.
#[derive(Debug, clap::Args)]
pub(crate) struct EnrollArgs {
    /// Name of the worker: letters, digits, `.`, `_` and `-`, at most 64
    pub(crate) name: WorkerName,
    /// Data directory of the listener
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Where to write ca.crt, worker.crt and worker.key; made if missing
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// DNS name or IP address of the worker; may be given several times
    #[arg(long, value_name = "NAME_OR_IP")]
    pub(crate) san: Vec<SubjectName>,
    /// Enrol a known name again; its older certificates are revoked
    #[arg(long)]
    pub(crate) replace: bool,
}

/// `workers`.
#[derive(Debug, clap::Args)]
pub(crate) struct WorkersArgs {
    /// Data directory of the listener
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Print one JSON object a worker
    #[arg(long)]
    pub(crate) json: bool,
}

/// `revoke`.
#[derive(Debug, clap::Args)]
pub(crate) struct RevokeArgs {
    /// Name of the worker
    pub(crate) name: WorkerName,
    /// Data directory of the listener
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
}

/// `import`.
#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// DECNET's CA directory, for instance ~/.decnet/ca
    #[arg(long, value_name = "DIR")]
    pub(crate) ca_dir: PathBuf,
    /// Data directory of the listener; made if missing
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
}

/// `invite`.
#[derive(Debug, clap::Args)]
pub(crate) struct InviteArgs {
    /// Name of the worker
    pub(crate) name: WorkerName,
    /// Data directory of the listener
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// How long the invitation is good for
    #[arg(long, value_name = "TIME", default_value = "1h")]
    pub(crate) ttl: String,
}

/// `gaps` and `verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct AuditArgs {
    /// Data directory of the listener, which may be running
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Only this worker
    #[arg(long)]
    pub(crate) worker: Option<String>,
    /// Only streams of this name
    #[arg(long)]
    pub(crate) stream: Option<String>,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}
