//! Both ends of TLS against each other, certificates against openssl, files against crashes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod client;
mod decnet;
mod files;
mod follow;
mod handshake;
mod openssl;
mod refusals;
mod support;
