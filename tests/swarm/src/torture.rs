//! Torture: writers, a collector, an audit proxy, a forwarder, a network of ours and a listener, all real processes on
//! real files, of which any is killed at any moment, while files are rotated, connections cut and disks filled; at the
//! end every line must be where it belongs, once, in order, at each place on its way. Audit records have no
//! acknowledgement: of those that were on their way into a killed proxy, each is there or told to be missing.
//!
//! What happens is drawn from a seed. Threads and processes race, so the same seed gives the same faults, not the same
//! moments.

mod disk;
mod docker;
mod faults;
mod judge;
mod rotator;
mod scribe;
mod setting;
mod tally;
mod trial;
mod voice;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rand::rngs::SmallRng;

use crate::archived;
use crate::audit::EPILOGUE;
use crate::audit::client::Client;
use crate::demo::say;
use crate::house::Program;
use crate::programs::Programs;
use crate::proxy::Proxy;
use crate::wait::until;
use disk::Disk;
pub use faults::Kind;
use rotator::Rotator;
use scribe::{OwnLog, Scribe};
use tally::Tally;
use trial::Outcome;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Torture {
    /// How many processes to kill.
    pub kills: u64,
    /// What everything random is drawn from.
    pub seed: u64,
    /// How many lines to write while that goes on.
    pub lines: u64,
    /// Where to work; else in a folder of its own, which is removed after success.
    pub dir: Option<PathBuf>,
    /// What shall not go wrong, to find out what it takes.
    pub without: Vec<Kind>,
}

/// Containers that write; beside them one program writes a log of its own.
const CONTAINERS: usize = 4;
/// Clients that write audit records.
const CLIENTS: usize = 3;
/// They write one for so many lines of the others.
const LINES_PER_RECORD: u64 = 8;
/// The worker's name.
const WORKER: &str = "torture";
/// Its streams: the collector's `.log`, the audit proxy's, and a program's own.
const STREAMS: [&str; 3] = ["decky", "audit", "app"];
/// Longest time in which nothing moves before the rest counts as lost: longer than any wait of the protocol.
const STANDSTILL: Duration = Duration::from_secs(90);
/// Uncommitted octets of an archive may be cut at its next start: a commit window, generously.
const WINDOW: u64 = 16 << 20;

/// Everything that runs, and where it writes. Programs go before the disks that they write on.
struct Swarm {
    random: SmallRng,
    lines: u64,
    without: Vec<Kind>,
    collector: Program,
    audit_proxy: Program,
    forwarder: Program,
    listener: Program,
    proxy: Proxy,
    _docker: docker::Daemon,
    scribes: Vec<Scribe>,
    own: OwnLog,
    clients: Vec<Client>,
    logs: Logs,
    data: PathBuf,
    worker_disk: Disk,
    master_disk: Disk,
    tally: Tally,
}

/// Octets of each stream at its source and in the archive, in the merged `.log`, and what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sizes {
    streams: [(u64, u64); 3],
    merged: u64,
    lines: u64,
    records: u64,
}

/// What is rotated.
struct Logs {
    /// The collector's `.log` and `.json`.
    decky: Rotator,
    json: Rotator,
    /// The audit proxy's.
    audit: Rotator,
    audit_json: Rotator,
    /// The program's own log.
    app: Rotator,
    /// The merged outputs.
    merged_log: Rotator,
    merged_json: Rotator,
}

/// Tortures a swarm; whether nothing was lost, repeated, reordered or left out.
///
/// # Errors
/// A program ends by itself or can't be started; a file can't be read.
pub fn run(torture: &Torture) -> anyhow::Result<bool> {
    let programs = Programs::build()?;
    let dir = match &torture.dir {
        Some(dir) => dir.clone(),
        None => tempfile::Builder::new()
            .prefix("logferry-torture-")
            .tempdir()?
            .keep(),
    };
    fs::create_dir_all(&dir)?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    ctrlc::set_handler(move || stopped.store(true, Ordering::Relaxed))?;
    let Torture {
        kills, seed, lines, ..
    } = *torture;
    say(&format!(
        "seed {seed}, {kills} kills, {lines} lines, in {}",
        dir.display()
    ));
    let result = Swarm::build(&programs, &dir, torture).and_then(|mut swarm| {
        let result = swarm.torture(kills, &stop).and_then(|()| swarm.judge());
        if result.is_err() {
            swarm.say_last_words();
        }
        let clean = result.as_ref().is_ok_and(Outcome::is_clean);
        (swarm.worker_disk.kept, swarm.master_disk.kept) = (!clean, !clean);
        result
    });
    match result {
        Ok(outcome) if outcome.is_clean() => {
            if torture.dir.is_none() {
                fs::remove_dir_all(&dir)?;
            }
            say(&outcome.line(seed));
            Ok(true)
        }
        result => {
            say(&format!(
                "kept in {}; its disks are the .img there",
                dir.display()
            ));
            say(&result
                .with_context(|| format!("torture with seed {seed}"))?
                .line(seed));
            Ok(false)
        }
    }
}

impl Swarm {
    fn torture(&mut self, kills: u64, stop: &AtomicBool) -> anyhow::Result<()> {
        let begun = Instant::now();
        self.start_all()?;
        self.begin(kills)?;
        let mut shown = 0;
        while self.kills() < kills {
            anyhow::ensure!(!stop.load(Ordering::Relaxed), "stopped by a signal");
            self.allow(self.lines * (self.kills() + 1) / (kills + 1));
            self.step(kills)?;
            let tenth = 10 * self.kills() / kills;
            if tenth > shown {
                shown = tenth;
                say(&self.row(begun));
            }
        }
        self.start_all()?;
        self.allow(self.lines);
        // What comes after the last kill tells what it cost.
        for client in &self.clients {
            client.allow(client.quota() + EPILOGUE);
        }
        self.settle()?;
        say(&self.row(begun));
        say(&self.growth());
        say(&format!("faults: {}", self.tally));
        Ok(())
    }

