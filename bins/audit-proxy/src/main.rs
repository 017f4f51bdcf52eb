//! The program `logferry-audit-proxy`.

use std::process::ExitCode;

use audit_proxy::{args::Cli, commands};
use clap::Parser as _;

fn main() -> ExitCode {
    service::finish(commands::carry_out(Cli::parse()))
}
