//! The configuration: `collector.toml` as written, DECNET's environment over it, and what follows
//! from both once everything has been checked.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use service::config::{ByteSize, Environment, Problems, Source, Span};

use crate::{
    docker::endpoint,
    otlp,
    otlp::Tracer,
    select::{LabelRule, ReadMode, state_names},
    source::api::Endpoint,
    syslog,
};

mod environment;

/// The file, key by key, before anything is checked.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawConfig {
    log: Option<PathBuf>,
    state: Option<PathBuf>,
    docker: Option<String>,
    read: ReadMode,
    labels: Option<Vec<String>>,
    decnet_state: Option<PathBuf>,
    stderr: bool,
    wrap: Option<bool>,
    relist: Option<Span>,
    forget_after: Option<Span>,
    commit: RawCommit,
    dedupe: RawDedupe,
    bus: Option<bus::Table>,
    syslog: Option<syslog::RawSyslog>,
    otlp: Option<otlp::RawOtlp>,
    status: service::status::Config,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawCommit {
    max_delay: Option<Span>,
    max_bytes: Option<ByteSize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawDedupe {
    window: Option<Span>,
    events: Option<Vec<String>>,
    drop_services: Option<Vec<String>>,
    max_keys: Option<u64>,
}

/// The checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that gets every line.
    pub log: PathBuf,
    /// The file that gets the records: `log` with its last suffix replaced.
    pub json: PathBuf,
    /// Directory of cursors, ledger, lock and status socket.
    pub state: PathBuf,
    /// Where the Docker daemon listens; `None`: no container is collected.
    pub docker: Option<Endpoint>,
    /// How containers are read.
    pub read: ReadMode,
    /// Labels that choose a container.
    pub labels: Vec<LabelRule>,
    /// DECNET's state file, whose names choose containers too.
    pub decnet_state: Option<PathBuf>,
    /// What becomes of each line.
    pub rendering: Rendering,
    /// When a batch is written.
    pub commit: Commit,
    /// Time between two listings.
    pub relist: Duration,
    /// How long a cursor outlives its container.
    pub forget_after: Duration,
    /// The loopback syslog source.
    pub syslog: Option<syslog::Config>,
    /// The bus, if it is on.
    pub bus: Option<bus::Config>,
    /// How sessions are made for the bus.
    pub sessions: SessionSettings,
    /// Where spans go.
    pub otlp: Option<otlp::Config>,
    /// Where status and metrics are served.
    pub status: service::status::Config,
    /// What an operator should read once: accepted keys without effect, ignored values.
    pub notices: Vec<String>,
}

/// What becomes of a line.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendering {
    /// Whether lines of stderr are collected.
    pub stderr: bool,
    /// Whether a line that is no syslog message gets a header.
    pub wrap: bool,
    /// Time within which an equal record is suppressed; zero: never.
    pub window: Duration,
    /// Event types that are deduplicated.
    pub events: Vec<String>,
    /// Services whose records are dropped.
    pub drop_services: Vec<String>,
    /// Most keys remembered for the window.
    pub max_keys: usize,
    /// Which records are traced.
    pub tracer: Option<Tracer>,
}

/// When a batch is written, whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Longest time from a batch's first line.
    pub max_delay: Duration,
    /// Octets of `.log` after which a batch is full.
    pub max_bytes: usize,
}

/// How sessions are made for the bus; DECNET's environment alone says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// How long a command is remembered.
    pub ttl: Duration,
    /// The directory of DECNET's artifacts, where transcripts are.
    pub artifacts: PathBuf,
}

impl Config {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// Every problem of the file and the environment at once, and of the paths if there is none.
    pub fn load(path: &Path) -> Result<(Config, Source), Problems> {
        service::config::load_checked(path, |raw: RawConfig, source| {
            let config = resolve(raw, source, &|name| std::env::var(name).ok())?;
            config.check_paths(source)?;
            Ok(config)
        })
    }

