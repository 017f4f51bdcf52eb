//! The async runtime and the signal that ends it.

use std::io;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Most threads that run blocking work (SQLite, fsync, directory scans) at a time.
const MAX_BLOCKING_THREADS: usize = 16;

/// Builds the program's runtime: on the calling thread for 0 or 1 threads, else with so many workers.
///
/// # Errors
/// The system refuses threads or descriptors.
pub fn runtime(threads: usize) -> io::Result<Runtime> {
    let mut builder = if threads > 1 {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(threads);
        builder
    } else {
        Builder::new_current_thread()
    };
    builder
        .enable_all()
        .thread_name("logferry")
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .build()
}

/// Listens for SIGTERM and SIGINT from now on, and gives what ends with the first of them; never if the system lets us
/// listen for neither. Call it before the program says that it is ready: until then a signal kills it.
///
/// # Panics
/// Outside a runtime.
pub fn stop_signal() -> impl Future<Output = ()> + Send {
    let terminate = signal(SignalKind::terminate());
    let interrupt = signal(SignalKind::interrupt());
    async {
        tokio::select! {
            () = one(terminate, "SIGTERM") => {}
            () = one(interrupt, "SIGINT") => {}
        }
    }
}

async fn one(signal: io::Result<Signal>, name: &'static str) {
    match signal {
        Ok(mut signal) => {
            signal.recv().await;
            tracing::info!(signal = name, "stopping");
        }
        Err(error) => {
            tracing::error!(signal = name, %error, "signal can't be handled");
            std::future::pending().await
        }
    }
}
