//! Command of the local swarm.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Parser, Subcommand};
use swarm::torture::{Kind, Torture};

#[derive(Parser)]
#[command(
    name = "logferry-swarm",
    about = "A local swarm of logferry's programs"
)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// One master, two workers, decoys; shows lines arriving until Ctrl-C.
    Demo {
        /// Stop by itself after this many seconds (0: at Ctrl-C).
        #[arg(long, default_value_t = 0)]
        seconds: u64,
        /// Lines a second and decoy.
        #[arg(long, default_value_t = 20)]
        rate: u32,
    },
    /// Kills programs at random moments and counts what that lost, repeated or reordered.
    Torture {
        /// How many kills.
        #[arg(default_value_t = 100)]
        kills: u64,
        /// What everything random is drawn from [default: the time].
        seed: Option<u64>,
        /// How many lines are written meanwhile [default: 5000 a kill].
        #[arg(long)]
        lines: Option<u64>,
        /// Where to work, and leave everything.
        #[arg(long)]
        dir: Option<PathBuf>,
        /// Leave a kind of fault out.
        #[arg(long, value_enum)]
        without: Vec<Kind>,
    },
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Demo { seconds, rate } => swarm::demo::run(seconds, rate).map(|()| true),
        Command::Torture {
            kills,
            seed,
            lines,
            dir,
            without,
        } => swarm::torture::run(&Torture {
            kills,
            seed: seed.unwrap_or_else(now),
            lines: lines.unwrap_or(kills * 5_000),
            dir,
            without,
        }),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            swarm::demo::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// A seed for who names none.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_secs())
}
