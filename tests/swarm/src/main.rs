//! Command of the local swarm.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Parser, Subcommand};
use swarm::audit::Audit;
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
    /// Clients write audit records while the audit proxy is killed; says what stands in the archive and what is told.
    Audit {
        /// How many clients.
        #[arg(default_value_t = 10)]
        clients: usize,
        /// Records of each.
        #[arg(default_value_t = 5_000)]
        records: u32,
        /// How many kills.
        #[arg(default_value_t = 10)]
        kills: u32,
        /// What everything random is drawn from [default: the time].
        #[arg(long)]
        seed: Option<u64>,
        /// The master comes only when everything has been written.
        #[arg(long)]
        late_master: bool,
        /// Where to work, and leave everything.
        #[arg(long)]
        dir: Option<PathBuf>,
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
        Command::Audit {
            clients,
            records,
            kills,
            seed,
            late_master,
            dir,
        } => {
            let seed = seed.unwrap_or_else(now);
            let audit = Audit {
                clients,
                records,
                kills,
                seed,
                late_master,
            };
            swarm::audit::show(&audit, dir)
        }
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
