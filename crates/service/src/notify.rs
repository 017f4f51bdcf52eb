//! What systemd is told (sd_notify(3)). Outside of it, all of this does nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// Sockets are bound, the configuration is loaded, work begins.
pub fn ready() {
    send(&[NotifyState::Ready]);
}

/// Shutdown begins.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// One line for `systemctl status`.
pub fn status(line: &str) {
    send(&[NotifyState::Status(&line.replace('\n', " "))]);
}

/// The time within which the watchdog wants to hear of us; `None` when there is no watchdog, or it watches another
/// process.
pub fn watchdog_period() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|period| !period.is_zero())
}

pub(crate) fn watchdog() {
    send(&[NotifyState::Watchdog]);
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd can't be notified");
    }
}
