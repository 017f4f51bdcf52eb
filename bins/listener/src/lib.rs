//! The listener: takes syslog over mutual TLS from enrolled workers and keeps it, per worker, in the archive.
//!
//! `main` parses arguments and calls one of [`run`], [`check`] and [`status`]; the commands that work on the data
//! directory alone (`init`, `enroll`, …) are `admin`'s.

use std::path::Path;

use service::Failure;
use service::args::StatusArgs;

/// Serves until SIGTERM or SIGINT, then drains.
///
/// # Errors
/// [`Failure::Config`] with everything [`check`] would find, [`Failure::Runtime`] for a port that is taken or a disk
/// that fails.
pub fn run(_config: &Path) -> Result<(), Failure> {
    Err(Failure::not_built("run"))
}

/// Looks at the configuration and the files it names, without opening a port.
///
/// # Errors
/// [`Failure::Config`] with every problem at once.
pub fn check(_config: &Path) -> Result<(), Failure> {
    Err(Failure::not_built("check"))
}

/// Asks the running listener how it is and prints the answer.
///
/// # Errors
/// [`Failure::Config`], or [`Failure::Runtime`] when nobody answers.
pub fn status(_args: &StatusArgs) -> Result<(), Failure> {
    Err(Failure::not_built("status"))
}
