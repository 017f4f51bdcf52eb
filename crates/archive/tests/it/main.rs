//! The archive over real files: windows that stand or are void, and what is left after a crash at each step.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod audit;
mod damage;
mod epochs;
mod lost;
#[expect(
    clippy::print_stderr,
    reason = "a failure prints its seed and the ledger"
)]
mod model;
mod recovery;
mod support;
mod upkeep;
mod view;
mod window;
