//! `audit-proxy.toml`: every key with its default, and what is wrong with a file, all at once.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use service::config::{ByteSize, Environment, Problems, Source, Span};
use service::socket::Place;
use service::status;

/// The variable by which clients and the original server know the socket.
const SOCKET: &str = "CODER_AGENT_BOUNDARY_LOG_PROXY_SOCKET_PATH";
/// The socket's name in the temporary directory.
const SOCKET_NAME: &str = "boundary-audit.sock";

/// A checked configuration.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The socket's path, mode and group.
    pub place: Place,
    /// Where lines go.
    pub log: PathBuf,
    /// Where records go.
    pub json: PathBuf,
    /// State directory.
    pub state: PathBuf,
    /// When a group is made durable.
    pub commit: Commit,
    /// Bounds.
    pub limits: Limits,
    /// The bus, if it is on.
    pub bus: Option<bus::Config>,
    /// Where metrics, health and status are served.
    pub status: status::Listen,
    /// What an operator should know, though nothing is wrong.
    pub notices: Vec<String>,
}

/// When a group is made durable, whichever comes first.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Commit {
    /// Its oldest record is so old.
    pub max_delay: Duration,
    /// Its lines and records are so large.
    pub max_bytes: usize,
}

/// Bounds on what clients may take.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Limits {
    /// Connections served at a time; more wait in the kernel's queue, with what they have written.
    pub connections: usize,
    /// Records in a frame.
    pub records_per_frame: usize,
    /// The longest a frame may take to become whole.
    pub frame_timeout: Duration,
    /// How long clients are held up while nothing can be written, before records are dropped.
    pub full_wait: Duration,
    /// How long the stop waits for a disk that takes nothing.
    pub drain: Duration,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Raw {
    socket: Option<PathBuf>,
    mode: String,
    group: Option<String>,
    log: PathBuf,
    state: PathBuf,
    commit: RawCommit,
    limits: RawLimits,
    bus: Option<bus::Table>,
    status: status::Config,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct RawCommit {
    max_delay: Span,
    max_bytes: ByteSize,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct RawLimits {
    connections: usize,
    records_per_frame: usize,
    frame_timeout: Span,
    full_wait: Span,
    drain: Span,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            socket: None,
            mode: "0660".to_owned(),
            group: None,
            log: "/var/log/logferry/audit.log".into(),
            state: "/var/lib/logferry/audit".into(),
            commit: RawCommit::default(),
            limits: RawLimits::default(),
            bus: None,
            status: status::Config::default(),
        }
    }
}

impl Default for RawCommit {
    fn default() -> Self {
        Self {
            max_delay: Span(MAX_DELAY),
            max_bytes: ByteSize(4 << 20),
        }
    }
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            connections: 256,
            records_per_frame: 10_000,
            frame_timeout: Span(Duration::from_secs(10)),
            full_wait: Span(Duration::from_secs(5)),
            drain: Span(Duration::from_secs(5)),
        }
    }
}

impl Config {
    /// Reads the file and the environment, and looks at the files they name.
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

    /// The stream's name: that of the log, without its suffix.
    #[must_use]
    pub fn stream(&self) -> &str {
        let stem = self.log.file_stem().and_then(|stem| stem.to_str());
        stem.unwrap_or("audit")
    }

    fn check(
        raw: Raw,
        source: &Source,
        environment: &Environment,
        problems: &mut Problems,
    ) -> Self {
        let mut notices = Vec::new();
        let socket = socket(raw.socket, environment, problems);
        let mode = service::socket::mode(&raw.mode).unwrap_or_else(|what| {
            problems.push(source.problem("mode", what));
            0
        });
        if mode & 0o002 != 0 {
            notices.push(format!(
                "mode {:?}: everybody on this host can write audit records",
                raw.mode
            ));
        }
        let group = raw.group.as_deref().and_then(|name| match group(name) {
            Ok(gid) => Some(gid),
            Err(what) => {
                problems.push(source.problem("group", what));
                None
            }
        });
        let place = Place {
            path: socket,
            mode,
            group,
        };
        if let Err(what) = place.check() {
            problems.push(source.problem("socket", what));
        }
        let json = raw.log.with_extension("json");
        if raw.log.file_name().is_none() {
            let what = format!("`{}` names no file", raw.log.display());
            problems.push(source.problem("log", what));
        } else if json == raw.log {
            problems.push(source.problem("log", "ends in .json, where the records go"));
        }
        let commit = commit(&raw.commit, source, problems);
        let limits = limits(&raw.limits, source, problems);
        let bus = bus::Config::check(raw.bus, source, environment, problems, &mut notices);
        Self {
            place,
            log: raw.log,
            json,
            commit,
            limits,
            bus,
            status: raw.status.listen(&raw.state),
            state: raw.state,
            notices,
        }
    }

