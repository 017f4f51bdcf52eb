//! `[syslog]`: where this host's own programs may send, and how much.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::Deserialize;
use service::{
    config::{ByteSize, Problems, Source, Span},
    socket::{self, Place},
};

/// The table as written.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawSyslog {
    udp: Option<String>,
    tcp: Option<String>,
    unix: Option<PathBuf>,
    mode: Option<String>,
    max_message: Option<ByteSize>,
    connections: Option<u64>,
    idle: Option<Span>,
}

/// The checked table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where datagrams come in; a loopback address.
    pub udp: Option<SocketAddr>,
    /// Where connections come in; a loopback address.
    pub tcp: Option<SocketAddr>,
    /// The datagram socket in the file system.
    pub unix: Option<Place>,
    /// Octets of a message on a connection; a longer line becomes parts.
    pub max_message: u32,
    /// Connections served at a time; more wait in the kernel's queue.
    pub connections: usize,
    /// How long a connection may be silent.
    pub idle: Duration,
}

/// Checks the table; problems name their keys.
pub(crate) fn resolve(raw: RawSyslog, source: &Source, problems: &mut Problems) -> Config {
    let mut address = |key: &str, text: &Option<String>| {
        let text = text.as_deref()?;
        let checked = loopback(text);
        checked
            .map_err(|what| problems.push(source.problem(&format!("syslog.{key}"), what)))
            .ok()
    };
    let udp = address("udp", &raw.udp);
    let tcp = address("tcp", &raw.tcp);
    if raw.udp.is_none() && raw.tcp.is_none() && raw.unix.is_none() {
        problems.push(source.problem("syslog", "has no udp, tcp or unix: nothing would be heard"));
    }
    let mode = raw.mode.as_deref().unwrap_or(DEFAULT_MODE);
    let mode = socket::mode(mode).unwrap_or_else(|what| {
        problems.push(source.problem("syslog.mode", what));
        0
    });
    let unix = raw.unix.map(|path| Place {
        path,
        mode,
        group: None,
    });
    if let Some(place) = &unix
        && let Err(what) = place.check()
    {
        problems.push(source.problem("syslog.unix", what));
    }
    let max_message = raw.max_message.map_or(DEFAULT_MESSAGE, |size| size.0);
    if !(MIN_MESSAGE..=MAX_MESSAGE).contains(&max_message) {
        problems.push(source.problem("syslog.max_message", "must be between 1KiB and 1MiB"));
    }
    let connections = raw.connections.unwrap_or(DEFAULT_CONNECTIONS);
    if !(1..=MAX_CONNECTIONS).contains(&connections) {
        problems.push(source.problem("syslog.connections", "must be between 1 and 1024"));
    }
    let idle = raw.idle.map_or(DEFAULT_IDLE, |span| span.0);
    if !(MIN_IDLE..=MAX_IDLE).contains(&idle) {
        problems.push(source.problem("syslog.idle", "must be between 1s and 7d"));
    }
    Config {
        udp,
        tcp,
        unix,
        max_message: u32::try_from(max_message).unwrap_or(u32::MAX),
        connections: usize::try_from(connections).unwrap_or(usize::MAX),
        idle,
    }
}

/// An address that only this host can reach.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| {
        format!("{text:?} is no address with a port, like \"127.0.0.1:514\" or \"[::1]:514\"")
    })?;
    if !address.ip().to_canonical().is_loopback() {
        return Err(format!(
            "{text:?} can be reached from other hosts, and plain syslog proves no sender and hides nothing: only \
             loopback (127.0.0.0/8, ::1) is served; other hosts send to the listener, over TLS"
        ));
    }
    Ok(address)
}

const DEFAULT_MODE: &str = "0660";
const DEFAULT_MESSAGE: u64 = 1 << 20;
const MIN_MESSAGE: u64 = 1 << 10;
/// What a line may have everywhere else, too.
const MAX_MESSAGE: u64 = 1 << 20;
/// With the longest messages they hold 64 MiB.
const DEFAULT_CONNECTIONS: u64 = 64;
const MAX_CONNECTIONS: u64 = 1024;
/// Long: what is written to a connection that was just closed is lost to its sender, who can't know.
const DEFAULT_IDLE: Duration = Duration::from_secs(3600);
const MIN_IDLE: Duration = Duration::from_secs(1);
const MAX_IDLE: Duration = Duration::from_secs(7 * 24 * 3600);
/// The longest commit delay beside this source: what was read and is not durable can't be read again.
pub(crate) const MAX_DELAY: Duration = Duration::from_millis(50);
