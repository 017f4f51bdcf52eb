//! The real listener process, and real TLS clients of it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod acknowledged;
mod admin;
mod audit;
mod bus;
mod commands;
mod crash;
mod epochs;
mod full;
mod limits;
mod link;
mod merged;
mod plain;
mod sending;
mod session;
mod support;
mod takeover;
mod trust;
mod upkeep;
mod violations;