    /// Checks the paths without touching them.
    fn check_paths(&self, source: &Source) -> Result<(), Problems> {
        let mut problems = Problems::new();
        let directory = self.log.parent().unwrap_or(Path::new("/"));
        for (key, directory) in [("state", self.state.as_path()), ("log", directory)] {
            if let Err(error) = service::check_writable(directory) {
                let what = format!("{} can't be written: {error}", directory.display());
                problems.push(source.problem(key, what));
            }
        }
        for path in [&self.log, &self.json] {
            if path.is_dir() {
                problems.push(source.problem("log", format!("{} is a directory", path.display())));
            }
        }
        if let Some(place) = self.syslog.as_ref().and_then(|syslog| syslog.unix.as_ref())
            && let Err(what) = place.look()
        {
            problems.push(source.problem("syslog.unix", what));
        }
        // It may come later; but what is there must be readable.
        if let Some(path) = &self.decnet_state
            && path.exists()
            && let Err(what) = read_names(path)
        {
            problems.push(source.problem("decnet_state", what));
        }
        problems.none_or(())
    }
}

/// The container names that DECNET's state file at `path` stands for.
///
/// # Errors
/// What is wrong with the file, naming it.
pub fn read_names(path: &Path) -> Result<BTreeSet<String>, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    state_names(&bytes).map_err(|error| format!("{}: {error}", path.display()))
}

