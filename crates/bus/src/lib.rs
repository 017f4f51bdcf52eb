//! DECNET's Unix bus: publishing, a heartbeat and the word to stop, without ever holding up the caller.
//!
//! [`Bus::start`] gives a program its place on the bus: one task connects, subscribes, beats and publishes, and goes on
//! doing so over a bus that is absent, vanishes, stalls or comes back. What the program hands it waits in a bounded
//! queue or is dropped and counted: at most once is the bus's own contract, and nothing here waits for it. [`decode`] and
//! [`encode`] are the codec of both directions, [`matches()`] the rule of subscriptions.
//!
//! It refuses to be a way between hosts: the socket is a file, and who may write to that file may stop the program.
//!
//! ```no_run
//! # async fn work(_: impl Future<Output = ()>) {}
//! # async fn program(config: Option<bus::Config>) {
//! let mut telemetry = service::Telemetry::new("collector", "1.0.0");
//! let bus = bus::Bus::start(config.as_ref(), &mut telemetry, || serde_json::json!({ "containers": 3 }));
//! work(bus.or_stop(service::stop_signal())).await;
//! bus.close().await;
//! # }
//! ```
#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests start their servers as tasks"
    )
)]

mod batch;
mod client;
mod config;
mod event;
mod frame;
mod metrics;
mod queue;
pub mod testing;
mod topic;
mod worker;

pub use batch::Batch;
pub use config::{Config, Socket, Table, VARIABLES};
pub use event::{Event, EventError};
pub use frame::{Frame, FrameError, MAX_BODY, MAX_HEADER, Verb, decode, encode};
pub use queue::{MAX_QUEUED_EVENTS, MAX_QUEUED_OCTETS, Publisher, Reason};
pub use topic::{is_segment, matches};
pub use worker::{Bus, HEARTBEAT};