    fn start_all(&mut self) -> anyhow::Result<()> {
        for program in self.programs() {
            program.start()?;
        }
        Ok(())
    }

    /// Waits until all streams have begun to arrive. A file that is rotated away before the forwarder has first stored
    /// what it follows is none of its stream: a new stream begins with its live file.
    fn begin(&mut self, kills: u64) -> anyhow::Result<()> {
        self.allow(self.lines / (kills + 1));
        until("all streams begin to arrive", STANDSTILL, || {
            let arrive = STREAMS.iter().all(|stream| self.archived(stream) > 0);
            Ok(arrive.then_some(()))
        })
    }

    /// Lets the writers write up to so many lines together.
    fn allow(&self, lines: u64) {
        for scribe in &self.scribes {
            scribe.allow(lines / self.scribes.len() as u64);
        }
        let records = lines / LINES_PER_RECORD / CLIENTS as u64;
        for client in &self.clients {
            client.allow(u32::try_from(records).unwrap_or(u32::MAX / 2));
        }
    }

    /// Waits until everything that was written has arrived everywhere, or nothing moves any more.
    fn settle(&mut self) -> anyhow::Result<()> {
        let mut seen = None;
        let mut moved = Instant::now();
        while moved.elapsed() < STANDSTILL {
            for program in self.programs() {
                program.check_alive()?;
                program.measure();
            }
            let now = self.sizes();
            if seen != Some(now) {
                seen = Some(now);
                moved = Instant::now();
            } else if self.arrived(&now)? {
                return Ok(());
            }
            std::thread::park_timeout(Duration::from_millis(200));
        }
        say(&format!(
            "nothing has moved for {} s: {:?}",
            STANDSTILL.as_secs(),
            self.sizes()
        ));
        Ok(())
    }

    /// How far everything is.
    fn sizes(&self) -> Sizes {
        let of = |stream: &str, source: &Rotator| (source.total(), self.archived(stream));
        let [decky, audit, app] = STREAMS;
        Sizes {
            streams: [
                of(decky, &self.logs.decky),
                of(audit, &self.logs.audit),
                of(app, &self.logs.app),
            ],
            merged: self.logs.merged_log.total(),
            lines: self.scribes.iter().map(Scribe::written).sum(),
            records: self.clients.iter().map(|c| u64::from(c.written())).sum(),
        }
    }

    fn arrived(&self, sizes: &Sizes) -> anyhow::Result<bool> {
        let written =
            self.scribes.iter().all(Scribe::idle) && self.clients.iter().all(Client::idle);
        let sources: u64 = sizes.streams.iter().map(|(source, _)| source).sum();
        let carried = sizes
            .streams
            .iter()
            .all(|(source, archived)| source == archived);
        if !(written && carried && sizes.merged == sources) {
            return Ok(false);
        }
        // All of now's connections were made to the proxy of now.
        let current: u64 = self.clients.iter().map(|c| u64::from(c.current())).sum();
        if !self
            .audit_proxy
            .status()
            .is_ok_and(|status| status["records"] == current)
        {
            return Ok(false);
        }
        let Ok(status) = self.collector.status() else {
            return Ok(false);
        };
        let containers = status["containers"].as_array().cloned().unwrap_or_default();
        let written = containers
            .iter()
            .filter_map(|c| c["books"]["written"].as_u64());
        Ok(written.sum::<u64>() == self.kept())
    }

    /// How many of the containers' lines belong into the `.log`.
    fn kept(&self) -> u64 {
        let containers = self.scribes.iter().filter(|s| s.voice.container);
        let kept = |scribe: &Scribe| {
            let voice = &scribe.voice;
            let kept = (0..scribe.written()).filter(|n| voice.kept(&voice.line(*n)));
            kept.count() as u64
        };
        containers.map(kept).sum()
    }

    /// Octets of a stream in the archive.
    fn archived(&self, stream: &str) -> u64 {
        archived::size(&self.data, WORKER, stream)
    }

    fn programs(&mut self) -> [&mut Program; 4] {
        let (collector, audit) = (&mut self.collector, &mut self.audit_proxy);
        [collector, audit, &mut self.forwarder, &mut self.listener]
    }

    fn all(&self) -> [&Program; 4] {
        let (collector, audit) = (&self.collector, &self.audit_proxy);
        [collector, audit, &self.forwarder, &self.listener]
    }

    fn kills(&self) -> u64 {
        self.all().iter().map(|program| program.kills).sum()
    }

    fn row(&self, begun: Instant) -> String {
        let Sizes {
            lines: written,
            records,
            ..
        } = self.sizes();
        format!(
            "{:>5} s  {} kills  {written} lines  {records} records  {}",
            begun.elapsed().as_secs(),
            self.kills(),
            self.memory()
        )
    }

    fn memory(&self) -> String {
        let one = |program: &Program| format!("{} {} KiB", program.name, program.peak_kib);
        format!("peak resident: {}", self.all().map(one).join(", "))
    }

    /// Whether memory grows with a run: what each program had in its first and in its last quarter.
    fn growth(&self) -> String {
        let one = |program: &Program| {
            let [(first, first_most), (last, last_most)] = program.quarters();
            let name = program.name;
            format!("{name} {first} -> {last} KiB (most {first_most} -> {last_most})")
        };
        let all = self.all().map(one).join(", ");
        format!("resident in the median of the first -> last quarter: {all}")
    }

    fn say_last_words(&mut self) {
        for program in self.programs() {
            say(&format!(
                "{} said last:\n{}",
                program.name,
                program.last_words()
            ));
        }
    }
}
