//! The way of audit records, end to end: clients that speak as boundary's do, the audit proxy, a forwarder with the
//! stream `audit`, and a listener; with the proxy killed again and again, or not at all, or with the master away.

pub(crate) mod client;
mod frame;
pub(crate) mod hearing;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde_json::Value;

use crate::archived;
use crate::demo::say;
use crate::house::{Program, enrol};
use crate::metrics::Metrics;
use crate::peers::free_port;
use crate::programs::Programs;
use crate::verdict::Verdict;
use crate::wait::until;
use client::{Client, Connection};
use hearing::{Hearing, Loss};

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Audit {
    /// Clients, each with one connection at a time.
    pub clients: usize,
    /// Records of each.
    pub records: u32,
    /// How often the proxy is killed meanwhile.
    pub kills: u32,
    /// What everything random is drawn from.
    pub seed: u64,
    /// Whether the master comes only when everything has been written.
    pub late_master: bool,
}

/// What came out.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// Records that clients have written, and those that stand, each once.
    pub written: u64,
    /// Those that stand.
    pub stand: u64,
    /// Those that never came, at the ends of connections; all of them told as gaps.
    pub missing: u64,
    /// How often the proxy was killed.
    pub kills: u32,
    /// What is wrong, in words.
    pub problems: Vec<String>,
}

const WORKER: &str = "audited";
const STREAM: &str = "audit";
/// What each client writes after the last kill: the proxy tells a gap when 256 newer numbers have come.
pub(crate) const EPILOGUE: u32 = 600;
/// Longest wait for what must come; a bound against hanging, not a measure.
const ARRIVAL: Duration = Duration::from_secs(300);

/// Runs it in `dir`.
///
/// # Errors
/// A program ends by itself, can't be started, or what must come does not.
pub fn run(audit: &Audit, dir: &Path) -> anyhow::Result<Heard> {
    let programs = Programs::build()?;
    let mut scene = Scene::set(&programs, dir, audit)?;
    scene.play(audit)?;
    scene.judge(audit)
}

/// Runs it for a person who watches, in `dir` or a folder that goes after success; whether all was as it should be.
///
/// # Errors
/// Those of [`run`].
pub fn show(audit: &Audit, dir: Option<PathBuf>) -> anyhow::Result<bool> {
    let builder = || tempfile::Builder::new().prefix("logferry-audit-").tempdir();
    let kept = dir.is_some();
    let dir = match dir {
        Some(dir) => dir,
        None => builder()?.keep(),
    };
    say(&format!("seed {}, in {}", audit.seed, dir.display()));
    let heard = run(audit, &dir)?;
    let clean = heard.problems.is_empty();
    if clean && !kept {
        fs::remove_dir_all(&dir)?;
    }
    say(if clean {
        "all is as promised"
    } else {
        "NOT as promised"
    });
    Ok(clean)
}

struct Scene {
    proxy: Program,
    forwarder: Program,
    listener: Program,
    clients: Vec<Client>,
    killed: Vec<Instant>,
    log: PathBuf,
    state: PathBuf,
    data: PathBuf,
    merged: PathBuf,
}

impl Scene {
    fn set(programs: &Programs, dir: &Path, audit: &Audit) -> anyhow::Result<Scene> {
        let (data, identity) = (dir.join("data"), dir.join("identity"));
        enrol(programs, &data, &identity, WORKER)?;
        let addr = format!("127.0.0.1:{}", free_port()?);
        let (log, merged) = (dir.join("log/audit.log"), dir.join("master.log"));
        let (socket, state) = (dir.join("audit.sock"), dir.join("audit-state"));
        let listener =
            format!("listen = \"{addr}\"\ndata = {data:?}\n[merged]\nlog = {merged:?}\n");
        let forwarder = format!(
            "masters = [{addr:?}]\nidentity = {identity:?}\nstate = {:?}\ndelivery = \"acknowledged\"\n\
             [[stream]]\nname = {STREAM:?}\npath = {log:?}\n",
            dir.join("forwarder-state")
        );
        let proxy = format!("socket = {socket:?}\nlog = {log:?}\nstate = {state:?}\n");
        let mut random = SmallRng::seed_from_u64(audit.seed);
        let clients = (0..audit.clients).map(|n| Client::start(n, &socket, random.random()));
        Ok(Scene {
            proxy: Program::new(programs, "audit-proxy", dir, &proxy)?,
            forwarder: Program::new(programs, "forwarder", dir, &forwarder)?,
            listener: Program::new(programs, "listener", dir, &listener)?,
            clients: clients.collect(),
            killed: Vec::new(),
            log,
            state,
            data,
            merged,
        })
    }

