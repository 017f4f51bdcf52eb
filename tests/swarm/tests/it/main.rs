//! End-to-end tests: real programs, real TLS, a real Docker daemon, real peers.
#![allow(
    clippy::unwrap_used,
    reason = "a test that can't go on says so by a panic"
)]

mod acknowledged;
mod audit;
mod bad_input;
mod books;
mod bursts;
mod containers;
mod faults;
mod ingester;
mod masters;
mod peers;
mod pipe;
mod records;
mod stage;
mod support;
mod torture;
mod twins;
