//! The command line.

use std::path::PathBuf;

use crate::{Decoy, Profile};

/// Plays DECNET services: prints lines with sequence numbers.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "logferry-decoy", version)]
pub struct Args {
    /// HOSTNAME of the lines.
    #[arg(long, default_value = "decoy")]
    pub name: String,
    /// How many lines; 0: endless.
    #[arg(long, default_value_t = 100)]
    pub count: u64,
    /// Lines a second; 0: as fast as they are taken.
    #[arg(long, default_value_t = 0)]
    pub rate: u64,
    /// What kinds of lines.
    #[arg(long, value_enum, default_value = "clean")]
    pub profile: Profile,
    /// Print noise on standard error as well, one line for each ten.
    #[arg(long)]
    pub stderr: bool,
    /// Leave out the LF of the last line.
    #[arg(long)]
    pub no_final_lf: bool,
    /// Append to this file instead of printing, for hosts without Docker.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Another seed, other lines.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The first sequence number.
    #[arg(long, default_value_t = 0)]
    pub start: u64,
    /// Stay after the last line, until SIGTERM.
    #[arg(long)]
    pub linger: bool,
}

impl Args {
    /// The decoy that is asked for.
    #[must_use]
    pub fn decoy(&self) -> Decoy {
        Decoy {
            name: self.name.clone(),
            seed: self.seed,
            profile: self.profile,
        }
    }
}
