//! The table `[bus]`, DECNET's variables over it, and where the socket is.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use serde::Deserialize;
use service::config::{Environment, Problems, Source};

/// The variables that beat the table, and the one that says where the home directory is.
pub const VARIABLES: [&str; 4] = [ENABLED, TYPE, SOCKET, HOME];

const ENABLED: &str = "DECNET_BUS_ENABLED";
const TYPE: &str = "DECNET_BUS_TYPE";
const SOCKET: &str = "DECNET_BUS_SOCKET";
const HOME: &str = "HOME";

/// The table `[bus]` as it is written; it is there or not, and that turns the bus on or off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Table {
    socket: Option<PathBuf>,
}

/// A bus that is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where it listens.
    pub socket: Socket,
}

/// Where a bus listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Socket {
    /// At this path.
    At(PathBuf),
    /// Where DECNET's programs look for it: `/run/decnet/bus.sock` if that directory can be written, else
    /// `.decnet/bus.sock` in the home directory that is named here.
    Search(Option<PathBuf>),
}

impl Config {
    /// Checks the table and the environment; `None` when the bus is off. Notices are what an operator should know
    /// though nothing is wrong.
    pub fn check(
        table: Option<Table>,
        source: &Source,
        environment: &Environment,
        problems: &mut Problems,
        notices: &mut Vec<String>,
    ) -> Option<Self> {
        let mut text = |name| problems.take(environment.text(name)).flatten();
        let (enabled, kind) = (text(ENABLED), text(TYPE));
        let (named, home) = (text(SOCKET), text(HOME));
        let on = match enabled.map(str::to_ascii_lowercase).as_deref() {
            Some("false" | "0" | "no" | "off") => false,
            Some("true" | "1" | "yes" | "on") => true,
            Some(other) => {
                let what = format!("`{other}` is neither true nor false");
                problems.push(Environment::problem(ENABLED, what));
                false
            }
            None => table.is_some(),
        };
        if !on {
            return None;
        }
        match kind.map(str::to_ascii_lowercase).as_deref() {
            None | Some("unix") => {}
            Some("fake") => {
                notices.push(format!(
                    "{TYPE}=fake is a bus within one process: nothing is published"
                ));
                return None;
            }
            Some(other) => {
                let what = format!("`{other}` is none of \"unix\", \"fake\"");
                problems.push(Environment::problem(TYPE, what));
                return None;
            }
        }
        let written = table.and_then(|table| table.socket);
        let socket = match (named, written) {
            (Some(path), _) => {
                let path = PathBuf::from(path);
                problems.take(usable(&path).map_err(|what| Environment::problem(SOCKET, what)))?;
                Socket::At(path)
            }
            (None, Some(path)) => {
                problems.take(usable(&path).map_err(|what| source.problem("bus.socket", what)))?;
                Socket::At(path)
            }
            (None, None) => Socket::Search(home.map(PathBuf::from)),
        };
        Some(Self { socket })
    }
}

/// The bus may come later, so only the path itself is looked at.
fn usable(path: &Path) -> Result<(), String> {
    let len = path.as_os_str().as_bytes().len();
    if !path.is_absolute() || path.file_name().is_none() {
        return Err(format!("`{}` is no absolute path", path.display()));
    }
    if len > MAX_PATH {
        return Err(format!(
            "path of {len} octets is longer than a socket's may be, {MAX_PATH}"
        ));
    }
    Ok(())
}

impl Socket {
    /// The path to connect to now. A search is made each time: the directory may come with the bus.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        match self {
            Self::At(path) => path.clone(),
            Self::Search(home) => search(Path::new(RUN), home.as_deref()),
        }
    }
}

fn search(run: &Path, home: Option<&Path>) -> PathBuf {
    let shared = run.join(NAME);
    let own = home.map(|home| home.join(".decnet").join(NAME));
    let writable = run.is_dir() && rustix::fs::access(run, Access::WRITE_OK).is_ok();
    match own {
        // Beyond DECNET's rule: a client that may not write the directory may still be let in by the socket there.
        Some(own) if !writable && (own.exists() || !shared.exists()) => own,
        _ => shared,
    }
}

const RUN: &str = "/run/decnet";
const NAME: &str = "bus.sock";
/// What a Unix socket's address holds, without the NUL at its end (unix(7)).
const MAX_PATH: usize = 107;

#[cfg(test)]
mod tests;
