//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use service::args::{CompletionsArgs, ConfigArg, StatusArgs};

/// Tails log files and delivers them to the master over mutual TLS
#[derive(Debug, Parser)]
#[command(name = "logferry-forwarder", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Forward until stopped
    Run(ConfigArg),
    /// Check configuration, identity and paths, offline
    Check(ConfigArg),
    /// Ask the running forwarder how it is doing
    Status(StatusArgs),
    /// Show how far each stream is delivered
    Offsets(StatusArgs),
    /// Enrol this host with an invitation
    Join(JoinArgs),
    /// Print a completion script
    Completions(CompletionsArgs),
}

/// Arguments of `join`.
#[derive(Debug, Args)]
pub struct JoinArgs {
    /// The invitation, as `logferry-listener invite` printed it
    pub token: String,
    /// Where to write ca.crt, worker.crt and worker.key
    #[arg(long, value_name = "DIR")]
    pub identity: PathBuf,
}
