//! The program `logferry-bench`.

use std::process::ExitCode;

use bench::args::{Cli, Command};
use clap::Parser as _;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        None => bench::run(&cli.bench),
        Some(Command::CopyReceive(end)) => bench::copy::receive(&end),
        Some(Command::CopySend(end)) => bench::copy::send(&end),
    };
    service::finish(result.map_err(Into::into))
}
