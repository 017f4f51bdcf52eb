//! Metrics, health and status over one small HTTP endpoint: `/metrics`, `/livez`, `/readyz`, `/status`.
//!
//! It listens on a Unix socket in the state directory or on a loopback address, never on one that another host
//! reaches. Requests, connections and their time are bounded; nothing it does holds up the work.

mod access;
mod client;
mod exposition;
mod health;
mod listen;
mod pages;
mod process;
mod register;
mod render;
mod routes;
mod server;

use std::fmt;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

pub use access::{Access, GuardedConfig};
pub use client::{QueryError, page_command, query, query_as, status_command};
pub use health::{Component, Health, Pulse};
pub use listen::{Config, Listen, ListenError};
pub use register::Register;
pub use routes::{Answer, Asked, MAX_BODY, Routes};
pub use server::{BindError, Server};

/// What a program tells about itself: its metrics and its health.
///
/// Register metrics before serving: the values behind them are shared, the registry is not changed later.
pub struct Telemetry {
    /// The registry; names get the prefix `logferry_<program>`.
    pub registry: Registry,
    /// Metrics under another program's names, which get no prefix: for a program that stands in its place.
    pub foreign: Registry,
    program: &'static str,
    version: &'static str,
    health: Health,
}

impl Telemetry {
    /// For the program `name` (without `logferry-`): process metrics and build information are there already.
    pub fn new(program: &'static str, version: &'static str) -> Self {
        let mut registry = Registry::with_prefix(format!("logferry_{program}").replace('-', "_"));
        let info = Family::<[(&str, &str); 1], Gauge>::default();
        info.get_or_create(&[("version", version)]).set(1);
        registry.register("build_info", "Always 1; the version is a label", info);
        registry.register_collector(Box::new(process::Process));
        Self {
            registry,
            foreign: Registry::default(),
            program,
            version,
            health: Health::new(),
        }
    }

    /// The program's name, without `logferry-`.
    pub fn program(&self) -> &'static str {
        self.program
    }

    /// The program's version.
    pub fn version(&self) -> &'static str {
        self.version
    }

    /// A handle to the program's health.
    pub fn health(&self) -> Health {
        self.health.clone()
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry")
            .field("program", &self.program)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
