//! The command line.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};

/// Measures the delivery path against a bare TLS copy and against other programs.
#[derive(Debug, Parser)]
#[command(name = "logferry-bench", version)]
pub struct Cli {
    /// What the bench starts itself as.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What to measure.
    #[command(flatten)]
    pub bench: Bench,
}

/// The two ends of the bare copy, which are processes so that they can be measured like the others.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The receiving end of the bare copy
    #[command(hide = true)]
    CopyReceive(CopyEnd),
    /// The sending end of the bare copy
    #[command(hide = true)]
    CopySend(CopyEnd),
}

/// One end of the bare copy.
#[derive(Debug, Args)]
pub struct CopyEnd {
    /// Folder of `ca.crt worker.crt worker.key`
    pub identity: PathBuf,
    /// The file to read or to write
    pub file: PathBuf,
    /// File that is made with the port in it (receiver), or when everything is acknowledged (sender)
    pub note: PathBuf,
    /// Where to send to
    #[arg(default_value_t = 0)]
    pub port: u16,
}

/// What to measure.
#[derive(Debug, Clone, Args)]
pub struct Bench {
    /// Lines of a transfer, about 230 octets each
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=20_000_000))]
    pub lines: u64,
    /// Rounds; in each everyone has one turn
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub rounds: u32,
    /// Only these, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "NAMES", value_parser = PossibleValuesParser::new(NAMES))]
    pub only: Vec<String>,
    /// Lines a second while the latency is measured
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub rate: u64,
    /// How long the latency is measured, in seconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// One JSON object a measurement, on stdout
    #[arg(long)]
    pub json: bool,
    /// Where the files of a run lie, and go away with it; it must be a disk
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    pub dir: PathBuf,
    /// Root of an unpacked syslog-ng, if it is not installed
    #[arg(long, value_name = "DIR", default_value = "target/syslog-ng")]
    pub syslog_ng: PathBuf,
}

/// What there is to measure: ways for the lines, in the order of the first round, and the latency of ours.
pub(crate) const NAMES: [&str; 7] = [
    "logferry",
    "copy",
    "rsyslog",
    "rsyslog-disk",
    "syslog-ng",
    "syslog-ng-disk",
    LATENCY,
];
pub(crate) const LATENCY: &str = "latency";
