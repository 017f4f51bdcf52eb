//! Seeded runs of appends, crashes between any two steps, power losses, short writes, full disks,
//! rotations and other writers, against a model: whatever happened, the lines of all files of a target,
//! others' lines left out, are those of the batches that the checkpoint says were written, in order.
//!
//! `OFFSETS_SEED=N` runs one seed; `OFFSETS_RUNS=N` sets how many are run.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, Mutex};

use super::*;
use crate::appender::disk::Gate;

#[tokio::test]
async fn stands_exactly_once_whatever_happens() {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    if let Some(seed) = number("OFFSETS_SEED") {
        return World::new(seed, true).run().await;
    }
    for seed in 0..number("OFFSETS_RUNS").unwrap_or(60) {
        // The name of the seed has to come out before a panic does.
        let mut one = tokio::task::JoinSet::new();
        one.spawn(World::new(seed, false).run());
        let verdict = one.join_next().await;
        assert!(
            matches!(verdict, Some(Ok(()))),
            "failed with OFFSETS_SEED={seed}"
        );
    }
}

/// xorshift64*; the simulation needs the same numbers for the same seed, and no more.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % end
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// Ends the world at a step, and knows what a power loss would take.
#[derive(Debug)]
struct Fate(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    dice: Dice,
    /// Steps until the end; `None`: for ever.
    left: Option<usize>,
    over: bool,
    /// In 8 steps of appending, how many are short or refused.
    trouble: usize,
    /// What a rotation does in the middle of a batch, once.
    meddle: Option<(usize, Vec<PathBuf>)>,
    /// Slot files as they were before their first write that is not synced.
    before: BTreeMap<PathBuf, Vec<u8>>,
    /// Bytes of a target file (by inode) that are on the disk.
    durable: BTreeMap<u64, u64>,
    meddled: Vec<(PathBuf, PathBuf)>,
}

impl Gate for Fate {
    fn ask(&self, step: Step, path: &Path, len: usize) -> io::Result<usize> {
        let mut inner = self.0.lock().unwrap();
        let inner = &mut *inner;
        if inner.over {
            return Err(io::Error::other("the world is over"));
        }
        if let Some((steps, paths)) = &mut inner.meddle {
            if *steps == 0 {
                for path in paths.iter().filter(|path| path.exists()) {
                    let to = fresh_name(path);
                    fs::rename(path, &to).unwrap();
                    inner.meddled.push((path.clone(), to));
                }
                inner.meddle = None;
            } else {
                *steps -= 1;
            }
        }
        if matches!(step, Step::Redo | Step::Mark) {
            inner
                .before
                .entry(path.to_path_buf())
                .or_insert_with(|| fs::read(path).unwrap());
        }
        let end = match &mut inner.left {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        };
        inner.over |= end;
        let part = |dice: &mut Dice| Ok(dice.below(len + 1));
        match step {
            // A killed process may have written a part; the call that would say so never returns.
            Step::Append | Step::Redo if end => part(&mut inner.dice),
            _ if end => Err(io::Error::other("the world ends")),
            Step::Append if inner.dice.below(8) < inner.trouble => match inner.dice.below(3) {
                0 => Err(io::ErrorKind::StorageFull.into()),
                _ => Ok(1 + inner.dice.below(len)),
            },
            Step::Redo if inner.dice.below(16) < inner.trouble => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(len),
        }
    }

    fn synced(&self, path: &Path, file: &File) {
        let mut inner = self.0.lock().unwrap();
        inner.before.remove(path);
        if let Ok(meta) = file.metadata() {
            use std::os::unix::fs::MetadataExt;
            inner.durable.insert(meta.ino(), meta.len());
        }
    }
}

/// A name for a rotated file that sorts by age and that logrotate could have given.
fn fresh_name(path: &Path) -> PathBuf {
    static AGE: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let age = AGE.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    PathBuf::from(format!("{}-{age:010}", path.display()))
}

