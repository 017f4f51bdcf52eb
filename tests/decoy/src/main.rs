//! The program: prints lines, waits if it is asked to, and ends at SIGTERM.

use std::{process::ExitCode, thread};

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let args = decoy::Args::parse();
    match start(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the program's last word")]
            {
                eprintln!("logferry-decoy: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Prints on a thread of its own: the first process of a container has no default for SIGTERM, so
/// somebody must wait for it.
fn start(args: decoy::Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (done, finished) = tokio::sync::oneshot::channel();
        thread::spawn(move || {
            let linger = args.linger;
            let result = decoy::run(&args);
            if result.is_err() || !linger {
                // Nobody waits for it any more if a signal came first.
                let _ = done.send(result);
            } else {
                thread::park();
            }
        });
        tokio::select! {
            result = finished => result.unwrap_or(Ok(())),
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
        }
    })
}
