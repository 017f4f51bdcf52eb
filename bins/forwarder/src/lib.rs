//! Tails log files and delivers them to the master over mutual TLS.
//!
//! One task a stream: it follows a file ([`tail`]), connects to the first master that answers, and hands the
//! connection to a delivery mode (`delivery`). What a mode knows to be delivered is confirmed to the follower, whose
//! checkpoint is stored; after a crash or a lost connection everything behind it is sent again. Streams share nothing
//! but the store and the ledger, so one that is blocked delays no other.

pub mod args;
mod books;
pub mod commands;
mod config;
mod connection;
mod delivery;
mod identity;
mod import;
mod limits;
mod link;
mod metrics;
mod patience;
mod run;
mod sendq;
mod state;
mod status;
mod stream;
mod tailer;

pub use config::{Config, Delivery, Master, StreamConfig};
pub use limits::Limits;
pub use run::{forward, run};
