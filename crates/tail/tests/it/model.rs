//! A model of a log directory: seeded random writes, rotations, truncations, restarts. What is delivered must be what
//! was written, once, in order, byte for byte, except where the model knows that nothing holds the bytes any more.
//!
//! A failure prints its seed; `TAIL_SEED=n cargo test -p tail --test it model` runs it alone.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tail::{Checkpoint, EpochId, Follower, Now, Options, Step};

mod writer;

const SEEDS: u64 = 150;
const OPERATIONS: usize = 80;
const MAX_LINE: u32 = 600;

/// splitmix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// One incarnation of the file, as it was written.
#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    /// Nothing holds the bytes from here on; what was delivered before stands.
    lost_from: Option<usize>,
}

/// A file in the directory.
#[derive(Clone)]
struct Slot {
    written: usize,
    gzip: bool,
    copy: bool,
}

/// What the far end has of an epoch.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    gap: bool,
}

struct Model {
    _dir: tempfile::TempDir,
    path: PathBuf,
    rng: Rng,
    now: Now,
    written: Vec<Written>,
    /// The incarnation at the path, if any.
    live: Option<usize>,
    /// `.1` first.
    rotated: Vec<Slot>,
    follower: Option<Follower>,
    stored: Checkpoint,
    far: BTreeMap<EpochId, Held>,
    order: Vec<EpochId>,
    line: u64,
    log: Vec<String>,
    /// The follower looked at the directory since the last change of names.
    looked: bool,
    /// Files that nothing explains wait for a receiver, which knows none of them.
    ask: bool,
}