struct World {
    house: House,
    dice: Dice,
    chatty: bool,
    /// Batches as they were handed over.
    batches: Vec<[Vec<u8>; 2]>,
    /// How many of them were acknowledged.
    acked: usize,
    /// Rotated files of each target, oldest first.
    rotated: [Vec<PathBuf>; 2],
    /// Whether power is lost now and then; then nobody copies or compresses, which it would spoil.
    power: bool,
    /// Targets of which a file was compressed in this life.
    packed: [bool; 2],
}

impl World {
    fn new(seed: u64, chatty: bool) -> Self {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let power = dice.one_in(2);
        let house = House::in_memory();
        Self {
            house,
            dice,
            chatty,
            batches: Vec::new(),
            acked: 0,
            rotated: [vec![], vec![]],
            power,
            packed: [false; 2],
        }
    }

    fn say(&self, text: &str) {
        use std::io::Write;
        if self.chatty {
            writeln!(io::stderr(), "{text}").unwrap();
        }
    }

    /// Shows the ends of the newest files.
    fn list(&self) {
        for index in 0..2 {
            let live = self.house.targets()[index].clone();
            for path in self.rotated[index]
                .iter()
                .rev()
                .take(2)
                .rev()
                .chain([&live])
            {
                let bytes = fs::read(path).unwrap_or_default();
                let end =
                    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(60)..]).into_owned();
                self.say(&format!("    {} {} {end:?}", path.display(), bytes.len()));
            }
        }
    }

    async fn run(mut self) {
        for _ in 0..12 {
            let fate = self.life().await;
            self.afterlife(&fate);
        }
        let (appender, recovered) = self.house.open().await;
        self.say(&format!("at last {recovered:?}"));
        self.check(&appender, &recovered).await;
    }

    /// One process, to its end.
    async fn life(&mut self) -> Arc<Fate> {
        let crash = !self.dice.one_in(4);
        let inner = Inner {
            dice: Dice(self.dice.below(1 << 30) as u64 * 2 + 1),
            left: crash.then(|| self.dice.below(60)),
            over: false,
            trouble: if self.dice.one_in(3) { 3 } else { 0 },
            meddle: None,
            before: BTreeMap::new(),
            durable: BTreeMap::new(),
            meddled: Vec::new(),
        };
        let fate = Arc::new(Fate(inner.into()));
        let disk = Disk {
            syncs: 0,
            gate: Some(fate.clone()),
        };
        let targets = self.house.targets();
        self.list();
        let (mut appender, recovered) = match self.house.try_open(&targets, disk).await {
            Ok(opened) => opened,
            Err(error) => {
                self.say(&format!("open: {error:?}"));
                return fate;
            }
        };
        self.say(&format!("opened {recovered:?}"));
        self.check(&appender, &recovered).await;
        for _ in 0..self.dice.below(12) {
            if self.dice.one_in(4) {
                // The thread that settles the batch before would count its steps too.
                let _ = appender.rest().await;
                let meddle = (self.dice.below(8), targets.clone());
                fate.0.lock().unwrap().meddle = Some(meddle);
            }
            if !self.batch(&mut appender, &fate).await {
                break;
            }
            if self.dice.one_in(3) {
                let _ = appender.rest().await;
                self.meddle(true);
            }
            if self.dice.one_in(6) && appender.flush().await.is_err() {
                break;
            }
        }
        let _ = appender.rest().await;
        self.note_meddled(&fate);
        fate
    }

    /// Hands over a batch. `false`: the process is dead.
    async fn batch(&mut self, appender: &mut Appender, fate: &Fate) -> bool {
        let parts = [self.part(), self.part()];
        self.batches.push(parts.clone());
        let change = put("n", &self.batches.len().to_string());
        let mut result = appender
            .append(parts.to_vec(), vec![change])
            .await
            .map(drop);
        for _ in 0..100 {
            self.note_meddled(fate);
            match &result {
                Ok(()) => break,
                Err(error) => self.say(&format!("batch {}: {error:?}", self.batches.len())),
            }
            if fate.0.lock().unwrap().over {
                return false;
            }
            if self.dice.one_in(2) {
                self.meddle(true);
            }
            result = appender.resume().await.map(drop);
        }
        self.say(&format!("batch {} stands", self.batches.len()));
        self.acked = self.batches.len();
        true
    }

    /// Lines of ours: few different ones, so that equal ones are common.
    fn part(&mut self) -> Vec<u8> {
        let mut part = Vec::new();
        for _ in 0..self.dice.below(6) {
            let line: &[u8] = match self.dice.below(5) {
                0 => b"a\n",
                1 => b"ab\n",
                2 => b"abc abc\n",
                3 => b"abc abc abc abc\n",
                _ => b"\n",
            };
            // Blank lines and one line again and again are what confuses a count.
            if line != b"\n" {
                part.extend_from_slice(line);
            }
        }
        if self.dice.one_in(40) {
            part.extend(b"a\n".repeat(3000));
            part.extend(vec![b'z'; 100_000]);
            part.push(b'\n');
        }
        part
    }

    /// Others at work: whole lines, torn lines, rotation. `alive`: a process has the files open.
    fn meddle(&mut self, alive: bool) {
        let index = self.dice.below(2);
        let path = self.house.targets()[index].clone();
        let deed = self.dice.below(if self.power { 4 } else { 8 });
        self.say(&format!("meddle {deed} with {index} alive {alive}"));
        if deed > 3 {
            wait_for_tick(self.house.dir.path());
        }
        match deed {
            0 | 1 => append_raw(&path, b"Foreign line\n"),
            2 => append_raw(&path, b"Foreign torn"),
            _ if !path.exists() => {}
            3 => {
                let to = fresh_name(&path);
                fs::rename(&path, &to).unwrap();
                self.rotated[index].push(to);
            }
            4 => {
                let to = fresh_name(&path);
                fs::rename(&path, &to).unwrap();
                self.rotated[index].push(gzip(&to));
                self.packed[index] = true;
            }
            5 | 6 => {
                let to = fresh_name(&path);
                copytruncate(&path, &to);
                self.rotated[index].push(to);
            }
            _ => {
                let to = fresh_name(&path);
                copytruncate(&path, &to);
                self.rotated[index].push(gzip(&to));
                self.packed[index] = true;
            }
        }
    }

    fn note_meddled(&mut self, fate: &Fate) {
        for (from, to) in fate.0.lock().unwrap().meddled.drain(..) {
            let index = usize::from(from.extension().unwrap() == "json");
            self.rotated[index].push(to);
        }
    }

    /// What happens between two processes.
    fn afterlife(&mut self, fate: &Fate) {
        self.note_meddled(fate);
        if self.power && self.dice.one_in(2) {
            self.lose_power(fate);
        }
        for _ in 0..self.dice.below(3) {
            self.meddle(false);
        }
    }

    /// Takes from the disk what was not synced: ends of targets, any sectors of the slots.
    fn lose_power(&mut self, fate: &Fate) {
        use std::os::unix::fs::MetadataExt;
        let inner = fate.0.lock().unwrap();
        self.say("power loss");
        let files = self
            .rotated
            .concat()
            .into_iter()
            .chain(self.house.targets());
        for path in files {
            let Ok(meta) = fs::metadata(&path) else {
                continue;
            };
            let Some(durable) = inner
                .durable
                .get(&meta.ino())
                .filter(|durable| **durable < meta.len())
            else {
                continue;
            };
            let lost = self
                .dice
                .below(usize::try_from(meta.len() - durable).unwrap() + 1);
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(meta.len() - lost as u64).unwrap();
        }
        for (path, before) in &inner.before {
            let mut now = fs::read(path).unwrap();
            for (index, sector) in now.chunks_mut(512).enumerate() {
                if self.dice.one_in(2) {
                    let from = (index * 512).min(before.len());
                    let old = &before[from..(from + sector.len()).min(before.len())];
                    sector.fill(0);
                    sector[..old.len()].copy_from_slice(old);
                }
            }
            fs::write(path, now).unwrap();
        }
    }

    async fn check(&mut self, appender: &Appender, recovered: &[Recovered]) {
        let n = appender.store().get("n").await.unwrap();
        let n: usize = n.map_or(0, |n| String::from_utf8(n).unwrap().parse().unwrap());
        assert!(
            n == self.acked || n == self.acked + 1,
            "the checkpoint says {n}, acknowledged were {}",
            self.acked
        );
        self.acked = n;
        self.batches.truncate(n);
        for index in 0..2 {
            let expected: Vec<u8> = self
                .batches
                .iter()
                .flat_map(|parts| parts[index].clone())
                .collect();
            let found = self.ours(index);
            if found != expected && self.is_uncertain(index, recovered) {
                self.settle_for(index, &found);
                continue;
            }
            assert!(
                found == expected,
                "target {index}: {}",
                difference(&found, &expected)
            );
        }
        self.packed = [false; 2];
    }

    /// A file in which nothing stood before the batch, and which was compressed, can't be told from
    /// others: the only case in which a batch may be uncertain here, where nothing is deleted.
    fn is_uncertain(&self, index: usize, recovered: &[Recovered]) -> bool {
        let target = &self.house.targets()[index];
        let uncertain =
            |one: &Recovered| matches!(one, Recovered::Uncertain { path, .. } if path == target);
        let uncertain = recovered.iter().any(uncertain);
        assert!(
            !uncertain || self.packed[index],
            "nothing was compressed: {recovered:?}"
        );
        uncertain
    }

    /// Accepts that only some first lines of the last batch stand.
    fn settle_for(&mut self, index: usize, found: &[u8]) {
        let Some(mut last) = self.batches.pop() else {
            panic!("uncertain without a batch")
        };
        let before: Vec<u8> = self
            .batches
            .iter()
            .flat_map(|parts| parts[index].clone())
            .collect();
        let rest = found.strip_prefix(&before[..]).map(<[u8]>::to_vec);
        let rest = rest.filter(|rest| last[index].starts_with(rest));
        assert!(rest.is_some(), "not even the batches before stand");
        last[index] = rest.unwrap_or_default();
        self.batches.push(last);
    }

    /// Our lines in all files of a target. Lines with a capital F in them are others', or spoilt by
    /// others; blank ones are ends of others' torn lines; what has no end in a rotated file is torn.
    fn ours(&self, index: usize) -> Vec<u8> {
        let mut ours = Vec::new();
        let live = self.house.targets()[index].clone();
        for path in self.rotated[index].iter().chain([&live]) {
            let mut bytes = fs::read(path).unwrap_or_default();
            if path.extension().is_some_and(|extension| extension == "gz") {
                let packed = std::mem::take(&mut bytes);
                flate2::read::GzDecoder::new(&packed[..])
                    .read_to_end(&mut bytes)
                    .unwrap();
            }
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                if line.ends_with(b"\n") && line != b"\n" && !line.contains(&b'F') {
                    ours.extend_from_slice(line);
                }
            }
        }
        ours
    }
}

fn difference(found: &[u8], expected: &[u8]) -> String {
    let same = found
        .iter()
        .zip(expected)
        .take_while(|(a, b)| a == b)
        .count();
    let show = |bytes: &[u8]| {
        let from = same.saturating_sub(40).min(bytes.len());
        String::from_utf8_lossy(&bytes[from..bytes.len().min(from + 120)]).into_owned()
    };
    format!(
        "{} bytes for {}, differing from {same}: {:?} for {:?}",
        found.len(),
        expected.len(),
        show(found),
        show(expected)
    )
}
