//! What is printed: each measurement as it is made, then the ratios and what they are held against.

use std::collections::BTreeMap;

use anyhow::bail;
use serde_json::{Value, json};
use service::Failure;

use crate::args::Bench;
use crate::pipeline::Queue;
use crate::rounds::ESSENTIAL;
use crate::stage::Stage;

/// One turn's outcome.
#[derive(Debug, Clone)]
pub(crate) struct Transfer {
    pub(crate) name: &'static str,
    pub(crate) queue: Queue,
    pub(crate) round: u32,
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
    /// From the start of the sender's process until the last line stands.
    pub(crate) seconds: f64,
    /// Lines a second from the first bytes that were seen at the receiver on: without starting and connecting.
    pub(crate) flowing: Option<f64>,
    pub(crate) sender: Side,
    pub(crate) receiver: Side,
    pub(crate) intact: bool,
}

/// What one end used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Side {
    pub(crate) cpu_seconds_per_million_lines: f64,
    pub(crate) peak_kib: u64,
}

impl Transfer {
    pub(crate) fn lines_per_second(&self) -> f64 {
        self.lines as f64 / self.seconds
    }

    /// Of both ends.
    pub(crate) fn cpu(&self) -> f64 {
        self.sender.cpu_seconds_per_million_lines + self.receiver.cpu_seconds_per_million_lines
    }
}

/// What the latency run found; times in milliseconds, CPU as a part of one core.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) rate: u64,
    pub(crate) lines: u64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
    pub(crate) sender_cpu: f64,
    pub(crate) receiver_cpu: f64,
}

/// Ours against one other, over the rounds in which both had their turn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ratio {
    pub(crate) against: &'static str,
    pub(crate) queue: Queue,
    pub(crate) rounds: usize,
    /// Our lines a second by theirs: lowest, median, highest.
    pub(crate) speed: [f64; 3],
    /// The same of the time in which lines flow.
    pub(crate) flowing: [f64; 3],
    /// Their CPU time a line by ours.
    pub(crate) cpu: [f64; 3],
}

