//! Traces of the way of a record, to an OpenTelemetry collector: which records are traced, their context in the `.json`,
//! and the spans, sent aside in batches. Nothing of it holds anybody up: what finds no room is counted and dropped.

mod config;
mod context;
mod export;
mod message;
mod metrics;
mod post;

pub use config::{Config, Endpoint};
pub use context::{Context, Place, Tracer};
pub use export::{Exporter, Queue};
pub use metrics::Metrics;

pub(crate) use config::{RawOtlp, resolve};

/// A span that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// `collector.event` or `collector.stream_container`.
    pub name: &'static str,
    /// Its identity; each span is the root of its trace.
    pub context: Context,
    /// The span of the stream that a record came from.
    pub link: Option<Context>,
    /// When it began, in Unix nanoseconds.
    pub start_ns: u64,
    /// When it ended; 0 until it has.
    pub end_ns: u64,
    /// Names and values.
    pub attributes: Vec<(&'static str, String)>,
}

/// From rendering a record until it is durable.
pub const EVENT: &str = "collector.event";
/// From a container's first batch until its reader has ended.
pub const STREAM: &str = "collector.stream_container";

/// The wall clock in Unix nanoseconds.
pub(crate) fn now_ns() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests;
