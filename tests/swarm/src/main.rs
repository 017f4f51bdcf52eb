//! Command of the local swarm.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Demo { seconds, rate } => swarm::demo::run(seconds, rate),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            swarm::demo::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
