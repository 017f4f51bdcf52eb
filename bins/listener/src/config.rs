//! `listener.toml`: every key of the program with its default, and what is wrong with a file, all at once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use archive::{ArchiveId, Retention};
use delivery::receiver::ReceiverLimits;
use pki::Trust;
use serde::Deserialize;
use service::config::{ByteSize, Environment, Problem, Problems, Source, Span};
use service::status;

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Host or address to listen on.
    pub host: String,
    /// TCP port; 0 lets the system choose.
    pub port: u16,
    /// The data directory: archive, CA, registry, index.
    pub data: PathBuf,
    /// Whose certificates are served.
    pub trust: Trust,
    /// Identities of the other masters' archives.
    pub siblings: Vec<ArchiveId>,
    /// Largest frame, in bytes.
    pub max_frame: u32,
    /// Longest time between a byte's arrival and its commit.
    pub commit_delay: Duration,
    /// Most bytes in one commit window.
    pub commit_bytes: u64,
    /// Merged `.log`, if it is on.
    pub merged_log: Option<PathBuf>,
    /// Merged `.json`, if it is on.
    pub merged_json: Option<PathBuf>,
    /// A segment is closed at this size, in bytes.
    pub segment_bytes: u64,
    /// A segment is closed at this age.
    pub segment_age: Duration,
    /// Limits on connections and waits.
    pub limits: Limits,
    /// The bus, if it is on.
    pub bus: Option<bus::Config>,
    /// Where metrics, health and status are served.
    pub status: status::Listen,
    /// How long closed segments are kept.
    pub retention: Retention,
    /// Whether closed segments are compressed.
    pub compress: bool,
    /// What an operator should know, though nothing is wrong.
    pub notices: Vec<String>,
}

/// What one peer, and all together, may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; more are closed as they come.
    pub connections: usize,
    /// Connections of one worker at a time.
    pub connections_per_worker: usize,
    /// Handshakes at a time; more wait their turn. One that has not begun takes none.
    pub handshakes: usize,
    /// Longest handshake, with the wait for its beginning and its turn.
    pub handshake: Duration,
    /// Longest time inside a frame without another byte of it.
    pub frame: Duration,
    /// Longest time between frames. Long, because a plain sender may lose its next message to a connection that was
    /// closed under it; dead peers are found by TCP keepalive within two minutes.
    pub idle: Duration,
    /// Longest time that a stop waits for connections, commit and merged outputs, each.
    pub drain: Duration,
    /// Bytes a second of one worker; 0: no limit. Reading pauses, nothing is lost.
    pub rate: u64,
}

