//! Prints the lines: in few large writes, or at a rate.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;

use crate::{Args, Decoy};

/// Prints what `args` ask for.
///
/// # Errors
/// The output can't be opened or takes no more.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut output = output(args)?;
    let mut noise = owned(io::stderr()).context("open standard error")?;
    let decoy = args.decoy();
    let end = if args.count == 0 {
        u64::MAX
    } else {
        args.start.saturating_add(args.count)
    };
    let clock = Instant::now();
    let (mut batch, mut shouts) = (Vec::with_capacity(2 * BATCH), Vec::new());
    let mut next = args.start;
    while next < end {
        let due = due(args.rate, clock.elapsed())
            .saturating_add(args.start)
            .min(end);
        if next >= due {
            thread::sleep(TICK);
            continue;
        }
        while next < due && batch.len() < BATCH {
            batch.extend_from_slice(&decoy.line(next));
            if args.stderr {
                shouts.extend_from_slice(&decoy.noise(next).unwrap_or_default());
            }
            next += 1;
        }
        if next == end && args.no_final_lf {
            batch.pop();
        }
        // Whole lines in each write, so that decoys that share a file don't tear each other's.
        output.write_all(&batch).context("write lines")?;
        noise.write_all(&shouts).context("write noise")?;
        batch.clear();
        shouts.clear();
    }
    Ok(())
}

/// How many lines are to be out by now.
fn due(rate: u64, elapsed: Duration) -> u64 {
    if rate == 0 {
        return u64::MAX;
    }
    let lines = u128::from(rate) * elapsed.as_millis() / 1000;
    u64::try_from(lines).unwrap_or(u64::MAX).saturating_add(1)
}

fn output(args: &Args) -> anyhow::Result<File> {
    match &args.out {
        Some(path) => File::options()
            .create(true)
            .append(true)
            .open(path)
            .with_context(|| format!("open {}", path.display())),
        None => owned(io::stdout()).context("open standard output"),
    }
}

/// The stream without the line buffer in front of it.
fn owned(stream: impl AsFd) -> io::Result<File> {
    Ok(File::from(stream.as_fd().try_clone_to_owned()?))
}

/// Octets of one write: what a pipe holds.
const BATCH: usize = 64 * 1024;

/// How long to wait for the next line at a rate; lines that fall due meanwhile go out together.
const TICK: Duration = Duration::from_millis(2);

impl Decoy {
    /// All that a run with these numbers prints on its output: for tests.
    #[must_use]
    pub fn output(&self, start: u64, count: u64) -> Vec<u8> {
        (start..start + count)
            .flat_map(|seq| self.line(seq))
            .collect()
    }
}
