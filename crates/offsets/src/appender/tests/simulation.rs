//! Seeded runs of appends, crashes between any two steps, power losses, short writes, full disks,
//! rotations and other writers, against a model: whatever happened, the lines of all files of a target,
//! others' lines left out, are those of the batches that the checkpoint says were written, in order.
//!
//! `OFFSETS_SEED=N` runs one seed; `OFFSETS_RUNS=N` sets how many are run.

mod fate;
mod verdict;

use std::sync::Arc;

use fate::{Dice, Fate, fresh_name};

use super::*;

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
        let dice = Dice(self.dice.below(1 << 30) as u64 * 2 + 1);
        let left = crash.then(|| self.dice.below(60));
        let trouble = if self.dice.one_in(3) { 3 } else { 0 };
        let fate = Arc::new(Fate::new(dice, left, trouble));
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
}
