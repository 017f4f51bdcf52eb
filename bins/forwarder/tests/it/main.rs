//! The forwarder against receivers of the test's own: real TLS, real certificates, real files.
#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

mod acknowledged;
mod archive;
mod bed;
mod bus;
mod command;
mod delivery;
mod faults;
mod kill;
mod master;
mod masters;
mod receiver;
mod restored;
