//! `scanner.toml`: every key with its default, and what is wrong with a file, all at once.

use std::fmt;
use std::io::ErrorKind::NotFound;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use service::config::{ByteSize, Environment, Problems, Source, Span};
use service::status;

use crate::dispatch::config as webhooks;

/// A checked configuration.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// What is scanned.
    pub input: Input,
    /// Whose lines those of a log file are.
    pub worker: String,
    /// State directory.
    pub state: PathBuf,
    /// Directory of rule files.
    pub rules: PathBuf,
    /// Directory of trigger files.
    pub triggers: PathBuf,
    /// Where a first start begins.
    pub start: Start,
    /// Whether a time stamp at the beginning of a line is left out of what is matched.
    pub strip_leading_time: bool,
    /// How much of a line is matched, in octets.
    pub matched: usize,
    /// How many hits a container may have.
    pub rate: Rate,
    /// Where webhooks may go, and how often they are tried.
    pub(crate) webhooks: webhooks::Config,
    /// How long events are kept.
    pub retention: Retention,
    /// Where metrics, health and status are served.
    pub status: status::Listen,
    /// Who may ask there.
    pub access: status::Access,
    /// The bus; none: off.
    pub bus: Option<bus::Config>,
    /// What an operator should know, though nothing is wrong.
    pub notices: Vec<String>,
}

/// What is scanned.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Input {
    /// The archive of the listener whose data directory this is.
    Archive {
        /// The data directory, in which `archive` is.
        data: PathBuf,
    },
    /// A log file and its rotated siblings.
    File {
        /// The file that is written to.
        path: PathBuf,
    },
}

/// Where a first start begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// With what comes from now on.
    End,
    /// With everything that is there.
    Beginning,
}

/// A container's token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rate {
    /// Hits that may come at once.
    pub burst: u32,
    /// The time in which one more is granted.
    pub refill: Duration,
}

/// How long events are kept, whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// Older ones go.
    pub max_age: Duration,
    /// The oldest go beyond so many.
    pub max_events: u64,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Raw {
    input: PathBuf,
    worker: Option<String>,
    state: PathBuf,
    rules: PathBuf,
    triggers: PathBuf,
    start: Start,
    strip_leading_time: bool,
    max_matched: ByteSize,
    rate: RawRate,
    retention: RawRetention,
    webhooks: webhooks::Raw,
    status: status::GuardedConfig,
    bus: Option<bus::Table>,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct RawRate {
    burst: u32,
    refill: Span,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct RawRetention {
    max_age: Span,
    max_events: u64,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            input: "/var/lib/logferry/archive".into(),
            worker: None,
            state: "/var/lib/logferry/scanner".into(),
            rules: "/etc/logferry/rules.d".into(),
            triggers: "/etc/logferry/triggers.d".into(),
            start: Start::End,
            strip_leading_time: true,
            max_matched: ByteSize(64 << 10),
            rate: RawRate::default(),
            retention: RawRetention::default(),
            webhooks: webhooks::Raw::default(),
            status: status::GuardedConfig::default(),
            bus: None,
        }
    }
}

impl Default for RawRate {
    fn default() -> Self {
        Self {
            burst: 20,
            refill: Span(Duration::from_secs(3)),
        }
    }
}

impl Default for RawRetention {
    fn default() -> Self {
        Self {
            max_age: Span(Duration::from_secs(30 * 24 * 3600)),
            max_events: 1_000_000,
        }
    }
}

