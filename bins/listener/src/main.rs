//! `logferry-listener`: reads the command line and calls what it names.

mod admin;
mod args;

use std::process::ExitCode;

use clap::Parser;
use service::Failure;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    service::finish(dispatch(Args::parse().command))
}

fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(args) => listener::run(&args.config),
        Command::Check(args) => listener::check(&args.config),
        Command::Status(args) => listener::status(&args),
        Command::Completions(args) => args.print::<Args>(),
        Command::Init(args) => admin::init(&args),
        Command::Enroll(args) => admin::enroll(args),
        Command::Workers(args) => admin::workers(&args),
        Command::Revoke(args) => admin::revoke(&args),
        Command::Import(args) => admin::import(&args),
        Command::Invite(_) => Err(Failure::not_built("invite")),
        Command::Gaps(args) => admin::gaps(&args),
        Command::Verify(args) => admin::verify(&args),
    }
}