/// Prints, and remembers for the end.
#[derive(Debug)]
pub(crate) struct Report {
    json: bool,
    transfers: Vec<Transfer>,
    skipped: Vec<String>,
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            transfers: Vec::new(),
            skipped: Vec::new(),
        }
    }

    fn print(&self, value: &Value, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        let printed = match self.json {
            true => service::out::json(value),
            false => service::out::line(text()),
        };
        printed.map_err(closed)
    }

    pub(crate) fn begin(&self, bench: &Bench, stage: &Stage) -> anyhow::Result<()> {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or("unknown").to_owned();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let value = json!({
            "measurement": "machine", "cores": cores, "load": load, "lines": stage.lines, "bytes": stage.bytes,
            "rounds": bench.rounds,
        });
        self.print(&value, || {
            format!(
                "{} lines, {:.1} MB, {} rounds, {cores} cores, load {load}",
                stage.lines,
                stage.bytes as f64 / 1e6,
                bench.rounds
            )
        })
    }

    /// Someone can't take part.
    pub(crate) fn skipped(&mut self, name: &str, why: &str) -> anyhow::Result<()> {
        self.skipped.push(name.to_owned());
        let value = json!({ "measurement": "skipped", "pipeline": name, "why": why });
        self.print(&value, || format!("SKIPPED {name}: {why}"))
    }

    pub(crate) fn failed(
        &self,
        name: &str,
        round: u32,
        error: &anyhow::Error,
    ) -> anyhow::Result<()> {
        let why = format!("{error:#}");
        let value =
            json!({ "measurement": "failed", "pipeline": name, "round": round, "why": why });
        self.print(&value, || format!("FAILED {name}: {why}"))
    }

    pub(crate) fn transfer(&mut self, one: Transfer) -> anyhow::Result<()> {
        let side = |side: Side| {
            json!({
                "cpu_seconds_per_million_lines": rounded(side.cpu_seconds_per_million_lines, 3),
                "peak_rss_kib": side.peak_kib,
            })
        };
        let value = json!({
            "measurement": "transfer", "pipeline": one.name, "round": one.round, "queue": queue(one.queue),
            "lines": one.lines, "bytes": one.bytes, "seconds": rounded(one.seconds, 4),
            "lines_per_second": one.lines_per_second().round(),
            "lines_per_second_flowing": one.flowing.map(f64::round),
            "sender": side(one.sender), "receiver": side(one.receiver), "intact": one.intact,
        });
        let head = match self.transfers.is_empty() {
            true => HEAD,
            false => "",
        };
        self.print(&value, || {
            format!(
                "{head}{:>5}  {:<15} {:>11.0} {:>11} {:>9.1} {:>8.2} {:>8.2} {:>7.1} {:>7.1}  {}",
                one.round + 1,
                one.name,
                one.lines_per_second(),
                one.flowing
                    .map_or("-".to_owned(), |flowing| format!("{flowing:.0}")),
                one.bytes as f64 / one.seconds / 1e6,
                one.sender.cpu_seconds_per_million_lines,
                one.receiver.cpu_seconds_per_million_lines,
                one.sender.peak_kib as f64 / 1024.0,
                one.receiver.peak_kib as f64 / 1024.0,
                if one.intact { "intact" } else { "NOT INTACT" },
            )
        })?;
        self.transfers.push(one);
        Ok(())
    }

    pub(crate) fn ratios(&self) -> anyhow::Result<()> {
        let ratios = ratios(&self.transfers);
        for ratio in &ratios {
            let of = |[low, median, high]: [f64; 3]| json!({ "median": rounded(median, 3), "lowest": rounded(low, 3), "highest": rounded(high, 3) });
            let value = json!({
                "measurement": "ratio", "against": ratio.against, "queue": queue(ratio.queue), "rounds": ratio.rounds,
                "lines_per_second": of(ratio.speed), "lines_per_second_flowing": of(ratio.flowing),
                "cpu_per_line": of(ratio.cpu),
            });
            self.print(&value, || {
                let of =
                    |[low, median, high]: [f64; 3]| format!("{median:.2} ({low:.2} to {high:.2})");
                format!(
                    "against {:<15} lines/s × {}, while they flow × {}, CPU a line 1/{}",
                    ratio.against,
                    of(ratio.speed),
                    of(ratio.flowing),
                    of(ratio.cpu)
                )
            })?;
        }
        // The aims are about a million lines: of fewer, starting and connecting is too large a part.
        let enough = self.transfers.iter().all(|one| one.lines >= AIMED_LINES);
        let aims = if enough { aims(&ratios) } else { Vec::new() };
        for aim in aims {
            let value = json!({
                "measurement": "aim", "against": aim.against, "of": aim.of, "aim": aim.aim,
                "reached": rounded(aim.reached, 3), "holds": aim.reached >= aim.aim,
            });
            self.print(&value, || {
                let holds = if aim.reached >= aim.aim {
                    "reached"
                } else {
                    "MISSED"
                };
                format!(
                    "aim: {} against {}: {:.2} of {}: {holds}",
                    aim.of, aim.against, aim.reached, aim.aim
                )
            })?;
        }
        Ok(())
    }

    pub(crate) fn latency(&self, found: &Latency) -> anyhow::Result<()> {
        let value = json!({
            "measurement": "latency", "pipeline": "logferry", "lines_per_second": found.rate, "lines": found.lines,
            "p50_ms": rounded(found.p50, 2), "p99_ms": rounded(found.p99, 2), "max_ms": rounded(found.max, 2),
            "sender_cores": rounded(found.sender_cpu, 3), "receiver_cores": rounded(found.receiver_cpu, 3),
        });
        self.print(&value, || {
            format!(
                "latency at {} lines/s: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms; cores: sender {:.3}, receiver {:.3}",
                found.rate, found.p50, found.p99, found.max, found.sender_cpu, found.receiver_cpu
            )
        })
    }

    /// Fails if ours or the copy changed a byte; says again who was missing.
    pub(crate) fn verdict(&self) -> anyhow::Result<()> {
        if !self.skipped.is_empty() && !self.json {
            service::out::line(format_args!("SKIPPED {}", self.skipped.join(", ")))
                .map_err(closed)?;
        }
        let bad = |one: &&Transfer| !one.intact && ESSENTIAL.contains(&one.name);
        match self.transfers.iter().find(bad) {
            Some(one) => bail!(
                "{}, round {}: what arrived is not what was sent",
                one.name,
                one.round + 1
            ),
            None => Ok(()),
        }
    }
}

