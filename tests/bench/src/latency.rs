//! How long a line takes from the worker's file to the master's disk, at a steady rate.
//!
//! A writer appends what is due every millisecond and notes the time. What stands is the offset that the forwarder knows
//! to be acknowledged: the listener acknowledges after its fsyncs and its index, never before. The forwarder's status is
//! asked for it every 2 ms, so what is measured is at most that much too long, and never too short.

use std::fs::File;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use swarm::until;

use crate::args::Bench;
use crate::lines;
use crate::ours::Ours;
use crate::pipeline::Pipeline as _;
use crate::report::Latency;
use crate::stage::Stage;
use crate::usage::Usage;

/// Measures it with our pair.
///
/// # Errors
/// A program ends, or falls behind for long.
pub(crate) fn measure(stage: &Stage, bench: &Bench) -> anyhow::Result<Latency> {
    let turn = stage.turn("latency")?;
    let ours = Ours::new()?;
    let (mut receiver, port) = ours.receive(&turn)?;
    let path = turn.dir.join("live.log");
    let file = File::create(&path).context("create the worker's file")?;
    let mut sender = ours.forward(&turn, port, &path)?;
    until(
        "the forwarder is connected",
        Duration::from_secs(20),
        || {
            sender.check_alive()?;
            Ok(ours.stream(&turn)?.filter(|stream| stream.connected))
        },
    )?;
    let before = (Usage::of(sender.pid())?, Usage::of(receiver.pid())?);
    let (rate, time) = (bench.rate, Duration::from_secs(bench.seconds) + WARM_UP);
    let writer = thread::Builder::new()
        .name("writer".to_owned())
        .spawn(move || write(file, rate, time))
        .context("start the writer")?;
    let mut samples = Vec::new();
    let deadline = Instant::now() + time + MAX_BEHIND;
    let mut end = None;
    let mut writer = Some(writer);
    let mut written = Vec::new();
    while end.is_none_or(|end| samples.last().is_none_or(|(_, stands)| *stands < end)) {
        let standing = ours
            .stream(&turn)?
            .context("the forwarder does not answer")?;
        let now = Instant::now();
        if samples
            .last()
            .is_none_or(|(_, stands)| *stands < standing.acknowledged)
        {
            samples.push((now, standing.acknowledged));
        }
        if now > deadline {
            bail!(
                "{} bytes stand {} s after the last was written",
                standing.acknowledged,
                MAX_BEHIND.as_secs()
            );
        }
        stage.check_going()?;
        sender.check_alive()?;
        receiver.check_alive()?;
        if let Some(done) = writer.take_if(|writer| writer.is_finished()) {
            written = done
                .join()
                .map_err(|_| anyhow::format_err!("the writer died"))??;
            end = written.last().map(|chunk: &Chunk| chunk.end);
        }
        thread::park_timeout(LOOK_AGAIN);
    }
    let lines = written.iter().map(|chunk| chunk.lines).sum::<u64>();
    let used = (
        Usage::of(sender.pid())?.since(before.0),
        Usage::of(receiver.pid())?.since(before.1),
    );
    let counted = written.iter().filter(|chunk| chunk.since_start >= WARM_UP);
    let mut waits = delays(counted, &samples);
    waits.sort_unstable();
    Ok(Latency {
        rate,
        lines,
        p50: quantile(&waits, 0.50),
        p99: quantile(&waits, 0.99),
        max: quantile(&waits, 1.0),
        sender_cpu: used.0.cpu.as_secs_f64() / time.as_secs_f64(),
        receiver_cpu: used.1.cpu.as_secs_f64() / time.as_secs_f64(),
    })
}

/// Lines that were written together.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) at: Instant,
    pub(crate) since_start: Duration,
    /// Offset behind them.
    pub(crate) end: u64,
    pub(crate) lines: u64,
}

/// Appends at `rate` lines a second, whatever the others do.
fn write(mut file: File, rate: u64, time: Duration) -> anyhow::Result<Vec<Chunk>> {
    let start = Instant::now();
    let (mut chunks, mut number, mut end, mut buffer) = (Vec::new(), 0, 0, Vec::new());
    loop {
        let elapsed = start.elapsed();
        let due = (elapsed.min(time).as_micros() as u64).saturating_mul(rate) / 1_000_000;
        let lines = due.saturating_sub(number);
        buffer.clear();
        for number in number..number + lines {
            lines::write(number, &mut buffer)?;
        }
        number += lines;
        if lines > 0 {
            file.write_all(&buffer)
                .context("append to the worker's file")?;
            end += buffer.len() as u64;
            chunks.push(Chunk {
                at: Instant::now(),
                since_start: elapsed,
                end,
                lines,
            });
        }
        if elapsed >= time {
            return Ok(chunks);
        }
        thread::park_timeout(TICK);
    }
}

/// The wait of each line until a sample shows it standing, in microseconds.
pub(crate) fn delays<'a>(
    chunks: impl Iterator<Item = &'a Chunk>,
    samples: &[(Instant, u64)],
) -> Vec<u64> {
    let mut waits = Vec::new();
    for chunk in chunks {
        let first = samples.partition_point(|(_, stands)| *stands < chunk.end);
        let Some((seen, _)) = samples.get(first) else {
            continue;
        };
        let wait = seen.saturating_duration_since(chunk.at).as_micros() as u64;
        waits.extend(std::iter::repeat_n(
            wait,
            usize::try_from(chunk.lines).unwrap_or(0),
        ));
    }
    waits
}

/// The smallest value that so many of the (sorted) values do not exceed, as milliseconds.
pub(crate) fn quantile(sorted: &[u64], part: f64) -> f64 {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    let value = sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0);
    value as f64 / 1000.0
}

/// Not counted: the first connection, the first segment, the first pages.
const WARM_UP: Duration = Duration::from_secs(2);
/// The longest the rest may take after the last line was written.
const MAX_BEHIND: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(2);
const TICK: Duration = Duration::from_millis(1);
