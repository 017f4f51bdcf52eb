//! Measures the delivery path: lines in a worker's file → TLS → the master's archive, fsynced and acknowledged.
//!
//! In one run, in turns, the same lines go the same way by a bare TLS copy with the same fsyncs, and by rsyslog and
//! syslog-ng, each tuned, with their queue in memory and on disk. Single figures of a machine mean little; what counts
//! is the ratio within a round, and of the rounds the median. It starts processes on loopback, in a folder that goes
//! away, and every wait has a limit.
//!
//! What the peers are measured at is less than what ours is: neither syncs the file it writes, and nobody tells the
//! sender that a line stands.

pub mod args;
pub mod copy;
mod intact;
mod latency;
mod lines;
mod ours;
mod pipeline;
mod report;
mod rounds;
mod rsyslog;
mod stage;
mod syslog_ng;
mod usage;

pub use rounds::run;

#[cfg(test)]
mod tests;