    /// Looks at the places that are named.
    fn look(&self, source: &Source, problems: &mut Problems) {
        if let Err(what) = self.place.look() {
            problems.push(source.problem("socket", what));
        }
        for path in [&self.log, &self.json] {
            if let Err(what) = look_at_file(path) {
                problems.push(source.problem("log", what));
            }
        }
        if let Err(error) = service::check_writable(&self.state) {
            let what = format!("{} can't be written: {error}", self.state.display());
            problems.push(source.problem("state", what));
        }
    }
}

/// The file's path, else the variable's, else where the original looks.
fn socket(raw: Option<PathBuf>, environment: &Environment, problems: &mut Problems) -> PathBuf {
    let mut text = |name| {
        problems
            .take(environment.text(name))
            .flatten()
            .map(PathBuf::from)
    };
    let named = raw.or_else(|| text(SOCKET));
    named.unwrap_or_else(|| {
        let temporary = text("TMPDIR").unwrap_or_else(|| "/tmp".into());
        temporary.join(SOCKET_NAME)
    })
}

/// A group by number or by name.
fn group(name: &str) -> Result<u32, String> {
    if let Ok(gid) = name.parse() {
        return Ok(gid);
    }
    match nix::unistd::Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => Err(format!("there is no group `{name}`")),
        Err(error) => Err(format!("group `{name}` can't be looked up: {error}")),
    }
}

fn commit(raw: &RawCommit, source: &Source, problems: &mut Problems) -> Commit {
    let (max_delay, max_bytes) = (raw.max_delay.0, raw.max_bytes.0);
    if max_delay > MAX_DELAY {
        let what = format!("{} is over {}", raw.max_delay, Span(MAX_DELAY));
        problems.push(source.problem("commit.max_delay", what));
    }
    if !BYTES.contains(&max_bytes) {
        let (least, most) = (ByteSize(*BYTES.start()), ByteSize(*BYTES.end()));
        let what = format!("{} is not within {least} and {most}", raw.max_bytes);
        problems.push(source.problem("commit.max_bytes", what));
    }
    Commit {
        max_delay,
        max_bytes: usize::try_from(max_bytes).unwrap_or(usize::MAX),
    }
}

fn limits(raw: &RawLimits, source: &Source, problems: &mut Problems) -> Limits {
    let mut within = |key: &str, value: usize, most: usize| {
        if !(1..=most).contains(&value) {
            let what = format!("{value} is not within 1 and {most}");
            problems.push(source.problem(&format!("limits.{key}"), what));
        }
    };
    within("connections", raw.connections, MAX_CONNECTIONS);
    within("records_per_frame", raw.records_per_frame, MAX_RECORDS);
    for (key, span) in [
        ("frame_timeout", raw.frame_timeout),
        ("full_wait", raw.full_wait),
        ("drain", raw.drain),
    ] {
        if span.0 > MAX_WAIT {
            let what = format!("{span} is over {}", Span(MAX_WAIT));
            problems.push(source.problem(&format!("limits.{key}"), what));
        }
    }
    Limits {
        connections: raw.connections,
        records_per_frame: raw.records_per_frame,
        frame_timeout: raw.frame_timeout.0,
        full_wait: raw.full_wait.0,
        drain: raw.drain.0,
    }
}

/// The file need not be there yet, nor its directory.
fn look_at_file(path: &Path) -> Result<(), String> {
    let refused = |error| format!("{} can't be written: {error}", path.display());
    match std::fs::metadata(path).as_ref().map(Metadata::is_file) {
        Ok(true) => std::fs::OpenOptions::new()
            .append(true)
            .open(path)
            .map(drop)
            .map_err(refused),
        Ok(false) => Err(format!("{} is not a regular file", path.display())),
        Err(_) => service::check_writable(path.parent().unwrap_or(Path::new("/"))).map_err(refused),
    }
}

/// The longest a record may wait for others: what a crash can cost beside what lies in the sockets.
const MAX_DELAY: Duration = Duration::from_millis(20);

/// Sizes of a group: two are in memory, and each redo file takes one. With the largest, one of records that each have a
/// session and a gap of their own still keeps its checkpoints within what a batch may carry.
const BYTES: std::ops::RangeInclusive<u64> = 4 << 10..=8 << 20;

/// Below the 1024 descriptors that a process has by default.
const MAX_CONNECTIONS: usize = 900;

/// A frame has no room for more.
const MAX_RECORDS: usize = 16_384;

const MAX_WAIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
