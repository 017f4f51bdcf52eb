//! `[webhooks]` of scanner.toml: where webhooks may go, and how often they are tried.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use service::config::{Problems, Source, Span};
use webhook::{DENIED_PORTS, Policy, Roots};

use super::schedule::Schedule;

/// As it is written.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(crate) struct Raw {
    allow_cidrs: Vec<String>,
    deny_private: bool,
    deny_ports: Vec<u16>,
    ca_file: Option<PathBuf>,
    schedule: Option<Vec<Span>>,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            allow_cidrs: Vec::new(),
            deny_private: false,
            deny_ports: DENIED_PORTS.to_vec(),
            ca_file: None,
            schedule: None,
        }
    }
}

/// How webhooks are sent.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Where to.
    pub(crate) policy: Policy,
    /// Certificate authorities besides the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// How often.
    pub(crate) schedule: Schedule,
}

impl Config {
    /// Checks the table `webhooks`.
    pub(crate) fn check(raw: Raw, source: &Source, problems: &mut Problems) -> Self {
        let mut allow_cidrs = Vec::new();
        for (at, text) in raw.allow_cidrs.iter().take(MAX_CIDRS + 1).enumerate() {
            let key = format!("webhooks.allow_cidrs.{at}");
            if at == MAX_CIDRS {
                let what = format!("there are more than {MAX_CIDRS}");
                problems.push(source.problem("webhooks.allow_cidrs", what));
                break;
            }
            match text.parse() {
                Ok(net) => allow_cidrs.push(net),
                Err(_) => {
                    let what = format!("`{text}` is no network like 192.0.2.0/24");
                    problems.push(source.problem(&key, what));
                }
            }
        }
        if let Some(path) = &raw.ca_file
            && let Err(error) = Roots::load(Some(path))
        {
            let why = std::error::Error::source(&error).map(|why| format!(": {why}"));
            let what = format!("{error}{}", why.unwrap_or_default());
            problems.push(source.problem("webhooks.ca_file", what));
        }
        Self {
            policy: Policy {
                allow_cidrs,
                deny_private: raw.deny_private,
                deny_ports: raw.deny_ports,
            },
            ca_file: raw.ca_file,
            schedule: schedule(raw.schedule, source, problems),
        }
    }
}

fn schedule(raw: Option<Vec<Span>>, source: &Source, problems: &mut Problems) -> Schedule {
    let Some(waits) = raw else {
        return Schedule::default();
    };
    if waits.len() > MAX_ATTEMPTS {
        let what = format!("there are {} waits, over {MAX_ATTEMPTS}", waits.len());
        problems.push(source.problem("webhooks.schedule", what));
    }
    if let Some(wait) = waits.iter().find(|wait| wait.0 > MAX_WAIT) {
        let what = format!("{wait} is over {}", Span(MAX_WAIT));
        problems.push(source.problem("webhooks.schedule", what));
    }
    Schedule::new(waits.into_iter().map(|wait| wait.0).collect())
}

/// A list that an operator still reads.
const MAX_CIDRS: usize = 256;

/// Waits of a schedule; Standard Webhooks has nine.
const MAX_ATTEMPTS: usize = 50;

/// One wait: a receiver that is down for longer gets a replay.
const MAX_WAIT: Duration = Duration::from_secs(7 * 24 * 3600);

#[cfg(test)]
mod tests;
