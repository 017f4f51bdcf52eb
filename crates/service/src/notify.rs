//! What systemd is told (sd_notify(3)). Outside of it, all of this does nothing.
//!
//! Written here because the crate for it knows no abstract sockets (`@name`), which systemd may hand out.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Sockets are bound, the configuration is loaded, work begins.
pub fn ready() {
    send("READY=1");
}

/// Shutdown begins.
pub fn stopping() {
    send("STOPPING=1");
}

/// One line for `systemctl status`.
pub fn status(line: &str) {
    send(&format!("STATUS={}", line.replace(char::is_control, " ")));
}

/// The time within which the watchdog wants to hear of us; `None` when there is no watchdog, or it watches another
/// process (sd_watchdog_enabled(3)).
pub fn watchdog_period() -> Option<Duration> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let ours = match std::env::var_os("WATCHDOG_PID") {
        Some(_) => number("WATCHDOG_PID") == Some(std::process::id().into()),
        None => true,
    };
    let period = number("WATCHDOG_USEC").filter(|usec| ours && *usec > 0)?;
    Some(Duration::from_micros(period))
}

pub(crate) fn watchdog() {
    send("WATCHDOG=1");
}

fn send(message: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = send_to(&socket, message) {
        tracing::warn!(%error, "systemd can't be notified");
    }
}

/// The longest a datagram waits for room: the caller is a work loop.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// One datagram, to a path or to an abstract name.
fn send_to(socket: &OsStr, message: &str) -> io::Result<()> {
    let addr = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    let datagram = UnixDatagram::unbound()?;
    datagram.set_write_timeout(Some(MAX_WAIT))?;
    datagram.send_to_addr(message.as_bytes(), &addr).map(|_| ())
}
