//! The listener: takes syslog over mutual TLS from enrolled workers and keeps it, per worker, in the archive.
//!
//! `main` parses arguments and calls one of [`run`], [`check`] and [`status`]; the commands that work on the data
//! directory alone (`init`, `enroll`, …) are `admin`'s.
//!
//! A line's way: `server` lets a connection in, its `session` (plain, or acknowledged by docs/wire.md) cuts whole frames
//! out of it, `intake` carries them in bounded batches to the `keeper`, which owns the archive, commits windows and
//! answers acknowledged sessions, and `merge` makes the merged outputs of what was committed. Sessions share the main runtime; keeper and merger have a thread each, because they wait
//! for disks.

mod config;
mod intake;
mod keeper;
mod merge;
mod metrics;
mod run;
mod server;
mod session;
mod upkeep;
mod workers;

use std::path::Path;
use std::thread;

use service::Failure;
use service::args::StatusArgs;
use service::config::Environment;

pub use config::{Config, Limits};

/// Serves until SIGTERM or SIGINT, then drains.
///
/// # Errors
/// [`Failure::Config`] with everything [`check`] would find, [`Failure::Runtime`] for a port that is taken or a disk
/// that fails.
pub fn run(config: &Path) -> Result<(), Failure> {
    let (config, source) = Config::load(config, &Environment::process())?;
    service::init_tracing();
    let lock = service::lock(&config.data).map_err(|e| e.failure(&source, "data"))?;
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let runtime = service::runtime(threads.min(MAX_THREADS))?;
    runtime.block_on(async {
        let stop = service::stop_signal();
        let tls = run::inspect(&config, &source).await?;
        run::run(config, tls, lock, stop).await
    })
}

/// Looks at the configuration and the files it names, without opening a port.
///
/// # Errors
/// [`Failure::Config`] with every problem at once.
pub fn check(config: &Path) -> Result<(), Failure> {
    let (config, source) = Config::load(config, &Environment::process())?;
    service::runtime(1)?.block_on(run::inspect(&config, &source))?;
    service::out::line(format_args!("{}: ok", source.file().display()))
}

/// Asks the running listener how it is and prints the answer.
///
/// # Errors
/// [`Failure::Config`], or [`Failure::Runtime`] when nobody answers.
pub fn status(args: &StatusArgs) -> Result<(), Failure> {
    let (config, _) = Config::load(&args.config, &Environment::process())?;
    service::status::status_command(&config.status, args.json)
}

/// More threads than this do not help: the archive's owner is one.
const MAX_THREADS: usize = 4;
