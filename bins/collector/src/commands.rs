//! The commands, one function each.

use std::{
    io::{self, BufWriter},
    time::SystemTime,
};

use anyhow::Context as _;
use service::{Failure, args::GapsArgs, out::Out};

use crate::{
    args::{Cli, Command, ParseArgs},
    config::{Config, read_names},
    docker::{Docker, Inspected},
    gap,
    own::own_container,
    parse::parse,
    select::{Choice, Rules},
    source::file,
};

/// Carries out a command.
///
/// # Errors
/// What the command says; see [`Failure`] for the exit codes.
pub fn carry_out(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Run(args) => crate::run::run(&args.config),
        Command::Check(args) => {
            let (config, _) = Config::load(&args.config)?;
            let mut out = Out::new();
            for notice in &config.notices {
                out.line(format_args!("note: {notice}"))?;
            }
            out.line(format_args!("{}: ok", args.config.display()))?;
            out.finish()
        }
        Command::Status(args) => {
            let (config, _) = Config::load(&args.config)?;
            service::status::status_command(&config.status.listen(&config.state), args.json)
        }
        Command::Containers(args) => {
            let (config, _) = Config::load(&args.config)?;
            service::runtime(1)?.block_on(containers(&config))
        }
        Command::Gaps(args) => gaps(&args),
        Command::Parse(args) => parse_stdin(&args),
        Command::Completions(args) => args.print::<Cli>(),
    }
}

async fn containers(config: &Config) -> Result<(), Failure> {
    let Some(endpoint) = &config.docker else {
        // Nothing is collected, which is what an empty list says.
        return Ok(());
    };
    let docker = Docker::connect(endpoint)
        .await
        .with_context(|| format!("connect to {}", crate::docker::name(endpoint)))?;
    let names = match &config.decnet_state {
        Some(path) if path.exists() => read_names(path).map_err(anyhow::Error::msg)?,
        _ => Default::default(),
    };
    let rules = Rules {
        labels: config.labels.clone(),
        names,
        own: own_container(),
    };
    let mut listed = docker.list().await.context("list containers")?;
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    let mut out = Out::new();
    for summary in listed {
        let why = rules.judge(&summary);
        let id: String = summary.id.chars().take(12).collect();
        if !why.collects() {
            out.line(format_args!("skip\t{}\t{id}\t{why}", summary.name))?;
            continue;
        }
        let inspected = docker.inspect(&summary.id).await;
        let facts = match inspected.context("inspect a container")? {
            Inspected::Found(facts) => facts,
            Inspected::Gone => continue,
            Inspected::Refused(error) => {
                let line = format!("collect\t{}\t{id}\t{why}\tunknown: {error}", summary.name);
                out.line(line)?;
                continue;
            }
        };
        let choice = facts.choose(config.read, |_| file::probe(&facts.container()).is_ok());
        let reader = match choice {
            Choice::File(path) => format!("file {}", path.display()),
            Choice::Api { warning: None } => format!("api, driver {}", facts.driver),
            Choice::Api {
                warning: Some(warning),
            } => {
                format!("api, driver {} ({warning})", facts.driver)
            }
            Choice::Unreadable(why) => format!("unreadable: {why}"),
        };
        out.line(format_args!(
            "collect\t{}\t{id}\t{why}\t{reader}",
            summary.name
        ))?;
    }
    out.finish()
}

fn gaps(args: &GapsArgs) -> Result<(), Failure> {
    let (config, _) = Config::load(&args.config.config)?;
    let mut out = Out::new();
    for gap in gap::list(&config.state.join(crate::run::LEDGER))? {
        if args.json {
            out.json(&gap)?;
        } else {
            out.line(gap::human(&gap))?;
        }
    }
    out.finish()
}

fn parse_stdin(args: &ParseArgs) -> Result<(), Failure> {
    let now = args
        .now
        .or_else(|| jiff::Timestamp::try_from(SystemTime::now()).ok());
    let now_ns = now
        .and_then(|now| i64::try_from(now.as_nanosecond()).ok())
        .unwrap_or_default();
    let mut output = BufWriter::new(io::stdout().lock());
    let parsed = parse(
        args.input,
        args.format,
        now_ns,
        &mut io::stdin().lock(),
        &mut output,
    );
    let flushed = io::Write::flush(&mut output);
    match parsed.and(flushed.map_err(anyhow::Error::from)) {
        Err(error) if is_closed(&error) => Err(Failure::Closed),
        result => Ok(result?),
    }
}

fn is_closed(error: &anyhow::Error) -> bool {
    let io = error
        .downcast_ref::<io::Error>()
        .or_else(|| error.root_cause().downcast_ref());
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