impl Config {
    /// Reads the file and the environment, and looks at the places they name.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn load(file: &Path, environment: &Environment) -> Result<(Self, Source), Problems> {
        service::config::load_checked(file, |raw, source| {
            let mut problems = Problems::new();
            let config = Self::check(raw, source, environment, &mut problems);
            config.look(source, &mut problems);
            problems.none_or(config)
        })
    }

    /// Reads the file and the environment only: for commands that ask.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn read(file: &Path, environment: &Environment) -> Result<(Self, Source), Problems> {
        service::config::load_checked(file, |raw, source| {
            let mut problems = Problems::new();
            let config = Self::check(raw, source, environment, &mut problems);
            problems.none_or(config)
        })
    }

    fn check(
        raw: Raw,
        source: &Source,
        environment: &Environment,
        problems: &mut Problems,
    ) -> Self {
        let mut notices = Vec::new();
        let bus = bus::Config::check(raw.bus, source, environment, problems, &mut notices);
        if raw.max_matched.0 == 0 || raw.max_matched.0 > MAX_LINE {
            let what = format!(
                "{} is not within 1 B and {}",
                raw.max_matched,
                ByteSize(MAX_LINE)
            );
            problems.push(source.problem("max_matched", what));
        }
        if raw.rate.burst == 0 || raw.rate.burst > MAX_BURST {
            let what = format!("{} is not within 1 and {MAX_BURST}", raw.rate.burst);
            problems.push(source.problem("rate.burst", what));
        }
        if raw.rate.refill.0.is_zero() || raw.rate.refill.0 > MAX_REFILL {
            let what = format!(
                "{} is not over 0 and within {}",
                raw.rate.refill,
                Span(MAX_REFILL)
            );
            problems.push(source.problem("rate.refill", what));
        }
        if raw.retention.max_age.0 < MIN_AGE {
            let what = format!("{} is below {}", raw.retention.max_age, Span(MIN_AGE));
            problems.push(source.problem("retention.max_age", what));
        }
        if !(1..=MAX_EVENTS).contains(&raw.retention.max_events) {
            let what = format!(
                "{} is not within 1 and {MAX_EVENTS}",
                raw.retention.max_events
            );
            problems.push(source.problem("retention.max_events", what));
        }
        let access = problems.take(raw.status.access(source)).unwrap_or_default();
        let status = raw.status.listen(&raw.state);
        if access.is_open() && matches!(status, status::Listen::Loopback(_)) {
            let what = "a port is open to everybody on this host, and rules and triggers can be tried there: name the file of a token as `token_file`, or a Unix socket";
            problems.push(source.problem("status.listen", what));
        }
        Self {
            input: input(raw.input, source, problems),
            worker: worker(raw.worker, source, problems),
            rules: raw.rules,
            triggers: raw.triggers,
            webhooks: webhooks::Config::check(raw.webhooks, source, problems),
            start: raw.start,
            strip_leading_time: raw.strip_leading_time,
            matched: usize::try_from(raw.max_matched.0).unwrap_or(usize::MAX),
            rate: Rate {
                burst: raw.rate.burst,
                refill: raw.rate.refill.0,
            },
            retention: Retention {
                max_age: raw.retention.max_age.0,
                max_events: raw.retention.max_events,
            },
            status,
            access,
            bus,
            notices,
            state: raw.state,
        }
    }

    /// Looks at the places that are named.
    fn look(&self, source: &Source, problems: &mut Problems) {
        if let Input::Archive { data } = &self.input {
            let dir = data.join(ARCHIVE);
            match std::fs::read_dir(&dir) {
                Ok(_) => {}
                // The listener makes it when it starts for the first time.
                Err(error) if error.kind() == NotFound && data.is_dir() => {}
                Err(error) => {
                    let what = format!("{} can't be read: {error}", dir.display());
                    problems.push(source.problem("input", what));
                }
            }
        }
        for (key, dir) in [("rules", &self.rules), ("triggers", &self.triggers)] {
            match std::fs::read_dir(dir) {
                Ok(_) => {}
                // Nothing is scanned for, or nobody told, until it is made.
                Err(error) if error.kind() == NotFound => {}
                Err(error) => {
                    let what = format!("{} can't be read: {error}", dir.display());
                    problems.push(source.problem(key, what));
                }
            }
        }
        if let Err(error) = service::check_writable(&self.state) {
            let what = format!("{} can't be written: {error}", self.state.display());
            problems.push(source.problem("state", what));
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Archive { data } => data.join(ARCHIVE).display().fmt(f),
            Self::File { path } => path.display().fmt(f),
        }
    }
}

/// The name that is set, else this host's.
fn worker(raw: Option<String>, source: &Source, problems: &mut Problems) -> String {
    let name = raw.unwrap_or_else(|| {
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy();
        host.split('.').next().unwrap_or_default().to_owned()
    });
    if archive::StreamKey::new(&name, "log").is_err() {
        let what = format!("`{name}` is no worker's name: [A-Za-z0-9][A-Za-z0-9._-]{{0,63}}");
        problems.push(source.problem("worker", what));
    }
    name
}

/// A directory `archive` in a listener's data directory, else a file.
fn input(path: PathBuf, source: &Source, problems: &mut Problems) -> Input {
    let data = path.parent().filter(|_| path.ends_with(ARCHIVE));
    if let Some(data) = data {
        let data = data.to_owned();
        return Input::Archive { data };
    }
    if path.is_dir() {
        let what = format!(
            "`{}` is a directory: give DATA/{ARCHIVE} of a listener, or a log file",
            path.display()
        );
        problems.push(source.problem("input", what));
    } else if path.file_name().is_none() {
        let what = format!("`{}` names no file", path.display());
        problems.push(source.problem("input", what));
    }
    Input::File { path }
}

/// The directory in a listener's data directory.
const ARCHIVE: &str = "archive";

/// Longest line that is kept whole while it is read; of longer ones the first so many octets are matched.
pub(crate) const MAX_LINE: u64 = 1 << 20;

/// More hits at once than anybody reads.
const MAX_BURST: u32 = 100_000;

/// A bucket is forgotten when it has not been used for ten minutes.
const MAX_REFILL: Duration = Duration::from_secs(600);

/// A follower that stands still for a minute must still find its events.
const MIN_AGE: Duration = Duration::from_secs(60);

/// Ten gigabytes and more of them.
const MAX_EVENTS: u64 = 10_000_000;

#[cfg(test)]
mod tests;