impl Limits {
    /// Longest time between frames of an acknowledged connection: a plain sender may be silent for hours, a forwarder
    /// beats.
    pub(crate) fn idle_link(&self) -> Duration {
        ReceiverLimits::default().idle.min(self.idle)
    }
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Raw {
    listen: String,
    data: PathBuf,
    trust: String,
    siblings: Vec<String>,
    max_frame: ByteSize,
    commit: RawCommit,
    merged: RawMerged,
    retention: RawRetention,
    segment: RawSegment,
    limits: RawLimits,
    bus: Option<bus::Table>,
    status: status::Config,
}

impl Default for Raw {
    fn default() -> Raw {
        Raw {
            listen: "0.0.0.0:6514".to_owned(),
            data: "/var/lib/logferry".into(),
            trust: "registry".to_owned(),
            siblings: Vec::new(),
            max_frame: ByteSize(u64::from(framing::MAX_FRAME)),
            commit: RawCommit::default(),
            merged: RawMerged::default(),
            retention: RawRetention::default(),
            segment: RawSegment::default(),
            limits: RawLimits::default(),
            bus: None,
            status: status::Config::default(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct RawCommit {
    max_delay: Span,
    max_bytes: ByteSize,
}

impl Default for RawCommit {
    fn default() -> RawCommit {
        RawCommit {
            max_delay: Span(Duration::from_millis(50)),
            max_bytes: ByteSize(4 << 20),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawMerged {
    log: Option<PathBuf>,
    json: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawRetention {
    max_age: Option<Span>,
    max_bytes: Option<ByteSize>,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct RawSegment {
    max_bytes: ByteSize,
    max_age: Span,
    compress: bool,
}

impl Default for RawSegment {
    fn default() -> RawSegment {
        RawSegment {
            max_bytes: ByteSize(256 << 20),
            max_age: Span(Duration::from_secs(24 * 3600)),
            compress: false,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct RawLimits {
    connections: u64,
    connections_per_worker: u64,
    handshakes: u64,
    handshake: Span,
    frame: Span,
    idle: Span,
    drain: Span,
    rate: ByteSize,
}

impl Default for RawLimits {
    fn default() -> RawLimits {
        RawLimits {
            connections: 1024,
            connections_per_worker: 16,
            handshakes: 64,
            handshake: Span(Duration::from_secs(10)),
            frame: Span(Duration::from_secs(30)),
            idle: Span(Duration::from_secs(24 * 3600)),
            drain: Span(Duration::from_secs(20)),
            rate: ByteSize(0),
        }
    }
}

impl Config {
    /// Reads the file and the environment.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn load(file: &Path, environment: &Environment) -> Result<(Config, Source), Problems> {
        service::config::load_checked(file, |raw, source| Config::check(raw, source, environment))
    }

    fn check(raw: Raw, source: &Source, environment: &Environment) -> Result<Config, Problems> {
        let mut problems = Problems::new();
        let (host, port) = problems
            .take(address(&raw.listen).map_err(|what| source.problem("listen", what)))
            .unwrap_or_default();
        let mut place = (host, port);
        problems.take(environment.beats("DECNET_LISTENER_HOST", &mut place.0));
        problems.take(environment.beats("DECNET_SWARM_SYSLOG_PORT", &mut place.1));
        let trust = match raw.trust.as_str() {
            "registry" => Trust::Registry,
            "ca" => Trust::Ca,
            other => {
                let what = format!("`{other}` is neither \"registry\" nor \"ca\"");
                problems.push(source.problem("trust", what));
                Trust::Registry
            }
        };
        let mut siblings = Vec::new();
        for (at, text) in raw.siblings.iter().enumerate() {
            let id = ArchiveId::parse(text)
                .map_err(|e| source.problem(&format!("siblings.{at}"), e.to_string()));
            siblings.extend(problems.take(id));
        }
        // RFC 5425 §4.3.1: a receiver must take messages of 2048 octets.
        let sizes = Between {
            source,
            problems: &mut problems,
        };
        let (max_frame, commit_bytes, segment_bytes) = sizes.sizes(&raw);
        let limits = Between {
            source,
            problems: &mut problems,
        }
        .limits(&raw.limits);
        let delay = Between {
            source,
            problems: &mut problems,
        }
        .time(
            "commit.max_delay",
            raw.commit.max_delay,
            Duration::from_millis(1),
            Duration::from_secs(10),
        );
        let age = Between {
            source,
            problems: &mut problems,
        }
        .time(
            "segment.max_age",
            raw.segment.max_age,
            Duration::from_secs(1),
            Duration::from_secs(10 * 366 * 86400),
        );
        merged(&raw.merged, source, &mut problems);
        let retention = Between {
            source,
            problems: &mut problems,
        }
        .retention(&raw.retention);
        let mut notices = Vec::new();
        let bus = bus::Config::check(raw.bus, source, environment, &mut problems, &mut notices);
        let config = Config {
            host: place.0,
            port: place.1,
            trust,
            siblings,
            max_frame: u32::try_from(max_frame).unwrap_or(framing::MAX_FRAME),
            commit_delay: delay,
            commit_bytes,
            merged_log: raw.merged.log,
            merged_json: raw.merged.json,
            segment_bytes,
            segment_age: age,
            retention,
            compress: raw.segment.compress,
            limits,
            bus,
            status: raw.status.listen(&raw.data),
            data: raw.data,
            notices,
        };
        problems.none_or(config)
    }
}

/// Splits `host:port`; an IPv6 address stands in brackets.
fn address(text: &str) -> Result<(String, u16), String> {
    let bad = || format!("`{text}` is not HOST:PORT, like \"0.0.0.0:6514\" or \"[::]:6514\"");
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').ok_or_else(bad)?,
        None if host.contains(':') => return Err(bad()),
        None => host,
    };
    if host.is_empty() {
        return Err(bad());
    }
    Ok((host.to_owned(), port.parse().map_err(|_| bad())?))
}

/// Checks that the merged outputs are two files.
fn merged(raw: &RawMerged, source: &Source, problems: &mut Problems) {
    let files = [("merged.log", &raw.log), ("merged.json", &raw.json)];
    for (key, path) in files {
        if let Some(path) = path
            && path.file_name().is_none()
        {
            problems.push(source.problem(key, format!("`{}` names no file", path.display())));
        }
    }
    if raw.log.is_some() && raw.log == raw.json {
        problems.push(source.problem("merged.json", "the same file as merged.log"));
    }
}

/// Checks that values are between two limits, and names both when they are not.
struct Between<'a> {
    source: &'a Source,
    problems: &'a mut Problems,
}

impl Between<'_> {
    fn sizes(mut self, raw: &Raw) -> (u64, u64, u64) {
        (
            self.size(
                "max_frame",
                raw.max_frame.0,
                2048,
                u64::from(archive::MAX_FRAME),
            ),
            self.size(
                "commit.max_bytes",
                raw.commit.max_bytes.0,
                64 << 10,
                MAX_WINDOW,
            ),
            self.size(
                "segment.max_bytes",
                raw.segment.max_bytes.0,
                1 << 20,
                1 << 40,
            ),
        )
    }

    fn retention(mut self, raw: &RawRetention) -> Retention {
        let (least, most) = (
            Duration::from_secs(1),
            Duration::from_secs(100 * 366 * 86400),
        );
        Retention {
            max_age: raw
                .max_age
                .map(|age| self.time("retention.max_age", age, least, most)),
            max_bytes: raw
                .max_bytes
                .map(|bytes| self.size("retention.max_bytes", bytes.0, 1 << 20, u64::MAX)),
        }
    }

    fn limits(mut self, raw: &RawLimits) -> Limits {
        let (second, day) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));
        Limits {
            connections: self.count("limits.connections", raw.connections, 100_000),
            connections_per_worker: self.count(
                "limits.connections_per_worker",
                raw.connections_per_worker,
                100_000,
            ),
            handshakes: self.count("limits.handshakes", raw.handshakes, 10_000),
            handshake: self.time("limits.handshake", raw.handshake, second, day),
            frame: self.time("limits.frame", raw.frame, second, day),
            idle: self.time("limits.idle", raw.idle, second, 366 * day),
            drain: self.time("limits.drain", raw.drain, second, day),
            rate: self.size("limits.rate", raw.rate.0, 0, u64::MAX),
        }
    }

    fn count(&mut self, key: &str, found: u64, most: u64) -> usize {
        usize::try_from(self.size(key, found, 1, most)).unwrap_or(usize::MAX)
    }

    fn size(&mut self, key: &str, found: u64, least: u64, most: u64) -> u64 {
        if !(least..=most).contains(&found) {
            self.push(key, format!("{found} is not between {least} and {most}"));
        }
        found
    }

    fn time(&mut self, key: &str, found: Span, least: Duration, most: Duration) -> Duration {
        if !(least..=most).contains(&found.0) {
            self.push(
                key,
                format!("{:?} is not between {least:?} and {most:?}", found.0),
            );
        }
        found.0
    }

    fn push(&mut self, key: &str, what: String) {
        let problem: Problem = self.source.problem(key, what);
        self.problems.push(problem);
    }
}

/// The largest commit window: it is held in memory until it stands.
const MAX_WINDOW: u64 = 64 << 20;

#[cfg(test)]
mod tests;
