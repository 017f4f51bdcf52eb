//! The collector as a whole: the real program, on made-up json-file directories behind a stub of the
//! daemon's four questions, and on a real daemon where there is one.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod bus;
mod commands;
mod daemon;
mod directories;
mod docker;
mod host;
mod kill;
mod otlp;
mod syslog;
