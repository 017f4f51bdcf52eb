//! The program `logferry-collector`.

use std::process::ExitCode;

use clap::Parser as _;
use collector::{args::Cli, commands};

fn main() -> ExitCode {
    service::finish(commands::carry_out(Cli::parse()))
}
