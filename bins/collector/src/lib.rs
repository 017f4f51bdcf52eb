//! Reads Docker's container logs into an RFC 5424 file and JSON records, each line exactly once.
//!
//! The way of a line: a reader (`source`) → the `writer`, which renders it (`render`) into a batch →
//! the `committer`, which makes the batch durable together with the cursor behind it. Which containers
//! have a reader is decided by the `fleet` from what the watcher of the daemon (`watch`) reports, and
//! carried out by the `driver`. What is durable goes to the bus, if there is one, by the `feed`.

pub mod args;
pub mod books;
pub mod checkpoint;
pub mod commands;
pub mod committer;
pub mod config;
pub mod docker;
pub mod driver;
pub mod feed;
pub mod fleet;
pub mod gap;
pub mod metrics;
pub mod otlp;
pub mod own;
pub mod parse;
pub mod render;
pub mod roster;
pub mod run;
pub mod select;
pub mod sessions;
pub mod source;
pub mod syslog;
pub mod transcript;
pub mod watch;
pub mod writer;

pub use run::{Sources, collect};