    /// Everything is written, the proxy killed meanwhile, and has arrived.
    fn play(&mut self, audit: &Audit) -> anyhow::Result<()> {
        let mut random = SmallRng::seed_from_u64(audit.seed);
        self.proxy.start()?;
        self.forwarder.start()?;
        if !audit.late_master {
            self.listener.start()?;
        }
        let body = audit.records.saturating_sub(EPILOGUE);
        self.allow(body);
        let size = |log: &Path| fs::metadata(log).map_or(0, |m| m.len());
        let mut before = 0;
        for kill in 1..=audit.kills {
            let at = u64::from(body) * audit.clients as u64 * u64::from(kill)
                / u64::from(audit.kills + 1);
            until("records that are written", ARRIVAL, || {
                self.proxy.check_alive()?;
                // Not before it is at work.
                let works = size(&self.log) > before;
                Ok((works && self.written() >= at).then_some(()))
            })?;
            // The moment is the subject, not a synchronisation.
            std::thread::park_timeout(Duration::from_millis(random.random_range(0..60)));
            self.proxy.kill()?;
            self.killed.push(Instant::now());
            before = size(&self.log);
            self.proxy.start()?;
        }
        self.allow(audit.records);
        let mut programs = [&mut self.proxy, &mut self.forwarder];
        let clients = &self.clients;
        until("all records are written and taken in", ARRIVAL, || {
            for program in &mut programs {
                program.check_alive()?;
            }
            let last: u64 = clients.iter().map(|c| u64::from(c.current())).sum();
            let idle = clients.iter().all(Client::idle);
            let taken = idle && programs[0].status().is_ok_and(|s| s["records"] == last);
            Ok(taken.then_some(()))
        })?;
        self.listener.start()?;
        until("the archive has all of audit.log", ARRIVAL, || {
            let (log, merged) = (size(&self.log), size(&self.merged));
            Ok((self.archived() == log && merged == log).then_some(()))
        })
    }

    /// Stops everything and compares.
    fn judge(&mut self, audit: &Audit) -> anyhow::Result<Heard> {
        let metrics = Metrics::ask(&self.state.join("status.sock"))?;
        let counted = metrics.sum("logferry_audit_proxy_sequence_missing_records_total", &[]);
        let duplicates = metrics.sum("logferry_audit_proxy_sequence_duplicates_total", &[]);
        let dropped = metrics.sum("agent_boundary_log_proxy_logs_dropped_total", &[]);
        let written = self.written();
        let sent = finish(&mut self.clients)?;
        self.proxy.stop()?;
        let gaps = gaps(&self.proxy)?;
        let mut hearing = Hearing::new(self.clients.iter().map(|c| c.session.clone()));
        let json = self.log.with_extension("json");
        hearing.files(open(&self.log)?, open(&json)?)?;
        let stand = hearing.matched;
        let (mut verdict, losses) = hearing.finish(&sent, &gaps);
        let missing: u64 = losses.iter().map(|loss| u64::from(loss.records)).sum();
        // A kill takes the counters with it: those of now are about the last life, in which at least the last kill's
        // cost was found out.
        let before = self.killed.len().checked_sub(2).map(|at| self.killed[at]);
        let of_last = losses
            .iter()
            .filter(|loss| before.is_none_or(|before| loss.since > before));
        let least: u64 = of_last.map(|loss| u64::from(loss.records)).sum();
        if !(least as f64..=missing as f64).contains(&counted) || duplicates + dropped != 0.0 {
            verdict.foreign += 1;
            verdict.problem(format!(
                "missing {missing}, {least} of the last kill; counted {counted}, {duplicates} twice, {dropped} dropped"
            ));
        }
        self.check(&mut verdict, missing);
        for program in [&mut self.forwarder, &mut self.listener] {
            program.stop()?;
        }
        self.report(audit, written, stand, &losses);
        let clean = verdict.is_clean();
        for what in &verdict.problems {
            say(what);
        }
        anyhow::ensure!(clean || !verdict.problems.is_empty(), "{verdict:?}");
        Ok(Heard {
            written,
            stand,
            missing,
            kills: audit.kills,
            problems: verdict.problems,
        })
    }

