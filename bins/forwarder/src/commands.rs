//! The commands, one function each.

use std::path::Path;

use anyhow::Context as _;
use offsets::Store;
use serde_json::Value;
use service::Failure;
use service::args::StatusArgs;
use service::config::Environment;
use service::out::Out;
use tail::{Follower, Now, Options, Standing};

use crate::args::{Cli, Command};
use crate::config::Config;
use crate::{state, status};

/// Carries out a command.
///
/// # Errors
/// What the command says; see [`Failure`] for the exit codes.
pub fn carry_out(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Run(args) => crate::run::run(&args.config),
        Command::Check(args) => check(&args.config),
        Command::Status(args) => {
            let config = Config::read(&args.config, &Environment::process())?;
            service::status::status_command(&config.status, args.json)
        }
        Command::Offsets(args) => offsets(&args),
        Command::Join(_) => Err(Failure::not_built("join")),
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

/// How far each stream is delivered: from the running forwarder, else from its state.
fn offsets(args: &StatusArgs) -> Result<(), Failure> {
    let config = Config::read(&args.config, &Environment::process())?;
    let streams = service::runtime(1)?.block_on(async {
        match running(&config).await {
            Some(streams) => Ok(streams),
            None => stored(&config).await,
        }
    })?;
    let mut out = Out::new();
    if args.json {
        for stream in &streams {
            out.json(stream)?;
        }
        return out.finish();
    }
    for stream in &streams {
        let text = |key: &str| match &stream[key] {
            Value::Null => "-".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let columns = COLUMNS.map(|key| format!("{key} {}", text(key)));
        out.line(columns.join("  "))?;
    }
    out.finish()
}

/// What `offsets` shows, in this order.
const COLUMNS: [&str; 6] = ["stream", "epoch", "offset", "acknowledged", "size", "lag"];

async fn running(config: &Config) -> Option<Vec<Value>> {
    let (code, body) = service::status::query(&config.status, "/status")
        .await
        .ok()?;
    let page: Value = serde_json::from_slice(&body).ok()?;
    let streams = page.get("streams")?.as_array().filter(|_| code == 200)?;
    let short = |stream: &Value| {
        let columns = COLUMNS.map(|key| (key.to_owned(), stream[key].clone()));
        Value::Object(columns.into_iter().collect())
    };
    Some(streams.iter().map(short).collect())
}

async fn stored(config: &Config) -> anyhow::Result<Vec<Value>> {
    let path = config.state.join(state::STORE);
    let store = match path.exists() {
        true => Some(Store::open(&path).await.context("open the state")?),
        false => None,
    };
    let mut streams = Vec::new();
    for stream in &config.streams {
        let stored = match &store {
            Some(store) => state::load(store, &stream.name).await?,
            None => None,
        };
        let mut acked = None;
        let standing = match stored {
            Some(stored) => {
                let current = stored.checkpoint.current().map(|known| known.epoch);
                acked = current.and_then(|epoch| stored.of(epoch).map(|acked| acked.offset).max());
                let mut follower =
                    Follower::new(Options::new(&stream.path), Some(stored.checkpoint));
                // A file that can't be read now shows as it was when it was stored.
                let _ = follower.observe(Now::system());
                follower.standing()
            }
            None => Standing {
                size: std::fs::metadata(&stream.path).map_or(0, |meta| meta.len()),
                lag: std::fs::metadata(&stream.path).map_or(0, |meta| meta.len()),
                ..Standing::default()
            },
        };
        streams.push(status::offsets(&stream.name, &standing, acked));
    }
    Ok(streams)
}