impl Model {
    fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("decky.log");
        let rng = Rng(seed);
        Self {
            _dir: dir,
            path,
            rng,
            now: Now::system(),
            written: Vec::new(),
            live: None,
            rotated: Vec::new(),
            follower: None,
            stored: Checkpoint::default(),
            far: BTreeMap::new(),
            order: Vec::new(),
            line: 0,
            log: Vec::new(),
            looked: false,
            ask: seed % 2 == 1,
        }
    }

    fn options(&self) -> Options {
        let mut options = Options::new(&self.path);
        options.max_line = MAX_LINE;
        options.read = 400;
        options.ask = self.ask;
        options
    }

    fn slot_path(&self, number: usize, gzip: bool) -> PathBuf {
        self.path.with_file_name(format!(
            "decky.log.{number}{}",
            if gzip { ".gz" } else { "" }
        ))
    }

    fn say(&mut self, what: impl Into<String>) {
        self.log.push(what.into());
    }

    /// What is not delivered of it may never be.
    fn lose(&mut self, written: usize) {
        let have = self.far_of(written).map_or(0, |held| held.bytes.len());
        let lost = &mut self.written[written].lost_from;
        *lost = Some(lost.map_or(have, |lost| lost.min(have)));
    }

    // What the follower and the far end do.

    /// What the far end has of it: the longest that it begins with, since a first empty line is common.
    fn far_of(&self, written: usize) -> Option<&Held> {
        let bytes = &self.written[written].bytes;
        self.far
            .values()
            .filter(|held| bytes.starts_with(&held.bytes))
            .max_by_key(|held| held.bytes.len())
    }

    fn store(&mut self) {
        if let Some(follower) = &self.follower {
            self.stored = through_text(&follower.checkpoint());
        }
    }

    fn stop(&mut self) {
        // With fewer than 64 bytes of the file that is read in the checkpoint, any file that begins alike may be it: what
        // they have in common would count as delivered. The crate's description says so.
        let known = self.stored.current().map_or(64, |known| known.head.len);
        if self.rng.chance(50) || known < 64 {
            self.store();
        }
        self.follower = None;
        // Only its descriptors kept what has no name any more.
        for at in 0..self.written.len() {
            if self.live != Some(at) && self.rotated.iter().all(|slot| slot.written != at) {
                self.lose(at);
            }
        }
        self.say("stop");
    }

    fn deliver(&mut self, steps: u64) {
        if self.follower.is_none() {
            self.follower = Some(Follower::new(self.options(), Some(self.stored.clone())));
            self.say("start");
        }
        let mut buf = Vec::new();
        for _ in 0..steps {
            let follower = self.follower.as_mut().unwrap();
            let step = follower.next(&mut buf, self.now).unwrap();
            if !matches!(step, Step::Idle(_)) {
                self.say(format!("{step:?}"));
            }
            let seq = match step {
                Step::Idle(_) if self.name() => {
                    self.store();
                    continue;
                }
                Step::Idle(wait) => {
                    assert!(!wait.is_zero(), "spins");
                    self.looked = true;
                    break;
                }
                Step::Lines(span) => {
                    assert_eq!(buf.last(), Some(&b'\n'));
                    assert!(
                        buf.split(|&byte| byte == b'\n')
                            .all(|line| line.len() <= MAX_LINE as usize)
                    );
                    self.receive(span.epoch, span.from, span.to, &buf);
                    span.seq
                }
                Step::Part(span) => {
                    assert_eq!(buf.len(), MAX_LINE as usize);
                    self.receive(span.epoch, span.from, span.to, &buf);
                    span.seq
                }
                Step::Tail(span) => {
                    assert!(!buf.contains(&b'\n'));
                    self.receive(span.epoch, span.from, span.to, &buf);
                    span.seq
                }
                Step::Gap(gap) => {
                    self.far.entry(gap.epoch).or_default().gap = true;
                    gap.seq
                }
                Step::Roll(roll) => roll.seq,
            };
            if self.rng.chance(70) {
                self.follower.as_mut().unwrap().confirm(seq);
            }
            if self.rng.chance(20) {
                self.store();
            }
            if self.rng.chance(5) {
                self.follower.as_mut().unwrap().rewind();
                self.say("rewind");
            }
        }
    }

    /// Names the files that wait, unless they have changed; whether any waited.
    fn name(&mut self) -> bool {
        let (follower, now) = (self.follower.as_mut().unwrap(), self.now);
        let waiting = follower.strangers();
        for at in 0..waiting {
            follower.stranger_size(at).unwrap();
        }
        if waiting > 0 {
            let named = follower.name(&[], now).unwrap();
            self.say(format!("name {waiting}: {named}"));
        }
        waiting > 0
    }

    fn receive(&mut self, epoch: EpochId, from: u64, to: u64, bytes: &[u8]) {
        assert_eq!(to - from, bytes.len() as u64);
        if from == 0 {
            // The contract: an epoch is stored before anything of it is sent.
            self.store();
            if !self.order.contains(&epoch) {
                self.order.push(epoch);
            }
        }
        let held = self.far.entry(epoch).or_default();
        let from = from as usize;
        assert!(from <= held.bytes.len(), "a hole in {epoch} at {from}");
        let known = bytes.len().min(held.bytes.len() - from);
        assert!(
            held.bytes[from..from + known] == bytes[..known],
            "{epoch} changed at {from}"
        );
        held.bytes.extend_from_slice(&bytes[known..]);
    }

    fn operation(&mut self) {
        match self.rng.below(100) {
            0..=34 => self.append(),
            35..=59 => {
                let steps = 1 + self.rng.below(12);
                self.deliver(steps);
            }
            60..=67 => self.rotate(),
            68..=71 => self.copytruncate(),
            72..=74 => self.late(),
            75..=79 => self.compress(),
            80..=81 => self.replace(),
            82 => self.truncate(),
            83..=84 => self.delete(),
            85 => self.drop_oldest(),
            86..=92 => self.stop(),
            93..=95 => {
                if let Some(follower) = &mut self.follower {
                    follower.observe(self.now).unwrap();
                    self.looked = true;
                    self.say("observe");
                }
            }
            _ => {
                let by = Duration::from_millis(self.rng.below(20_000));
                self.now = self.now.later(by);
                self.say(format!("wait {by:?}"));
            }
        }
    }

    fn finish(&mut self) {
        // A last line, so that everything before it is over, and time for every grace.
        if self.live.is_none() || self.rng.chance(50) {
            self.append();
        }
        self.end_long_line();
        for _ in 0..200 {
            self.now = self.now.later(Duration::from_secs(6));
            self.deliver(1000);
        }
        for at in 0..self.written.len() {
            self.check(at);
        }
        let held: usize = self.far.values().map(|held| held.bytes.len()).sum();
        let written: usize = self.written.iter().map(|written| written.bytes.len()).sum();
        assert!(held <= written, "something came twice: {held} of {written}");
    }

    fn check(&self, at: usize) {
        let written = &self.written[at];
        let end = if self.live == Some(at) {
            written
                .bytes
                .iter()
                .rposition(|&byte| byte == b'\n')
                .map_or(0, |lf| lf + 1)
        } else {
            written.bytes.len()
        };
        let held = self.far_of(at);
        let have = held.map_or(0, |held| held.bytes.len());
        match written.lost_from {
            Some(lost) => {
                assert!(
                    have >= lost.min(end),
                    "#{at}: {have} of {end}, lost from {lost}"
                );
                assert!(have <= written.bytes.len(), "#{at}: {have} of {end}");
            }
            // The parts of a long line come before its LF.
            None => assert!(
                have >= end && have <= written.bytes.len(),
                "#{at}: {have} of {end}"
            ),
        }
    }
}

/// What is stored passes through JSON in real life. Here it is enough that it is a value.
fn through_text(checkpoint: &Checkpoint) -> Checkpoint {
    let text = serde_json::to_string(checkpoint).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn run(seed: u64) {
    let mut model = Model::new(seed);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        // A first start that sees the file: what was rotated before is none of its business.
        model.append();
        model.deliver(1);
        model.store();
        for _ in 0..OPERATIONS {
            model.operation();
        }
        model.finish();
    }));
    if let Err(panic) = outcome {
        let from = model.log.len().saturating_sub(150);
        eprintln!("{}", model.log[from..].join("\n"));
        eprintln!("TAIL_SEED={seed} repeats it");
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn delivers_what_was_written() {
    if let Ok(seed) = std::env::var("TAIL_SEED") {
        return run(seed.parse().unwrap());
    }
    let first = std::env::var("TAIL_FIRST").map_or(0, |first| first.parse().unwrap());
    let seeds = std::env::var("TAIL_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    for seed in first..first + seeds {
        run(seed);
    }
}
