//! Turns lines of an archive, or of a worker's own log, into events by rules, and events into webhooks by triggers.
//!
//! What was read, what it led to and what was suppressed become durable together, in one transaction, so that a line
//! makes its events once, whatever happens to the process. One loop owns the scanning: take lines from the input,
//! decide, commit. Deliveries follow the events with a cursor of their own, and can't write events.

pub mod args;
mod board;
pub mod commands;
mod config;
mod dispatch;
mod event;
mod line;
mod metrics;
mod pages;
mod replay;
mod rulefiles;
mod run;
mod scan;
mod source;
mod store;
mod trial;
mod trigger;
mod watch;

pub use config::{Config, Input, Rate, Retention, Start};
pub use run::{run, scan};
