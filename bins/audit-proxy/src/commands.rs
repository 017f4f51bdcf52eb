//! The commands, one function each.

use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use service::Failure;
use service::args::GapsArgs;
use service::config::Environment;
use service::out::Out;

use crate::args::{Cli, Command};
use crate::config::Config;
use crate::{decode, gaps};

/// Carries out a command.
///
/// # Errors
/// What the command says; see [`Failure`] for the exit codes.
pub fn carry_out(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Run(args) => crate::run::run(&args.config),
        Command::Check(args) => check(&args.config),
        Command::Status(args) => {
            let (config, _) = Config::read(&args.config, &Environment::process())?;
            service::status::status_command(&config.status, args.json)
        }
        Command::Decode => decode_stdin(),
        Command::Gaps(args) => list_gaps(&args),
        Command::Completions(args) => args.print::<Cli>(),
    }
}

fn check(path: &Path) -> Result<(), Failure> {
    let (config, _) = Config::load(path, &Environment::process())?;
    let mut out = Out::new();
    for notice in &config.notices {
        out.line(format_args!("note: {notice}"))?;
    }
    out.line(format_args!("{}: ok", path.display()))?;
    out.finish()
}

fn decode_stdin() -> Result<(), Failure> {
    let mut output = BufWriter::new(io::stdout().lock());
    let decoded = decode::decode(&mut io::stdin().lock(), &mut output);
    let flushed = output.flush();
    match decoded.and(flushed.map_err(anyhow::Error::from)) {
        Err(error) if is_closed(&error) => Err(Failure::Closed),
        result => Ok(result?),
    }
}

fn is_closed(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn list_gaps(args: &GapsArgs) -> Result<(), Failure> {
    let (config, _) = Config::read(&args.config.config, &Environment::process())?;
    let mut out = Out::new();
    for gap in gaps::list(&config.state.join(crate::run::LEDGER), config.stream())? {
        if args.json {
            out.json(&gap)?;
        } else {
            out.line(gaps::human(&gap))?;
        }
    }
    out.finish()
}
