//! The commands, one function each. Those that read work beside a running scanner.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use serde_json::Value;
use service::args::{ConfigArg, StatusArgs};
use service::config::{Environment, Problems, Source};
use service::out::Out;
use service::{Failure, out};

use crate::args::{Cli, Command, Deliveries, EffectiveArgs, EventsArgs, Rules, TestArgs, Trigger};
use crate::config::Config;
use crate::store::EventReader;
use crate::trial::{self, Trial};
use crate::{dispatch, replay, rulefiles};

/// Carries out a command.
///
/// # Errors
/// What the command says; see [`Failure`] for the exit codes.
pub fn carry_out(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Run(args) => crate::run::run(&args.config),
        Command::Check(args) => check(&args.config),
        Command::Status(args) => page(&args, "/status"),
        Command::Rules(Rules::Check(args)) => rules_check(&args),
        Command::Rules(Rules::Test(args)) => rules_test(&args),
        Command::Rules(Rules::Effective(args)) => rules_effective(&args),
        Command::Rules(Rules::Replay(args)) => replay::command(&args),
        Command::Events(args) => events(&args),
        Command::Deliveries(Deliveries::List(args)) => {
            let (config, _) = read(&args.config.config)?;
            let list = dispatch::commands::list(&config.state, args.dead, args.json);
            service::runtime(1)?.block_on(list)
        }
        Command::Deliveries(Deliveries::Replay(args)) => {
            let (config, _) = read(&args.config.config)?;
            let replay = dispatch::commands::replay(&config.state, &args.id);
            service::runtime(1)?.block_on(replay)
        }
        Command::Trigger(Trigger::Test(args)) => {
            let (config, _) = read(&args.config.config)?;
            let test = dispatch::commands::test(&config.webhooks, &config.triggers, &args);
            service::runtime(1)?.block_on(test)
        }
        Command::Stats(args) => page(&args, "/stats"),
        Command::Completions(args) => args.print::<Cli>(),
    }
}

/// The configuration, for commands that ask.
///
/// # Errors
/// Every problem at once.
pub(crate) fn read(path: &Path) -> Result<(Config, Source), Problems> {
    Config::read(path, &Environment::process())
}

fn page(args: &StatusArgs, page: &str) -> Result<(), Failure> {
    let (config, _) = read(&args.config)?;
    service::status::page_command(&config.status, &config.access, page, args.json)
}

/// Configuration, rules, triggers and places, with everything that is wrong with any of them.
fn check(path: &Path) -> Result<(), Failure> {
    let mut problems = Config::load(path, &Environment::process())
        .err()
        .unwrap_or_default();
    // What is wrong with rules and triggers as well, if it can be told where they are.
    if let Ok((config, _)) = read(path) {
        for notice in &config.notices {
            out::line(format_args!("note: {notice}"))?;
        }
        let rules = rulefiles::check(&config.rules).err();
        problems.0.extend(rules.unwrap_or_default().0);
        let triggers = dispatch::check(&config.webhooks, &config.triggers);
        problems.0.extend(triggers);
    }
    ok_unless(path, (!problems.0.is_empty()).then_some(problems))
}

fn rules_check(args: &ConfigArg) -> Result<(), Failure> {
    let (config, _) = read(&args.config)?;
    ok_unless(&config.rules, rulefiles::check(&config.rules).err())
}

fn ok_unless(path: &Path, problems: Option<Problems>) -> Result<(), Failure> {
    match problems {
        Some(problems) => Err(problems.into()),
        None => out::line(format_args!("{}: ok", path.display())),
    }
}

