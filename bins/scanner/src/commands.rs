//! The commands, one function each.

use std::path::Path;

use service::{Failure, out};

use crate::args::{Cli, Command, Deliveries, Rules, Trigger};
use crate::config::Config;

/// Carries out a command.
///
/// # Errors
/// What the command says; see [`Failure`] for the exit codes.
pub fn carry_out(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Run(args) => crate::run::run(&args.config),
        Command::Check(args) => check(&args.config),
        Command::Status(args) => {
            let (config, _) = Config::read(&args.config)?;
            service::status::page_command(&config.status, &config.access, "/status", args.json)
        }
        Command::Rules(Rules::Check(_)) => Err(Failure::not_built("rules check")),
        Command::Rules(Rules::Test(_)) => Err(Failure::not_built("rules test")),
        Command::Rules(Rules::Effective(_)) => Err(Failure::not_built("rules effective")),
        Command::Rules(Rules::Replay(_)) => Err(Failure::not_built("rules replay")),
        Command::Events(_) => Err(Failure::not_built("events")),
        Command::Deliveries(Deliveries::List(_)) => Err(Failure::not_built("deliveries list")),
        Command::Deliveries(Deliveries::Replay(_)) => Err(Failure::not_built("deliveries replay")),
        Command::Trigger(Trigger::Test(_)) => Err(Failure::not_built("trigger test")),
        Command::Stats(_) => Err(Failure::not_built("stats")),
        Command::Completions(args) => args.print::<Cli>(),
    }
}

fn check(path: &Path) -> Result<(), Failure> {
    Config::load(path)?;
    out::line(format_args!("{}: ok", path.display()))
}