    /// The archive and the merged `.log` are `audit.log`, and the master misses nothing.
    fn check(&self, verdict: &mut Verdict, missing: u64) {
        let mut wrong = |what: String| {
            verdict.foreign += 1;
            verdict.problem(what);
        };
        let log = fs::read(&self.log).unwrap_or_default();
        let runs = archived::runs(&self.data, WORKER, STREAM).unwrap_or_default();
        let segments = runs.iter().flat_map(|run| &run.segments);
        let archive: Vec<u8> = segments
            .flat_map(|path| fs::read(path).unwrap_or_default())
            .collect();
        if archive != log {
            wrong("the archive is not audit.log".to_owned());
        }
        if fs::read(&self.merged).unwrap_or_default() != log {
            wrong("the merged .log is not audit.log".to_owned());
        }
        let data = self.data.to_string_lossy();
        for command in [&["verify", "--data", &data][..], &["gaps", "--data", &data]] {
            match self.listener.bare(command) {
                Ok(said) if command[0] == "verify" || said.is_empty() => {}
                Ok(said) => wrong(format!("the master misses something: {said}")),
                Err(error) => wrong(format!("{error:#}")),
            }
        }
        if self.killed.is_empty() && missing > 0 {
            wrong(format!("{missing} records are missing without a kill"));
        }
    }

    fn report(&self, audit: &Audit, written: u64, stand: u64, losses: &[Loss]) {
        let missing: u64 = losses.iter().map(|loss| u64::from(loss.records)).sum();
        say(&format!(
            "{} clients wrote {written} records, {stand} stand, {missing} at the ends of {} connections are told as missing",
            audit.clients,
            losses.len()
        ));
        // How long before its kill the oldest record of each loss was written.
        let mut ages: Vec<(Duration, u32)> = losses
            .iter()
            .filter_map(|loss| {
                let kill = self.killed.iter().find(|kill| **kill >= loss.since)?;
                Some((*kill - loss.since, loss.records))
            })
            .collect();
        ages.sort();
        if let (Some(most), Some(median)) = (ages.last(), ages.get(ages.len() / 2)) {
            let records = ages.iter().map(|(_, records)| *records).max().unwrap_or(0);
            say(&format!(
                "{} kills: the oldest record of a loss was written {:?} before the kill at most, {:?} in the median; \
                 at most {records} of one connection",
                self.killed.len(),
                most.0,
                median.0
            ));
        }
    }

    fn allow(&self, records: u32) {
        for client in &self.clients {
            client.allow(records);
        }
    }

    fn written(&self) -> u64 {
        self.clients.iter().map(|c| u64::from(c.written())).sum()
    }

    /// Octets of the stream in the archive.
    fn archived(&self) -> u64 {
        archived::size(&self.data, WORKER, STREAM)
    }
}

/// Ends clients; what each wrote to each connection.
pub(crate) fn finish(clients: &mut [Client]) -> anyhow::Result<Vec<Vec<Connection>>> {
    clients.iter_mut().map(Client::finish).collect()
}

/// The gaps that the proxy's ledger has.
pub(crate) fn gaps(proxy: &Program) -> anyhow::Result<Vec<Value>> {
    let text = proxy.command(&["gaps", "--json"])?;
    text.lines()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect()
}

fn open(path: &Path) -> anyhow::Result<File> {
    File::open(path).with_context(|| format!("open {}", path.display()))
}
