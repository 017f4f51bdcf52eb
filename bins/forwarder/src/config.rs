//! `forwarder.toml`: every key with its default, and what is wrong with a file, all at once.

use std::path::{Path, PathBuf};

use pki::{Identity, MasterCheck};
use serde::Deserialize;
use service::config::{ByteSize, Environment, Problems, Source};
use service::status;

/// RFC 5425 §4.1.
const SYSLOG_TLS: u16 = 6514;
/// Streams of one forwarder (docs/wire.md, limits).
const MAX_STREAMS: usize = 16;
/// The stream that DECNET's environment describes, when the file names none.
const DECNET_STREAM: &str = "decky";

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Masters in order of preference.
    pub masters: Vec<Master>,
    /// Directory of `ca.crt worker.crt worker.key`.
    pub identity: PathBuf,
    /// State directory.
    pub state: PathBuf,
    /// How lines are delivered.
    pub delivery: Delivery,
    /// How a master is recognised.
    pub check: MasterCheck,
    /// Most bytes of a stream that may wait; 0: no limit.
    pub max_lag_bytes: u64,
    /// What to forward.
    pub streams: Vec<StreamConfig>,
    /// The bus, if it is on.
    pub bus: Option<bus::Config>,
    /// Where metrics, health and status are served.
    pub status: status::Listen,
    /// What an operator should know, though nothing is wrong.
    pub notices: Vec<String>,
}

/// A master's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Master {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl std::fmt::Display for Master {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// How lines are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Acknowledged if the master can, else plain.
    Auto,
    /// Acknowledged, and not at all with a master that can't.
    Acknowledged,
    /// Plain RFC 5425.
    Plain,
}

/// One stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamConfig {
    /// Its name.
    pub name: String,
    /// The live file.
    pub path: PathBuf,
    /// DECNET's offset store, read on the first start.
    pub import_offset: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Raw {
    masters: Vec<String>,
    identity: PathBuf,
    state: PathBuf,
    delivery: String,
    verify_master: String,
    master_names: Vec<String>,
    max_lag_bytes: ByteSize,
    stream: Vec<RawStream>,
    bus: Option<bus::Table>,
    status: status::Config,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            masters: Vec::new(),
            identity: "/etc/logferry/identity".into(),
            state: "/var/lib/logferry/forwarder".into(),
            delivery: "auto".to_owned(),
            verify_master: "names".to_owned(),
            master_names: pki::MASTER_NAMES.map(str::to_owned).to_vec(),
            max_lag_bytes: ByteSize(0),
            stream: Vec::new(),
            bus: None,
            status: status::Config::default(),
        }
    }
}

#[derive(Debug, Deserialize)]
struct RawStream {
    name: String,
    path: PathBuf,
    import_offset: Option<PathBuf>,
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

    /// Reads the file and the environment only: for commands that ask, and must answer also when a certificate has
    /// expired.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn read(file: &Path, environment: &Environment) -> Result<Self, Problems> {
        let (config, _) = service::config::load_checked(file, |raw, source| {
            let mut problems = Problems::new();
            let config = Self::check(raw, source, environment, &mut problems);
            problems.none_or(config)
        })?;
        Ok(config)
    }

    /// Looks at the files that are named.
    fn look(&self, source: &Source, problems: &mut Problems) {
        for (at, stream) in self.streams.iter().enumerate() {
            if let Err(what) = check_path(&stream.path) {
                problems.push(source.problem(&format!("stream.{at}.path"), what));
            }
        }
        match Identity::load(&self.identity) {
            Ok(identity) => {
                if let Err(error) = pki::client_config(&identity, self.check.clone(), &[]) {
                    problems.push(source.problem("master_names", error.to_string()));
                }
            }
            Err(error) => problems.push(source.problem("identity", error.to_string())),
        }
        if let Err(error) = service::check_writable(&self.state) {
            let what = format!("{} can't be written: {error}", self.state.display());
            problems.push(source.problem("state", what));
        }
    }

    fn check(
        mut raw: Raw,
        source: &Source,
        environment: &Environment,
        problems: &mut Problems,
    ) -> Self {
        let mut notices = Vec::new();
        let masters = masters(&raw.masters, source, environment, problems);
        problems.take(environment.text("DECNET_AGENT_DIR").map(|dir| {
            if let Some(dir) = dir {
                raw.identity = dir.into();
            }
        }));
        let log = problems
            .take(environment.text("DECNET_INGEST_LOG_FILE"))
            .flatten();
        if let Some(log) = log {
            match raw.stream.as_mut_slice() {
                [] => raw.stream.push(RawStream {
                    name: DECNET_STREAM.to_owned(),
                    path: log.into(),
                    import_offset: None,
                }),
                [only] => only.path = log.into(),
                _ => notices.push(
                    "DECNET_INGEST_LOG_FILE is set but there are several streams: it is not used"
                        .to_owned(),
                ),
            }
        }
        let streams = streams(raw.stream, source, problems, &mut notices);
        let delivery = match raw.delivery.as_str() {
            "auto" => Delivery::Auto,
            "plain" => Delivery::Plain,
            "acknowledged" => Delivery::Acknowledged,
            other => {
                let what = format!("`{other}` is none of \"auto\", \"plain\", \"acknowledged\"");
                problems.push(source.problem("delivery", what));
                Delivery::Auto
            }
        };
        let check = match raw.verify_master.as_str() {
            "names" => MasterCheck::Names(raw.master_names),
            "chain" => MasterCheck::Chain,
            other => {
                let what = format!("`{other}` is neither \"names\" nor \"chain\"");
                problems.push(source.problem("verify_master", what));
                MasterCheck::Chain
            }
        };
        let bus = bus::Config::check(raw.bus, source, environment, problems, &mut notices);
        Self {
            masters,
            identity: raw.identity,
            delivery,
            check,
            max_lag_bytes: raw.max_lag_bytes.0,
            streams,
            bus,
            status: raw.status.listen(&raw.state),
            state: raw.state,
            notices,
        }
    }
}