/// Ours against each other one, in the order in which they were first seen.
pub(crate) fn ratios(transfers: &[Transfer]) -> Vec<Ratio> {
    let ours: BTreeMap<u32, &Transfer> = transfers
        .iter()
        .filter(|one| one.name == OURS)
        .map(|one| (one.round, one))
        .collect();
    let mut names: Vec<(&'static str, Queue)> = Vec::new();
    for one in transfers.iter().filter(|one| one.name != OURS) {
        if !names.contains(&(one.name, one.queue)) {
            names.push((one.name, one.queue));
        }
    }
    let mut ratios = Vec::new();
    for (name, queue) in names {
        let pairs: Vec<(&Transfer, &Transfer)> = transfers
            .iter()
            .filter(|one| one.name == name)
            .filter_map(|one| Some((*ours.get(&one.round)?, one)))
            .collect();
        if pairs.is_empty() {
            continue;
        }
        let of = |ratio: &dyn Fn(&Transfer, &Transfer) -> f64| {
            spread(
                pairs
                    .iter()
                    .map(|(ours, theirs)| ratio(ours, theirs))
                    .collect(),
            )
        };
        ratios.push(Ratio {
            against: name,
            queue,
            rounds: pairs.len(),
            speed: of(&|ours, theirs| ours.lines_per_second() / theirs.lines_per_second()),
            flowing: of(&|ours, theirs| {
                ours.flowing.unwrap_or(f64::NAN) / theirs.flowing.unwrap_or(f64::NAN)
            }),
            cpu: of(&|ours, theirs| theirs.cpu() / ours.cpu()),
        });
    }
    ratios
}

/// Lowest, median and highest.
pub(crate) fn spread(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    let (Some(low), Some(high)) = (values.first(), values.last()) else {
        return [f64::NAN; 3];
    };
    let half = values.len() / 2;
    let median = match values.len() % 2 {
        0 => (values[half - 1] + values[half]) / 2.0,
        _ => values[half],
    };
    [*low, median, *high]
}

/// What is aimed at, and what was reached.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Aim {
    pub(crate) against: &'static str,
    pub(crate) of: &'static str,
    pub(crate) aim: f64,
    pub(crate) reached: f64,
}

/// The aims: against the fastest peer whose queue is on disk, the fastest whose queue is in memory, and the bare copy.
pub(crate) fn aims(ratios: &[Ratio]) -> Vec<Aim> {
    // The fastest is the one against whom we gain least.
    let fastest = |queue: Queue| {
        let peers = ratios
            .iter()
            .filter(|ratio| ratio.queue == queue && ratio.against != COPY);
        peers.min_by(|a, b| a.speed[1].total_cmp(&b.speed[1]))
    };
    let mut aims = Vec::new();
    let mut aim = |ratio: Option<&Ratio>, of: &'static str, aim: f64| {
        if let Some(ratio) = ratio {
            let reached = if of == SPEED {
                ratio.speed[1]
            } else {
                ratio.cpu[1]
            };
            aims.push(Aim {
                against: ratio.against,
                of,
                aim,
                reached,
            });
        }
    };
    aim(fastest(Queue::Disk), SPEED, 20.0);
    aim(fastest(Queue::Disk), CPU, 20.0);
    aim(fastest(Queue::Memory), SPEED, 8.0);
    aim(fastest(Queue::Memory), CPU, 12.0);
    aim(
        ratios.iter().find(|ratio| ratio.against == COPY),
        SPEED,
        0.7,
    );
    aims
}

fn closed(failure: Failure) -> anyhow::Error {
    match failure {
        Failure::Runtime(error) => error,
        _ => anyhow::format_err!("nobody reads what is measured"),
    }
}

fn queue(queue: Queue) -> &'static str {
    match queue {
        Queue::Source => "source",
        Queue::Disk => "disk",
        Queue::Memory => "memory",
    }
}

fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

const AIMED_LINES: u64 = 1_000_000;
const OURS: &str = "logferry";
const COPY: &str = "copy";
const SPEED: &str = "lines_per_second";
const CPU: &str = "cpu_per_line";
const HEAD: &str = "round  pipeline            lines/s     flowing      MB/s   CPU s   CPU s     MiB     MiB\n                                                              sender receiver  sender receiver\n";
