//! Torture: writers, a collector, a forwarder, a network of ours and a listener, all real processes on real files, of
//! which any is killed at any moment, while files are rotated, connections cut and disks filled; at the end every line
//! must be where it belongs, once, in order, at each place on its way.
//!
//! What happens is drawn from a seed. Threads and processes race, so the same seed gives the same faults, not the same
//! moments.

mod disk;
mod docker;
mod faults;
mod house;
mod judge;
mod proxy;
mod rotator;
mod scribe;
mod trial;
mod voice;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use crate::archived;
use crate::demo::say;
use crate::peers::free_port;
use crate::programs::Programs;
use crate::wait::until;
use disk::Disk;
use docker::Log;
pub use faults::Kind;
use house::Program;
use proxy::Proxy;
use rotator::Rotator;
use scribe::{OwnLog, Scribe};
use trial::Outcome;
use voice::Voice;

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
/// The worker's name.
const WORKER: &str = "torture";
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
    forwarder: Program,
    listener: Program,
    proxy: Proxy,
    _docker: docker::Daemon,
    scribes: Vec<Scribe>,
    own: OwnLog,
    logs: Logs,
    data: PathBuf,
    worker_disk: Disk,
    master_disk: Disk,
    tally: faults::Tally,
}

/// What is rotated.
struct Logs {
    /// The collector's `.log` and `.json`.
    decky: Rotator,
    json: Rotator,
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
    fn build(programs: &Programs, dir: &Path, torture: &Torture) -> anyhow::Result<Swarm> {
        let mut random = SmallRng::seed_from_u64(torture.seed);
        let worker_disk = Disk::mount(&dir.join("worker-disk"), torture.lines * 900 + (512 << 20))?;
        let master_disk = Disk::mount(&dir.join("master-disk"), torture.lines * 400 + (512 << 20))?;
        if !worker_disk.can_fill() || !master_disk.can_fill() {
            say("no disk is ever full in this run: only root can mount small ones");
        }
        let merged = dir.join("merged");
        let (log_dir, app_dir) = (worker_disk.dir().join("log"), dir.join("app"));
        for dir in [&merged, &log_dir, &app_dir] {
            fs::create_dir_all(dir)?;
        }
        let (decky, app) = (log_dir.join("decky.log"), app_dir.join("app.log"));
        let rotator = |live: &Path| {
            Rotator::new(
                live,
                &live
                    .with_file_name("kept")
                    .join(live.file_name().unwrap_or_default()),
            )
        };
        let logs = Logs {
            decky: rotator(&decky)?,
            json: rotator(&decky.with_extension("json"))?,
            app: rotator(&app)?,
            merged_log: rotator(&merged.join("master.log"))?,
            merged_json: rotator(&merged.join("master.json"))?,
        };

        let proxy = Proxy::start()?;
        let addr = format!("127.0.0.1:{}", free_port()?);
        proxy.lead_to(&addr)?;
        let data = master_disk.dir().join("data");
        let identity = dir.join("identity");
        enrol(programs, &data, &identity)?;
        let listener = format!(
            "listen = \"{addr}\"\ndata = {data:?}\n[segment]\nmax_bytes = \"8MiB\"\n[merged]\nlog = {:?}\njson = {:?}\n",
            merged.join("master.log"),
            merged.join("master.json")
        );
        let forwarder = format!(
            "masters = [{:?}]\nidentity = {identity:?}\nstate = {:?}\ndelivery = \"acknowledged\"\n\
             [[stream]]\nname = \"decky\"\npath = {decky:?}\n[[stream]]\nname = \"app\"\npath = {app:?}\n",
            proxy.addr(),
            dir.join("forwarder-state")
        );
        let socket = dir.join("docker.sock");
        let collector = format!(
            "log = {decky:?}\nstate = {:?}\ndocker = \"unix://{}\"\nread = \"file\"\nlabels = [{:?}]\n[dedupe]\nwindow = \"0s\"\n",
            worker_disk.dir().join("collector-state"),
            socket.display(),
            docker::LABEL
        );

        let containers = dir.join("containers");
        let names: Vec<String> = (0..CONTAINERS).map(|n| format!("torture-{n}")).collect();
        let own = OwnLog {
            path: app.clone(),
            writing: Default::default(),
        };
        let mut scribes = Vec::new();
        for (n, name) in names.iter().enumerate() {
            let log = Log::create(
                &containers,
                &docker::id(n),
                random.random_range(1 << 20..16 << 20),
            )?;
            scribes.push(Scribe::container(
                Voice::new(name, true, random.random()),
                log,
                random.random(),
            ));
        }
        let voice = Voice::new(&format!("torture-{CONTAINERS}"), false, random.random());
        scribes.push(Scribe::program(voice, own.clone(), random.random()));
        Ok(Swarm {
            lines: torture.lines,
            without: torture.without.clone(),
            collector: Program::new(programs, "collector", dir, &collector)?,
            forwarder: Program::new(programs, "forwarder", dir, &forwarder)?,
            listener: Program::new(programs, "listener", dir, &listener)?,
            proxy,
            _docker: docker::Daemon::start(&socket, &containers, &names)?,
            scribes,
            own,
            logs,
            data,
            worker_disk,
            master_disk,
            tally: faults::Tally::default(),
            random,
        })
    }

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
        self.allow(self.lines);
        self.start_all()?;
        self.settle()?;
        say(&self.row(begun));
        say(&format!("faults: {}", self.tally));
        Ok(())
    }

    fn start_all(&mut self) -> anyhow::Result<()> {
        for program in self.programs() {
            program.start()?;
        }
        Ok(())
    }

    /// Waits until both streams have begun to arrive. A file that is rotated away before the forwarder has first stored
    /// what it follows is none of its stream: a new stream begins with its live file.
    fn begin(&mut self, kills: u64) -> anyhow::Result<()> {
        self.allow(self.lines / (kills + 1));
        until("both streams begin to arrive", STANDSTILL, || {
            let arrive = self.archived("decky")? > 0 && self.archived("app")? > 0;
            Ok(arrive.then_some(()))
        })
    }

    /// Lets the writers write up to so many lines together.
    fn allow(&self, lines: u64) {
        for scribe in &self.scribes {
            scribe.allow(lines / self.scribes.len() as u64);
        }
    }

    /// Waits until everything that was written has arrived everywhere, or nothing moves any more.
    fn settle(&mut self) -> anyhow::Result<()> {
        let mut seen = Vec::new();
        let mut moved = Instant::now();
        while moved.elapsed() < STANDSTILL {
            for program in self.programs() {
                program.check_alive()?;
                program.measure();
            }
            let now = self.sizes()?;
            if now != seen {
                seen = now;
                moved = Instant::now();
            } else if self.arrived(&seen)? {
                return Ok(());
            }
            std::thread::park_timeout(Duration::from_millis(200));
        }
        say(&format!(
            "nothing has moved for {} s: {}",
            STANDSTILL.as_secs(),
            self.standing()
        ));
        Ok(())
    }

    /// Octets of the worker's `.log`, its archive, the program's log, its archive, and the merged `.log`.
    fn sizes(&self) -> anyhow::Result<Vec<u64>> {
        Ok(vec![
            self.logs.decky.total(),
            self.archived("decky")?,
            self.logs.app.total(),
            self.archived("app")?,
            self.logs.merged_log.total(),
            self.scribes.iter().map(Scribe::written).sum(),
        ])
    }

    fn arrived(&self, sizes: &[u64]) -> anyhow::Result<bool> {
        let written = self.scribes.iter().all(Scribe::idle);
        let carried =
            sizes[0] == sizes[1] && sizes[2] == sizes[3] && sizes[4] == sizes[0] + sizes[2];
        if !(written && carried) {
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
    fn archived(&self, stream: &str) -> anyhow::Result<u64> {
        let dir = self.data.join("archive").join(WORKER).join(stream);
        Ok(archived::segments_below(&dir)
            .iter()
            .map(|path| fs::metadata(path).map_or(0, |m| m.len()))
            .sum())
    }

    fn programs(&mut self) -> [&mut Program; 3] {
        [&mut self.collector, &mut self.forwarder, &mut self.listener]
    }

    fn kills(&self) -> u64 {
        self.collector.kills + self.forwarder.kills + self.listener.kills
    }

    fn row(&self, begun: Instant) -> String {
        let written: u64 = self.scribes.iter().map(Scribe::written).sum();
        format!(
            "{:>5} s  {} kills  {written} lines  {}",
            begun.elapsed().as_secs(),
            self.kills(),
            self.memory()
        )
    }

    fn memory(&self) -> String {
        let one = |program: &Program| format!("{} {} KiB", program.name, program.peak_kib);
        let all = [&self.collector, &self.forwarder, &self.listener].map(one);
        format!("peak resident: {}", all.join(", "))
    }

    fn standing(&self) -> String {
        let sizes = self.sizes().unwrap_or_default();
        format!(
            ".log {} archived {}, app {} archived {}, merged {}, lines {}",
            sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]
        )
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

/// CA, master and one worker.
fn enrol(programs: &Programs, data: &Path, identity: &Path) -> anyhow::Result<()> {
    let data = data.to_str().context("path is not UTF-8")?;
    let identity = identity.to_str().context("path is not UTF-8")?;
    programs.run(
        "logferry-listener",
        &["init", "--data", data, "--san", "127.0.0.1"],
    )?;
    programs.run(
        "logferry-listener",
        &["enroll", WORKER, "--data", data, "--out", identity],
    )?;
    Ok(())
}
