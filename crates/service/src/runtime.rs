//! The async runtime and the signal that ends it.

use std::io;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

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

/// Waits for SIGTERM or SIGINT, from its first poll on. For ever if the system lets us listen for neither.
pub async fn stop_signal() {
    tokio::select! {
        () = one(SignalKind::terminate(), "SIGTERM") => {}
        () = one(SignalKind::interrupt(), "SIGINT") => {}
    }
}

async fn one(kind: SignalKind, name: &'static str) {
    match signal(kind) {
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
