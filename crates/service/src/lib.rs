//! What every program needs once: configuration, logging, metrics, health, status endpoint, signals,
//! sd_notify and exit codes.
//!
//! It decides nothing about logs. It refuses to guess: a configuration with any problem is no configuration,
//! and a status endpoint that would be reachable from another host is not opened.
//!
//! ```no_run
//! # #[derive(serde::Deserialize)] struct Raw { #[serde(default)] status: service::status::Config }
//! # async fn work(_stop: impl Future<Output = ()>) -> anyhow::Result<()> { Ok(()) }
//! fn program() -> Result<(), service::Failure> {
//!     let (raw, source) = service::config::load::<Raw>("/etc/logferry/listener.toml".as_ref())?;
//!     service::init_tracing();
//!     let _lock = service::lock("/var/lib/logferry".as_ref()).map_err(|error| error.failure(&source, "data"))?;
//!     let runtime = service::runtime(1)?;
//!     runtime.block_on(async {
//!         let telemetry = service::Telemetry::new("listener", env!("CARGO_PKG_VERSION"));
//!         let listen = raw.status.listen("/var/lib/logferry".as_ref());
//!         let server = service::status::Server::bind(&listen)?;
//!         let pulse = telemetry.health().pulse("commit");
//!         let status = tokio::task::spawn(server.run(telemetry.into(), || serde_json::json!({})));
//!         pulse.beat();
//!         service::notify::ready();
//!         let done = work(service::stop_signal()).await;
//!         service::notify::stopping();
//!         status.abort();
//!         Ok(done?)
//!     })
//! }
//! fn main() -> std::process::ExitCode {
//!     service::finish(program())
//! }
//! ```
#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests start their servers as tasks"
    )
)]

pub mod args;
pub mod config;
mod failure;
mod lock;
pub mod notify;
pub mod out;
mod runtime;
mod seldom;
pub mod socket;
pub mod status;
pub mod testing;
mod trace;

pub use failure::{Failure, finish};
pub use lock::{Lock, LockError, check_writable, lock};
pub use runtime::{runtime, stop_signal};
pub use seldom::Seldom;
pub use status::{Health, Telemetry};
pub use trace::init_tracing;