/// What DECNET's environment says beats the file; its port is the default where none is given.
fn masters(
    listed: &[String],
    source: &Source,
    environment: &Environment,
    problems: &mut Problems,
) -> Vec<Master> {
    let port = problems
        .take(environment.value::<u16>("DECNET_SWARM_SYSLOG_PORT"))
        .flatten()
        .unwrap_or(SYSLOG_TLS);
    let named = problems
        .take(environment.text("DECNET_SWARM_MASTER_HOST"))
        .flatten();
    if let Some(host) = named {
        let found = master(host, port)
            .map_err(|what| Environment::problem("DECNET_SWARM_MASTER_HOST", what));
        return problems.take(found).into_iter().collect();
    }
    let mut masters = Vec::new();
    for (at, text) in listed.iter().enumerate() {
        let found =
            master(text, port).map_err(|what| source.problem(&format!("masters.{at}"), what));
        masters.extend(problems.take(found));
    }
    if listed.is_empty() {
        let what =
            "no master is named: write masters = [\"HOST:6514\"], or set DECNET_SWARM_MASTER_HOST";
        problems.push(source.problem("masters", what));
    }
    masters
}

/// Splits `host[:port]`; an IPv6 address with a port stands in brackets.
fn master(text: &str, port: u16) -> Result<Master, String> {
    let bad = || {
        format!("`{text}` is not HOST:PORT, like \"master.example:6514\" or \"[2001:db8::1]:6514\"")
    };
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(bad)?;
        match rest.strip_prefix(':') {
            Some(digits) => (host, digits.parse().map_err(|_| bad())?),
            None if rest.is_empty() => (host, port),
            None => return Err(bad()),
        }
    } else {
        match text.split_once(':') {
            // An IPv6 address without a port.
            Some((_, rest)) if rest.contains(':') => (text, port),
            Some((host, digits)) => (host, digits.parse().map_err(|_| bad())?),
            None => (text, port),
        }
    };
    if host.is_empty() || port == 0 || host.contains(char::is_whitespace) {
        return Err(bad());
    }
    Ok(Master {
        host: host.to_owned(),
        port,
    })
}

fn streams(
    raw: Vec<RawStream>,
    source: &Source,
    problems: &mut Problems,
    notices: &mut Vec<String>,
) -> Vec<StreamConfig> {
    if raw.is_empty() {
        let what = "no stream is named: add a [[stream]] table with name and path";
        problems.push(source.problem("stream", what));
    }
    if raw.len() > MAX_STREAMS {
        let what = format!("{} streams are more than {MAX_STREAMS}", raw.len());
        problems.push(source.problem("stream", what));
    }
    let mut streams: Vec<StreamConfig> = Vec::new();
    for (at, raw) in raw.into_iter().enumerate() {
        let key = |name: &str| format!("stream.{at}.{name}");
        if let Err(what) = check_name(&raw.name) {
            problems.push(source.problem(&key("name"), what));
        }
        if raw.path.file_name().is_none() {
            let what = format!("`{}` names no file", raw.path.display());
            problems.push(source.problem(&key("path"), what));
        }
        for other in &streams {
            if other.name == raw.name {
                let what = format!("`{}` is the name of another stream", raw.name);
                problems.push(source.problem(&key("name"), what));
            }
            if other.path == raw.path {
                let what = format!(
                    "{} is the path of stream `{}`",
                    raw.path.display(),
                    other.name
                );
                problems.push(source.problem(&key("path"), what));
            }
        }
        if let Some(import) = &raw.import_offset
            && !import.exists()
        {
            notices.push(format!(
                "{}: {} is not there",
                key("import_offset"),
                import.display()
            ));
        }
        streams.push(StreamConfig {
            name: raw.name,
            path: raw.path,
            import_offset: raw.import_offset,
        });
    }
    streams
}

/// The names of docs/wire.md; `syslog` is reserved for plain senders on the master.
fn check_name(name: &str) -> Result<(), String> {
    if name == "syslog" {
        return Err("`syslog` is reserved for plain senders".to_owned());
    }
    if !delivery::is_stream_name(name) {
        return Err(format!(
            "`{name}` is no stream name: 1 to 64 of a-z 0-9 . _ -, beginning with a letter or digit"
        ));
    }
    Ok(())
}

/// The file need not be there yet. If it is, it must be one that we can read.
fn check_path(path: &Path) -> Result<(), String> {
    match std::fs::metadata(path) {
        Ok(meta) if !meta.is_file() => Err(format!("{} is not a regular file", path.display())),
        Ok(_) => std::fs::File::open(path)
            .map(drop)
            .map_err(|error| format!("{} can't be read: {error}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("{} can't be read: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests;
