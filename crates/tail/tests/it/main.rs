//! Real files in a temporary directory; the time is made up.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test ends where it is surprised, and says with which seed"
)]

mod alike;
mod around;
mod cases;
mod held;
mod model;
mod moments;
mod naming;
mod receiver;
