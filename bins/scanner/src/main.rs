//! The program `logferry-scanner`.

use std::process::ExitCode;

use clap::Parser as _;
use scanner::{args::Cli, commands};

fn main() -> ExitCode {
    service::finish(commands::carry_out(Cli::parse()))
}
