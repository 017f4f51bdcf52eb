//! `rules replay`: what the rules would have fired over what the input holds. Writes nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rules::{Engine, Event, RuleSet};
use service::Failure;
use service::out::Out;

use crate::args::ReplayArgs;
use crate::commands;
use crate::config::{Config, Input, Start};
use crate::event::{self, Moment};
use crate::line::Reader;
use crate::rulefiles;
use crate::source::archive::ArchiveSource;
use crate::source::file::FileSource;
use crate::source::{Chunk, Source, Turn};
use crate::store::Batch;

/// The command.
///
/// # Errors
/// Bad rules, or an input that can't be read.
pub(crate) fn command(args: &ReplayArgs) -> Result<(), Failure> {
    let (config, _) = commands::read(&args.config.config)?;
    let since = commands::since(&args.since).map_err(Failure::Usage)?;
    let set = rulefiles::check(&config.rules)?;
    let runtime = service::runtime(1)?;
    runtime.block_on(async {
        let mut replay = Replay::new(&config, set, since);
        let mut out = Out::new();
        replay.run(&config, args.json, &mut out).await?;
        replay.tell(args.json, &mut out)?;
        out.finish()
    })
}

/// A run over the input with an engine of its own, whose clock goes by the lines' time stamps.
struct Replay {
    engine: Engine,
    reader: Reader,
    since_ms: i64,
    began: Instant,
    /// The time at which the engine is, in Unix milliseconds. It does not go back.
    now_ms: i64,
    hits: Vec<Event>,
    fired: BTreeMap<String, u64>,
}

impl Replay {
    fn new(config: &Config, set: std::sync::Arc<RuleSet>, since_ms: i64) -> Self {
        let limits = rules::Limits {
            max_line: config.matched,
            burst: config.rate.burst,
            refill: config.rate.refill,
            ..rules::Limits::default()
        };
        Self {
            engine: Engine::new(set, limits),
            reader: Reader::new("", config.strip_leading_time),
            since_ms,
            began: Instant::now(),
            now_ms: since_ms,
            hits: Vec::new(),
            fired: BTreeMap::new(),
        }
    }

    async fn run(&mut self, config: &Config, json: bool, out: &mut Out) -> Result<(), Failure> {
        let mut source = match &config.input {
            Input::Archive { data } => {
                let source =
                    ArchiveSource::new(data, Vec::new(), Vec::new(), Some(Start::Beginning));
                Source::Archive(Box::new(source))
            }
            Input::File { path } => {
                let file = FileSource::open(path, &config.worker, None, Start::Beginning)?;
                Source::File(Box::new(file))
            }
        };
        let mut chunk = Chunk::default();
        let mut idle = 0;
        while idle < IDLE {
            match source.next(&mut chunk).await? {
                Turn::Chunk => {
                    idle = 0;
                    self.scan(&chunk, json, out)?;
                    // Nothing of it is kept.
                    source.mark(&mut Batch::default());
                }
                Turn::Idle(_) => idle += 1,
            }
        }
        Ok(())
    }

    fn scan(&mut self, chunk: &Chunk, json: bool, out: &mut Out) -> Result<(), Failure> {
        let reader = self.reader.of(&chunk.whence.worker);
        for range in &chunk.lines {
            let line = reader.read(&chunk.octets[range.clone()]);
            let stamp = line.ts.and_then(|ts| ts.parse::<jiff::Timestamp>().ok());
            let ms = stamp.map(jiff::Timestamp::as_millisecond);
            // A line without a time is of the time of the line before.
            if ms.is_some_and(|ms| ms < self.since_ms) {
                continue;
            }
            self.now_ms = self.now_ms.max(ms.unwrap_or(self.now_ms));
            let passed = self.now_ms.saturating_sub(self.since_ms).unsigned_abs();
            let now = self.began + Duration::from_millis(passed.min(MOST_MS));
            self.engine.scan(now, &line.facts(), &mut self.hits);
            for found in self.hits.drain(..) {
                let Event::Hit(hit) = &found else { continue };
                *self.fired.entry(hit.rule.id()).or_default() += 1;
                let moment = Moment::now();
                let whence = event::Whence {
                    worker: &chunk.whence.worker,
                    stream: &chunk.whence.stream,
                    epoch: &chunk.whence.epoch,
                    offset: chunk.from + range.start as u64,
                };
                let event = event::of_hit(hit, &line, whence, &moment);
                if json {
                    out.line(&event.body)?;
                } else {
                    let line = format!(
                        "{}  {:<5}  {}  {}  {}",
                        event.ts, event.severity, event.workload, event.rule, event.message
                    );
                    let line = line.chars().flat_map(commands::plain);
                    out.line(line.collect::<String>())?;
                }
            }
        }
        Ok(())
    }

    /// The sum, for people.
    fn tell(&self, json: bool, out: &mut Out) -> Result<(), Failure> {
        if json {
            return Ok(());
        }
        let stats = self.engine.stats();
        out.line(format_args!(
            "{} lines, {} matched, {} would have fired, {} held back by cooldowns, {} by rates",
            stats.lines, stats.matched, stats.emitted, stats.dropped_cooldown, stats.dropped_rate
        ))?;
        for (rule, count) in &self.fired {
            out.line(format_args!("{count:>8}  {rule}"))?;
        }
        Ok(())
    }
}

/// Looks without anything new after which the input counts as read: a follower needs one to find rotated files, and an
/// archive one for what its index had to say.
const IDLE: u32 = 2;

/// A hundred years: the clock of an engine has an end.
const MOST_MS: u64 = 100 * 365 * 24 * 3600 * 1000;
