//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use service::args::{CompletionsArgs, ConfigArg, GapsArgs, StatusArgs};

/// Reads Docker's container logs into a syslog file and JSON records, each line once
#[derive(Debug, Parser)]
#[command(name = "logferry-collector", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Collect until stopped
    Run(ConfigArg),
    /// Check configuration and paths, offline
    Check(ConfigArg),
    /// Ask the running collector how it is doing
    Status(StatusArgs),
    /// List the containers of the daemon: what would be collected, how, and why
    Containers(ConfigArg),
    /// List the gaps in the ledger
    Gaps(GapsArgs),
    /// Parse messages on stdin, one JSON value each on stdout
    Parse(ParseArgs),
    /// Print a completion script
    Completions(CompletionsArgs),
}

/// Arguments of `parse`.
#[derive(Clone, Debug, Args)]
pub struct ParseArgs {
    /// How messages are told apart
    #[arg(long, value_enum, default_value_t = Input::Lines)]
    pub input: Input,
    /// What is printed of each
    #[arg(long, value_enum, default_value_t = Format::Decnet)]
    pub format: Format,
    /// The time of a message without one (RFC 3339) [default: now]
    #[arg(long, value_name = "TIME")]
    pub now: Option<jiff::Timestamp>,
}

/// How messages are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Input {
    /// Each ends with LF
    Lines,
    /// Octet counting (RFC 5425 §4.3)
    Frames,
}

/// What is printed of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The DECNET record, or null
    Decnet,
    /// The parts of a message that keeps to RFC 5424, or what is wrong with it
    Rfc5424,
}