fn rules_test(args: &TestArgs) -> Result<(), Failure> {
    let (config, _) = read(&args.config.config)?;
    let set = rulefiles::check(&config.rules)?;
    let trial = Trial {
        line: args.line.as_bytes(),
        stream: args.stream.as_deref(),
        workload: args.workload.as_deref(),
    };
    let tried = trial.rules(&set, &trial::Options::of(&config));
    let tried = tried.map_err(Failure::Usage)?;
    if args.json {
        return out::json(&tried);
    }
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let mut out = Out::new();
    for key in ["matched", "workload_id", "stream", "would_strip_time"] {
        out.line(format_args!("{key:<16}  {}", text(&tried[key])))?;
    }
    let rules = tried["rules"].as_array().map_or(&[][..], Vec::as_slice);
    for rule in rules.iter().filter(|rule| rule["matched"] == true) {
        let (id, origin) = (text(&rule["rule_id"]), text(&rule["origin"]));
        let (severity, span) = (text(&rule["severity"]), text(&rule["span"]));
        out.line(format_args!(
            "{id}  {severity}  {origin}  span {span}  captures {}",
            rule["captures"]
        ))?;
    }
    out.finish()
}

fn rules_effective(args: &EffectiveArgs) -> Result<(), Failure> {
    let (config, _) = read(&args.config.config)?;
    let set = rulefiles::check(&config.rules)?;
    let mut out = Out::new();
    for rule in trial::effective(&set, &args.workload)
        .as_array()
        .into_iter()
        .flatten()
    {
        if args.json {
            out.json(rule)?;
            continue;
        }
        let text = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
        let (id, origin) = (text("rule_id"), text("origin"));
        out.line(format_args!(
            "{id}  {origin}  {}  {}  {}",
            text("severity"),
            text("stream"),
            text("pattern")
        ))?;
    }
    out.finish()
}

fn events(args: &EventsArgs) -> Result<(), Failure> {
    let (config, _) = read(&args.config.config)?;
    let since = args
        .since
        .as_deref()
        .map(since)
        .transpose()
        .map_err(Failure::Usage)?;
    let runtime = service::runtime(1)?;
    runtime.block_on(async {
        let mut reader = EventReader::open(&config.state).await?;
        let read = "read events";
        let mut seq = match since {
            Some(ms) => reader.before(ms).await.context(read)?,
            None if args.follow => reader.last_seq().await.context(read)?,
            None => 0,
        };
        loop {
            let page = reader.after(seq, PAGE).await.context(read)?;
            let mut out = Out::new();
            for event in &page {
                seq = event.seq;
                if args.json {
                    out.line(&event.body)?;
                } else {
                    let line = format!(
                        "{}  {}  {:<5}  {}  {}  {}",
                        event.seq,
                        event.ts,
                        event.severity,
                        event.workload,
                        event.rule,
                        event.message
                    );
                    out.line(line.chars().flat_map(plain).collect::<String>())?;
                }
            }
            out.finish()?;
            if page.len() == PAGE as usize {
                continue;
            }
            if !args.follow {
                return Ok(());
            }
            tokio::time::sleep(FOLLOW).await;
        }
    })
}

/// A terminal must not obey what a line holds.
pub(crate) fn plain(c: char) -> impl Iterator<Item = char> {
    let control = c.is_control();
    let escaped = control.then(|| c.escape_default());
    escaped.into_iter().flatten().chain((!control).then_some(c))
}

/// A time, or an age, as Unix milliseconds.
///
/// # Errors
/// It is neither.
pub(crate) fn since(text: &str) -> Result<i64, String> {
    if let Ok(stamp) = text.parse::<jiff::Timestamp>() {
        return Ok(stamp.as_millisecond());
    }
    let age: service::config::Span = text.parse().map_err(|_| {
        format!("`{text}` is neither a time like 2026-01-31T12:00:00Z nor an age like 2h")
    })?;
    let then = SystemTime::now().checked_sub(age.0);
    let since = then.and_then(|then| then.duration_since(SystemTime::UNIX_EPOCH).ok());
    let ms = since.unwrap_or(Duration::ZERO).as_millis();
    i64::try_from(ms).map_err(|_| format!("`{text}` is too long ago"))
}

/// Events that are read at once.
const PAGE: u32 = 500;

/// Time between two looks for new events.
const FOLLOW: Duration = Duration::from_millis(250);
