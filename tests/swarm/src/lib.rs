//! A local swarm of real programs: one master, workers with collector and forwarder, decoys in containers.
//!
//! It starts, kills and questions processes as an operator would, through their commands and files, and holds no code
//! of theirs. The `logferry-swarm` command shows it (`demo`); the end-to-end tests stand on it.

mod archived;
pub mod audit;
mod check;
mod child;
pub mod demo;
mod docker;
mod house;
mod master;
mod metrics;
mod peers;
mod programs;
mod proxy;
pub mod torture;
mod verdict;
mod wait;
mod worker;

pub use archived::{Archived, Run, archived_lines, runs};
pub use check::{Interleaving, Source, container_lines, interleaving, merged_lines, unwrap_line};
pub use child::Child;
pub use docker::{Container, ContainerSpec, Daemon, Image};
pub use master::Master;
pub use metrics::Metrics;
pub use peers::{Decnet, Driver, Row, Rsyslog, free_port};
pub use programs::Programs;
pub use proxy::{Held, Proxy};
pub use wait::until;
pub use worker::{Worker, WorkerSpec};
