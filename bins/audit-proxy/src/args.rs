//! The command line.

use clap::{Parser, Subcommand};
use service::args::{CompletionsArgs, ConfigArg, GapsArgs, StatusArgs};

/// Takes boundary audit records from a Unix socket into a syslog file and JSON records
#[derive(Debug, Parser)]
#[command(name = "logferry-audit-proxy", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the socket until stopped
    Run(ConfigArg),
    /// Check configuration and paths, offline
    Check(ConfigArg),
    /// Ask the running proxy how it is doing
    Status(StatusArgs),
    /// Decode audit frames on stdin, one JSON object per record on stdout
    Decode,
    /// List what is known to be missing: sequence gaps and dropped records
    Gaps(GapsArgs),
    /// Print a completion script
    Completions(CompletionsArgs),
}
