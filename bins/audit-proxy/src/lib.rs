//! Takes the audit records of boundary clients from a Unix socket into `audit.log` and `audit.json`.
//!
//! There is no acknowledgement on that socket: what a client has written, it counts as delivered. So everything is
//! read as eagerly as it can be made durable, the socket's path outlives the process, and an orderly stop first closes
//! the way in and then reads what is in it. One task a connection cuts frames; one, the gatherer, decodes and renders
//! them into a group; one, the committer, makes groups durable by planned append.

pub mod args;
pub mod commands;
mod committer;
mod config;
mod connection;
mod decode;
mod event;
mod gaps;
mod gatherer;
mod group;
mod metrics;
mod report;
mod run;
mod server;
mod sessions;
mod socket;

pub use config::{Commit, Config, Limits};
pub use run::{proxy, run};
pub use socket::{Socket, SocketError};
