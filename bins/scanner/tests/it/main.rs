//! The program over real archives and log files.
#![expect(clippy::unwrap_used, reason = "tests")]

mod archive;
mod bed;
mod commands;
mod file;
mod kill;
mod receiver;
mod rules;
mod slow;
mod webhooks;
