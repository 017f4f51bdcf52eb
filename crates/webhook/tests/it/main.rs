//! Attempts against real receivers on loopback, which the tests' policy allows.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
#![allow(
    clippy::disallowed_methods,
    reason = "a test's receiver is a task that ends with its runtime"
)]

mod attempt;
mod guarded;
mod receiver;
mod tls;
