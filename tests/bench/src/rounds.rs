//! The run: rounds in which everyone has one turn, then the latency.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use swarm::Programs;

use crate::args::{Bench, LATENCY, NAMES};
use crate::copy::Copy;
use crate::intact;
use crate::latency;
use crate::ours::Ours;
use crate::pipeline::{Named, Pipeline, Queue};
use crate::report::{Report, Side, Transfer};
use crate::rsyslog::Rsyslog;
use crate::stage::Stage;
use crate::syslog_ng::SyslogNg;
use crate::usage::Usage;

/// Measures what the arguments ask for and prints it.
///
/// # Errors
/// Ours or the bare copy fail, or change a byte. That a peer is missing or fails is told, and the run goes on.
pub fn run(bench: &Bench) -> anyhow::Result<()> {
    let wanted = |name: &str| bench.only.is_empty() || bench.only.iter().any(|one| one == name);
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    ctrlc::set_handler(move || told.store(true, Ordering::Relaxed)).context("listen for Ctrl-C")?;
    let mut report = Report::new(bench.json);
    let pipelines = pipelines(bench, &wanted, &mut report)?;
    let stage = Stage::new(bench, Programs::build()?, stop)?;
    report.begin(bench, &stage)?;
    for round in 0..bench.rounds {
        let mut order: Vec<&Named> = pipelines.iter().collect();
        // Whoever is first in one round is last in the next, so that a drift of the machine hits both alike.
        if round % 2 == 1 {
            order.reverse();
        }
        for one in order {
            match transfer(one, &stage, round) {
                Ok(transfer) => report.transfer(transfer)?,
                Err(error) if ESSENTIAL.contains(&one.name) => {
                    return Err(error.context(one.name));
                }
                Err(error) => {
                    stage.check_going()?;
                    report.failed(one.name, round, &error)?;
                }
            }
        }
    }
    report.ratios()?;
    if wanted(LATENCY) {
        let found = latency::measure(&stage, bench).context(LATENCY)?;
        report.latency(&found)?;
    }
    report.verdict()
}

fn pipelines(
    bench: &Bench,
    wanted: &impl Fn(&str) -> bool,
    report: &mut Report,
) -> anyhow::Result<Vec<Named>> {
    let mut all = Vec::new();
    for name in NAMES.into_iter().filter(|name| wanted(name)) {
        let disk = name.ends_with("-disk");
        let found: Result<Box<dyn Pipeline>, String> = match name {
            "logferry" => Ok(Box::new(Ours::new()?)),
            "copy" => Ok(Box::new(Copy::new()?)),
            "rsyslog" | "rsyslog-disk" => Rsyslog::find(disk).map(|found| Box::new(found) as _),
            "syslog-ng" | "syslog-ng-disk" => {
                SyslogNg::find(&bench.syslog_ng, disk).map(|found| Box::new(found) as _)
            }
            _ => continue,
        };
        let queue = match name {
            _ if ESSENTIAL.contains(&name) => Queue::Source,
            _ if disk => Queue::Disk,
            _ => Queue::Memory,
        };
        match found {
            Ok(pipeline) => all.push(Named {
                name,
                queue,
                pipeline,
            }),
            Err(why) => report.skipped(name, &why)?,
        }
    }
    Ok(all)
}

/// One turn: receiver up, then the clock and the sender, until the last line stands.
fn transfer(one: &Named, stage: &Stage, round: u32) -> anyhow::Result<Transfer> {
    let Named {
        name,
        queue,
        pipeline,
    } = one;
    stage.check_going()?;
    let turn = stage.turn(&format!("{round}-{name}"))?;
    let (mut receiver, port) = pipeline.receive(&turn)?;
    let idle = Usage::of(receiver.pid())?;
    let start = Instant::now();
    let mut sender = pipeline.send(&turn, port)?;
    let mut first = None;
    let took = loop {
        let arrived = pipeline.arrived(&turn)?;
        if arrived >= stage.bytes && pipeline.is_done(&turn)? {
            break start.elapsed();
        }
        if arrived > 0 && first.is_none() {
            first = Some((start.elapsed(), arrived));
        }
        if start.elapsed() > stage.limit() {
            bail!(
                "{arrived} of {} bytes arrived in {} s",
                stage.bytes,
                stage.limit().as_secs()
            );
        }
        stage.check_going()?;
        receiver.check_alive()?;
        sender.check_alive()?;
        thread::park_timeout(LOOK_AGAIN);
    };
    // Work that is put off until after the last line counts as well.
    let settled = Instant::now() + SETTLE;
    while let Some(left) = settled.checked_duration_since(Instant::now()) {
        thread::park_timeout(left);
    }
    let side = |usage: Usage| Side {
        cpu_seconds_per_million_lines: usage.cpu.as_secs_f64() * 1e6 / stage.lines as f64,
        peak_kib: usage.peak_kib,
    };
    let sent = Usage::of(sender.pid())?;
    let received = Usage::of(receiver.pid())?.since(idle);
    sender.stop(STOP)?;
    receiver.stop(STOP)?;
    Ok(Transfer {
        name,
        queue: *queue,
        round,
        lines: stage.lines,
        bytes: stage.bytes,
        seconds: took.as_secs_f64(),
        flowing: first.map(|(at, arrived)| {
            let rest = stage.bytes.saturating_sub(arrived) as f64 / stage.bytes as f64;
            stage.lines as f64 * rest / took.saturating_sub(at).as_secs_f64()
        }),
        sender: side(sent),
        receiver: side(received),
        intact: intact::same(&stage.input, &pipeline.outputs(&turn)?)?,
    })
}

/// Those without which there is nothing to compare.
pub(crate) const ESSENTIAL: [&str; 2] = ["logferry", "copy"];
/// Between two looks at what has arrived; looking costs the ends nothing.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// How long CPU time is counted after the last line stands.
const SETTLE: Duration = Duration::from_millis(500);
/// The longest a program may take to stop; rsyslog's disk queue takes its time.
const STOP: Duration = Duration::from_secs(60);