/// Applies defaults and the environment, and checks every value.
fn resolve(
    raw: RawConfig,
    source: &Source,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Problems> {
    let mut problems = Problems::new();
    let mut notices = Vec::new();
    let given = environment::read(environment, &mut notices);

    let log = given
        .log
        .or(raw.log)
        .unwrap_or_else(|| PathBuf::from(DEFAULT_LOG));
    let json = log.with_extension("json");
    if log.file_name().is_none() || log.ends_with("..") {
        problems.push(source.problem("log", "names no file"));
    } else if log == json {
        problems.push(source.problem("log", "ends in .json, where the records go"));
    }
    let docker = raw
        .docker
        .clone()
        .or_else(|| environment("DOCKER_HOST").filter(|v| !v.is_empty()));
    let docker = docker.as_deref().unwrap_or(DEFAULT_DOCKER);
    let off = raw.docker.as_deref() == Some(DOCKER_OFF);
    let docker = endpoint(docker)
        .map_err(|what| {
            let at = if raw.docker.is_some() {
                "docker"
            } else {
                "DOCKER_HOST"
            };
            if !off {
                problems.push(source.problem(at, format!("{docker:?}: {what}")));
            }
        })
        .ok();
    if off && raw.syslog.is_none() {
        problems.push(source.problem(
            "docker",
            "is off without [syslog]: nothing would be collected",
        ));
    }
    let syslog = raw
        .syslog
        .map(|raw| syslog::resolve(raw, source, &mut problems));
    let labels = raw
        .labels
        .unwrap_or_else(|| DEFAULT_LABELS.map(str::to_owned).to_vec());
    let labels = labels.iter().enumerate().filter_map(|(at, text)| {
        let rule = LabelRule::parse(text);
        if rule.is_none() {
            problems
                .push(source.problem(&format!("labels.{at}"), "a label needs a key: key=value"));
        }
        rule
    });
    let labels: Vec<_> = labels.collect();
    let unnamed = labels.is_empty() && raw.decnet_state.is_none();
    if unnamed && !off && problems.0.is_empty() {
        problems.push(source.problem(
            "labels",
            "no label and no decnet_state: nothing would be collected",
        ));
    }
    let otlp = raw
        .otlp
        .and_then(|raw| otlp::resolve(raw, source, &mut problems));
    let commit = Commit {
        max_delay: raw.commit.max_delay.map_or(DEFAULT_DELAY, |span| span.0),
        max_bytes: raw
            .commit
            .max_bytes
            .map_or(DEFAULT_BYTES, |size| to_usize(size.0)),
    };
    if !(MIN_BYTES..=MAX_BYTES).contains(&commit.max_bytes) {
        problems.push(source.problem("commit.max_bytes", "must be between 64KiB and 256MiB"));
    }
    if commit.max_delay > MAX_DELAY {
        problems.push(source.problem("commit.max_delay", "must be at most 10s"));
    }
    if syslog.is_some() && commit.max_delay > syslog::MAX_DELAY {
        let what =
            "must be at most 50ms with [syslog], whose messages can't be read again after a crash";
        problems.push(source.problem("commit.max_delay", what));
    }
    let max_keys = raw.dedupe.max_keys.unwrap_or(DEFAULT_KEYS);
    if !(1..=MAX_KEYS).contains(&max_keys) {
        problems.push(source.problem("dedupe.max_keys", "must be between 1 and 10000000"));
    }
    let relist = given
        .relist
        .or(raw.relist.map(|span| span.0))
        .unwrap_or(DEFAULT_RELIST);
    if relist < MIN_RELIST {
        problems.push(source.problem("relist", "must be at least 100ms"));
    }
    let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    let rendering = Rendering {
        stderr: raw.stderr,
        wrap: raw.wrap.unwrap_or(true),
        window: given
            .window
            .or(raw.dedupe.window.map(|span| span.0))
            .unwrap_or(DEFAULT_WINDOW),
        events: given
            .events
            .or(raw.dedupe.events)
            .unwrap_or_else(|| strings(&DEFAULT_EVENTS)),
        drop_services: given
            .drop_services
            .or(raw.dedupe.drop_services)
            .unwrap_or_else(|| strings(&DEFAULT_DROPS)),
        max_keys: to_usize(max_keys),
        tracer: otlp.as_ref().map(|otlp| otlp.tracer),
    };
    let values = bus::VARIABLES.map(|name| (name, environment(name).unwrap_or_default()));
    let variables = Environment::of(
        values
            .each_ref()
            .map(|(name, value)| (*name, value.as_str())),
    );
    let bus = bus::Config::check(raw.bus, source, &variables, &mut problems, &mut notices);
    let sessions = SessionSettings {
        ttl: given.session_ttl.unwrap_or(DEFAULT_SESSION_TTL),
        artifacts: given
            .artifacts
            .unwrap_or_else(|| PathBuf::from(DEFAULT_ARTIFACTS)),
    };
    problems.none_or(Config {
        log,
        json,
        state: raw.state.unwrap_or_else(|| PathBuf::from(DEFAULT_STATE)),
        docker,
        read: raw.read,
        labels,
        decnet_state: raw.decnet_state,
        rendering,
        commit,
        relist,
        forget_after: raw.forget_after.map_or(DEFAULT_FORGET, |span| span.0),
        syslog,
        bus,
        sessions,
        otlp,
        status: raw.status,
        notices,
    })
}

fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

const DEFAULT_LOG: &str = "/var/log/logferry/decky.log";
const DEFAULT_STATE: &str = "/var/lib/logferry/collector";
/// Instead of an address: no container is collected.
const DOCKER_OFF: &str = "off";
const DEFAULT_DOCKER: &str = "unix:///var/run/docker.sock";
const DEFAULT_LABELS: [&str; 3] = [
    "decnet.fleet.service=true",
    "decnet.topology.service=true",
    "logferry.collect=true",
];
const DEFAULT_WINDOW: Duration = Duration::from_secs(1);
const DEFAULT_EVENTS: [&str; 5] = ["connect", "disconnect", "connection", "accept", "close"];
const DEFAULT_DROPS: [&str; 10] = [
    "sshd",
    "pam_unix",
    "sudo",
    "su",
    "CRON",
    "cron",
    "systemd",
    "kernel",
    "rsyslogd",
    "dbus-daemon",
];
const DEFAULT_SESSION_TTL: Duration = Duration::from_secs(3600);
const DEFAULT_ARTIFACTS: &str = "/var/lib/decnet/artifacts";
const DEFAULT_KEYS: u64 = 10_000;
const MAX_KEYS: u64 = 10_000_000;
const DEFAULT_RELIST: Duration = Duration::from_secs(30);
const MIN_RELIST: Duration = Duration::from_millis(100);
/// A week: long enough to bring a removed host's logs back, short enough to stay small.
const DEFAULT_FORGET: Duration = Duration::from_secs(7 * 24 * 3600);
/// A batch in the making never waits longer; one that is under way makes it wait as long as it takes.
const DEFAULT_DELAY: Duration = Duration::from_millis(20);
const MAX_DELAY: Duration = Duration::from_secs(10);
/// One write and one fdatasync of this size cost far less than rendering it.
const DEFAULT_BYTES: usize = 4 << 20;
const MIN_BYTES: usize = 64 << 10;
const MAX_BYTES: usize = 256 << 20;

#[cfg(test)]
mod tests;
