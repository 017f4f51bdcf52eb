//! Limits that depend on time: a dedupe window, a back-off, a token bucket.
//!
//! Timed state: the clock and the randomness are arguments, so that tests need neither. Nothing here waits, and
//! every table has a stated limit.

#![cfg_attr(
    test,
    expect(clippy::disallowed_methods, reason = "a test may pick an epoch")
)]

mod backoff;
mod bucket;
mod dedupe;
mod gcra;

pub use backoff::Backoff;
pub use bucket::TokenBucket;
pub use dedupe::{Dedupe, MAX_KEYS};
pub use gcra::Gcra;
