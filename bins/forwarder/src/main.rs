//! The program `logferry-forwarder`.

use std::process::ExitCode;

use clap::Parser as _;
use forwarder::{args::Cli, commands};

fn main() -> ExitCode {
    service::finish(commands::carry_out(Cli::parse()))
}
