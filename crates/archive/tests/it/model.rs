//! Random operations with failures, crashes, and an index that is lost or put back, against a model of what a sender
//! was told.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use archive::audit::{self, GapLine, Scope};
use archive::{
    AppendError, Archive, Clock, EpochId, Fault, Form, Handle, Options, Origin, Retention,
    StreamKey,
};

use crate::support::{Data, Died, run};

mod checks;
mod sender;

use checks::{check_bytes, check_prints, check_reports, tell_ledger, verify};
use sender::{Dice, Epoch, Run, bytes};

struct World {
    data: Data,
    epochs: Vec<Epoch>,
    dice: Dice,
    /// Copies of the index and its witness, to be put back.
    copies: Vec<Copy>,
    /// An older index was put back, or a witness is gone, and no start has noticed yet. Both together could fit.
    unnoticed: bool,
    /// Of a different roll each.
    lost: u64,
    /// How often what happened.
    seen: BTreeMap<&'static str, usize>,
}

/// What the index said at some time.
struct Copy {
    index: Vec<(String, Vec<u8>)>,
    witness: Vec<(String, Vec<u8>)>,
    /// Where the epochs ended, at most: an interrupted window may stand.
    ends: Vec<u64>,
}

impl World {
    fn new(seed: u64) -> World {
        World {
            data: Data::new(),
            epochs: Vec::new(),
            dice: Dice(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1),
            copies: Vec::new(),
            unnoticed: false,
            lost: 0,
            seen: BTreeMap::new(),
        }
    }

    fn options(&mut self, dies: bool) -> Options {
        // Early in every third life: in its recovery, if there is anything to recover.
        let most = if self.dice.one_in(3) { 4 } else { 60 };
        let at = self.dice.roll(most) as usize;
        let errors = self.dice.one_in(2);
        let kind = if self.dice.one_in(2) {
            io::ErrorKind::StorageFull
        } else {
            io::ErrorKind::Other
        };
        let seen = AtomicUsize::new(0);
        let fault = Fault::new(move |step| {
            let n = seen.fetch_add(1, Ordering::Relaxed);
            if errors && n == at / 2 {
                return Err(kind.into());
            }
            if dies && n == at {
                std::panic::resume_unwind(Box::new(Died(step)));
            }
            Ok(())
        });
        Options {
            segment_max_bytes: 200,
            window_bytes: WINDOW,
            reserve_bytes: 0,
            max_open_epochs: 2,
            max_open_files: 2,
            fault,
            ..Options::default()
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn files<const N: usize>(&self, names: [&str; N]) -> Vec<(String, Vec<u8>)> {
        names
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), fs::read(self.data.path().join(name)).ok()?)))
            .collect()
    }

    fn copy(&mut self) {
        let copy = Copy {
            index: self.files(["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"]),
            witness: self.files(WITNESS),
            ends: self.epochs.iter().map(Epoch::now).collect(),
        };
        self.copies.push(copy);
    }

    fn put_back(&self, files: &[(String, Vec<u8>)]) {
        for (name, bytes) in files {
            fs::write(self.data.path().join(name), bytes).unwrap();
        }
    }

    /// A copy behind which an epoch holds more than a window may have.
    fn far_behind(&mut self) -> Option<usize> {
        let held = |epoch: &Epoch, from: u64| -> u64 {
            let from = from.max(epoch.floor);
            let runs = epoch.acked.iter().scan(epoch.base, |at, run| {
                let from = std::mem::replace(at, run.to);
                Some((from, run))
            });
            runs.filter(|(_, run)| !run.gap)
                .map(|(at, run)| run.to.saturating_sub(at.max(from)))
                .sum()
        };
        let far = |copy: &Copy| {
            let mut epochs = self.epochs.iter().zip(&copy.ends);
            epochs.any(|(epoch, end)| held(epoch, *end) > WINDOW)
        };
        let far: Vec<usize> = (0..self.copies.len())
            .filter(|n| far(&self.copies[*n]))
            .collect();
        let n = self.dice.roll(far.len() as u64) as usize;
        far.get(n).copied()
    }

    /// What may happen to the index while nobody looks.
    fn meddle(&mut self) {
        self.data.settled();
        if self.dice.one_in(3) {
            self.copy();
        }
        match self.dice.roll(7) {
            0 => {
                self.count("index lost");
                self.data.forget_index();
            }
            1 | 2 if !self.copies.is_empty() && !self.unnoticed => {
                self.count("older index put back");
                self.unnoticed = true;
                self.data.forget_index();
                let n = self.dice.roll(self.copies.len() as u64) as usize;
                self.put_back(&self.copies[n].index);
            }
            3 if !self.unnoticed => {
                self.count("witness lost");
                self.unnoticed = true;
                let n = self.dice.roll(2);
                let _ = fs::remove_file(self.data.path().join(WITNESS[n as usize]));
            }
            4 | 5 if !self.unnoticed => {
                let Some(n) = self.far_behind() else { return };
                self.count("older index and witness put back");
                self.unnoticed = true;
                self.data.forget_index();
                for name in WITNESS {
                    let _ = fs::remove_file(self.data.path().join(name));
                }
                self.put_back(&self.copies[n].index);
                self.put_back(&self.copies[n].witness);
            }
            _ => {}
        }
    }

    /// One life of a listener: it starts, checks everything, works, and dies or stops.
    async fn live(world: &Mutex<World>, dies: bool) {
        let options = world.lock().unwrap().options(dies);
        let path = world.lock().unwrap().data.path().to_owned();
        let mut archive = match Archive::open(&path, options.clone()).await {
            Ok(archive) => archive,
            // A step of recovery failed; it fails once.
            Err(_) => {
                world.lock().unwrap().count("start failed");
                Archive::open(&path, options).await.unwrap()
            }
        };
        world.lock().unwrap().unnoticed = false;
        let mut handles = HashMap::new();
        let known = world.lock().unwrap().epochs.len();
        for n in 0..known {
            Self::reopen(world, &mut archive, &mut handles, n, true).await;
        }
        Self::check(world, &path).await;
        for _ in 0..40 {
            Self::step(world, &mut archive, &mut handles).await;
        }
        Self::commit(world, &mut archive, &mut handles).await;
        Self::check(world, &path).await;
        archive.close().await.unwrap();
        let damage = verify(&path).await;
        assert_eq!(damage, [], "closed in an orderly way");
    }

    async fn reopen(
        world: &Mutex<World>,
        archive: &mut Archive,
        handles: &mut HashMap<usize, Handle>,
        n: usize,
        start: bool,
    ) -> Handle {
        let epoch = world.lock().unwrap().epochs[n].clone();
        let opened = archive
            .open_epoch(
                &epoch.key,
                epoch.id,
                Form::Log,
                epoch.base,
                Origin::default(),
            )
            .await;
        let handle = match opened {
            Ok(handle) => handle,
            Err(_) => {
                Self::settle(world, archive).await;
                archive
                    .open_epoch(
                        &epoch.key,
                        epoch.id,
                        Form::Log,
                        epoch.base,
                        Origin::default(),
                    )
                    .await
                    .unwrap()
            }
        };
        handles.insert(n, handle);
        if start {
            let stand = archive.stand(handle).unwrap();
            let mut world = world.lock().unwrap();
            if stand.end < world.epochs[n].acked_end() {
                eprintln!("{:?}", archive.recovered());
                tell_ledger(world.data.path(), &world.epochs[n]);
            }
            let epoch = &mut world.epochs[n];
            epoch.resume(stand.end);
            assert!(stand.sealed || !epoch.sealed, "a seal is for ever");
            epoch.sealed = stand.sealed;
            epoch.sealing = false;
            check_prints(n, epoch, &stand);
        }
        handle
    }

    /// The window failed: it is void, or stands after all.
    async fn settle(world: &Mutex<World>, archive: &mut Archive) {
        let reports = loop {
            if let Ok(reports) = archive.void().await {
                break reports;
            }
        };
        let mut world = world.lock().unwrap();
        world.count(if reports.is_empty() {
            "void"
        } else {
            "stands after all"
        });
        for epoch in &mut world.epochs {
            if reports.is_empty() {
                epoch.void();
            } else {
                epoch.stands();
            }
        }
        check_reports(&world, &reports);
    }

    async fn commit(world: &Mutex<World>, archive: &mut Archive, _: &mut HashMap<usize, Handle>) {
        match archive.commit().await {
            Ok(reports) => {
                let mut world = world.lock().unwrap();
                world.epochs.iter_mut().for_each(Epoch::stands);
                check_reports(&world, &reports);
                if world.dice.one_in(8) {
                    world.copy();
                }
            }
            Err(_) => Self::settle(world, archive).await,
        }
    }

    async fn step(
        world: &Mutex<World>,
        archive: &mut Archive,
        handles: &mut HashMap<usize, Handle>,
    ) {
        let (what, n) = {
            let mut world = world.lock().unwrap();
            if world.epochs.is_empty() || (world.epochs.len() < 9 && world.dice.one_in(14)) {
                let stream = ["decky", "audit"][world.dice.roll(2) as usize];
                let base = if world.dice.one_in(4) { 1000 } else { 0 };
                let mut bits = [0; 16];
                bits.fill_with(|| world.dice.roll(256) as u8);
                world.epochs.push(Epoch {
                    key: StreamKey::new("w", stream).unwrap(),
                    id: EpochId::from_bytes(bits),
                    base,
                    acked: Vec::new(),
                    pending: Vec::new(),
                    rolls: Vec::new(),
                    rolling: Vec::new(),
                    sealed: false,
                    sealing: false,
                    floor: 0,
                });
            }
            let n = world.epochs.len() as u64;
            let window: u64 = world.epochs.iter().map(|e| e.now() - e.acked_end()).sum();
            let most = if window > WINDOW / 3 { 5 } else { 24 };
            (world.dice.roll(most), world.dice.roll(n) as usize)
        };
        let handle = match handles.get(&n) {
            Some(handle) if archive.stand(*handle).is_ok() => *handle,
            _ => Self::reopen(world, archive, handles, n, false).await,
        };
        match what {
            0..5 => return Self::commit(world, archive, handles).await,
            5 => return Self::retain(world, archive).await,
            6 | 7 => {
                let compressed = archive.compress_next(1 << 20).await;
                let mut world = world.lock().unwrap();
                world.count(match compressed {
                    Ok(archive::Compression::Done { .. }) => "compressed",
                    Ok(archive::Compression::Damaged { .. }) => panic!("a segment is damaged"),
                    _ => "compressing",
                });
                return;
            }
            _ => {}
        }
        let result = Self::write(world, archive, handle, n, what);
        match result {
            Ok(()) => {}
            Err(AppendError::Full(_) | AppendError::Refused { .. }) => {
                let mut world = world.lock().unwrap();
                world.count("refused");
            }
            Err(_) => Self::settle(world, archive).await,
        }
    }

    /// Something that goes into the window. The model has it before the archive, which may die over it.
    fn write(
        world: &Mutex<World>,
        archive: &mut Archive,
        handle: Handle,
        n: usize,
        what: u64,
    ) -> Result<(), AppendError> {
        let (len, to, before, next, lost) = {
            let mut world = world.lock().unwrap();
            let len = 1 + world.dice.roll(if what == 8 { 400 } else { 60 });
            let known = world.epochs.len().min(2) as u64;
            let next = world.dice.roll(known) as usize;
            let next = world.epochs[next].id;
            world.lost += 1;
            let lost = world.lost;
            let epoch = &mut world.epochs[n];
            let before = epoch.clone();
            let to = epoch.now() + len;
            match what {
                8..16 => epoch.pending.push(Run { to, gap: false }),
                16..18 => epoch.pending.push(Run { to, gap: true }),
                18 | 19 => epoch.roll(next, lost),
                22 if len > 45 => epoch.sealing = true,
                _ => {}
            }
            (len, to, before, next, lost)
        };
        let result = match what {
            8..16 => archive.append(handle, &bytes(n, before.now(), to)),
            16..18 => archive.gap(handle, to, "lag-cap"),
            18 | 19 => archive.roll(handle, next, "rotated", Some(lost)),
            20 => archive.close_segment(handle),
            22 if len > 45 => archive.seal(handle),
            _ => {
                let fact = offsets::Fact {
                    kind: "takeover".to_owned(),
                    ..offsets::Fact::default()
                };
                archive.note(&before.key, fact)
            }
        };
        if matches!(
            result,
            Err(AppendError::Full(_) | AppendError::Refused { .. })
        ) {
            world.lock().unwrap().epochs[n] = before;
        }
        result
    }

    async fn retain(world: &Mutex<World>, archive: &mut Archive) {
        let floors: HashMap<EpochId, u64> = {
            let mut world = world.lock().unwrap();
            let mut floors = HashMap::new();
            for n in 0..world.epochs.len() {
                let end = world.epochs[n].acked_end();
                let floor = world.dice.roll(end + 1).max(world.epochs[n].floor);
                if world.dice.one_in(3) {
                    world.epochs[n].floor = floor;
                }
                floors.insert(world.epochs[n].id, world.epochs[n].floor);
            }
            floors
        };
        let limits = Retention {
            max_age: None,
            max_bytes: Some(300),
        };
        let done = archive
            .retain(limits, &|_, id| floors.get(&id).copied())
            .await;
        if done.is_ok_and(|done| done.segments > 0) {
            world.lock().unwrap().count("removed");
        }
    }

    /// What is on the disk is what was told; nothing is damaged, and the gaps are those that were recorded.
    async fn check(world: &Mutex<World>, path: &Path) {
        let damage = verify(path).await;
        for what in &damage {
            eprintln!("{what}");
            let stream = what
                .segment
                .ancestors()
                .find(|path| path.join("ledger.jsonl").exists());
            let ledger = stream.map(|path| fs::read_to_string(path.join("ledger.jsonl")).unwrap());
            eprintln!("{}", ledger.unwrap_or_default());
        }
        assert_eq!(damage, []);
        let mut gaps: HashMap<EpochId, Vec<(u64, u64)>> = HashMap::new();
        let mut rolls: HashMap<EpochId, BTreeMap<u64, u64>> = HashMap::new();
        let mut take = |gap: GapLine| {
            let (epoch, from) = (gap.epoch.unwrap(), gap.from.unwrap());
            let Some(to) = gap.to else {
                let of = rolls.entry(epoch).or_default();
                of.insert(from, gap.bytes.unwrap());
                return;
            };
            let range = (from, to);
            let of = gaps.entry(epoch).or_default();
            match of.last_mut() {
                // One cause may be "unknown", after an index was lost.
                Some((_, to)) if *to == range.0 => *to = range.1,
                _ => of.push(range),
            }
        };
        audit::gaps(path, Scope::default(), &mut take).unwrap();
        let mut world = world.lock().unwrap();
        for (n, epoch) in world.epochs.iter_mut().enumerate() {
            assert!(epoch.pending.is_empty());
            let told = rolls.remove(&epoch.id).unwrap_or_default();
            // The window that a crash interrupted is void, or stands as a whole.
            let rolling = std::mem::take(&mut epoch.rolling);
            if !rolling.is_empty() && Epoch::losses(&epoch.rolls) != told {
                epoch.rolls.extend(rolling);
            }
            if Epoch::losses(&epoch.rolls) != told {
                tell_ledger(path, epoch);
            }
            assert_eq!(told, Epoch::losses(&epoch.rolls), "rolls of epoch {n}");
        }
        for (n, epoch) in world.epochs.iter().enumerate() {
            let mut found = gaps.remove(&epoch.id).unwrap_or_default();
            // An epoch that only its files tell of is taken as one from 0 on.
            found
                .iter_mut()
                .for_each(|(from, _)| *from = epoch.base.max(*from));
            found.retain(|(from, to)| from < to);
            if found != epoch.gaps() {
                tell_ledger(path, epoch);
            }
            assert_eq!(found, epoch.gaps(), "gaps of epoch {n}");
            check_bytes(&world.data, n, epoch);
        }
        assert!(gaps.is_empty());
        assert!(rolls.is_empty());
    }

    /// At last everything that rolled is old and is sealed, and nothing else, with or without the index.
    async fn end(world: &Mutex<World>) {
        let (path, options) = {
            let mut world = world.lock().unwrap();
            if world.dice.one_in(2) {
                world.data.forget_index();
            }
            let options = world.options(false);
            let fault = Fault::default();
            (world.data.path().to_owned(), Options { fault, ..options })
        };
        let archive = Archive::open(&path, options.clone()).await.unwrap();
        archive.close().await.unwrap();
        world.lock().unwrap().data.settled();
        let later = SystemTime::now() + 2 * HOUR;
        let clock = Clock::new(move || (later, Duration::ZERO));
        let mut archive = Archive::open(&path, Options { clock, ..options })
            .await
            .unwrap();
        let mut sealed: Vec<EpochId> = Vec::new();
        loop {
            let reports = archive.seal_idle(HOUR).await.unwrap();
            if reports.is_empty() {
                break;
            }
            sealed.extend(reports.iter().map(|report| report.epoch));
        }
        sealed.sort_unstable();
        archive.close().await.unwrap();
        let world = world.lock().unwrap();
        let rolled = |epoch: &&Epoch| !epoch.sealed && epoch.rolled(epoch.acked_end()).is_some();
        let rolled = world.epochs.iter().filter(rolled);
        let mut rolled: Vec<EpochId> = rolled.map(|epoch| epoch.id).collect();
        rolled.sort_unstable();
        if sealed != rolled {
            world
                .epochs
                .iter()
                .for_each(|epoch| tell_ledger(&path, epoch));
        }
        assert_eq!(sealed, rolled, "what is sealed is what rolled");
    }
}

const HOUR: Duration = Duration::from_secs(3600);
const WITNESS: [&str; 2] = ["archive/.window-0", "archive/.window-1"];
/// Most bytes of a window.
const WINDOW: u64 = 700;

#[test]
fn the_archive_is_what_its_senders_were_told() {
    let slow = std::env::var_os("RUN_SLOW_TESTS").is_some();
    let runs = if slow { 1500 } else { 60 };
    let first = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let mut seen: BTreeMap<&'static str, usize> = BTreeMap::new();
    for seed in first.unwrap_or(1)..first.map_or(1 + runs, |seed: u64| seed + 1) {
        let world = Arc::new(Mutex::new(World::new(seed)));
        let lives = std::panic::catch_unwind({
            let world = Arc::clone(&world);
            move || {
                for life in 0..8 {
                    let died = run(World::live(&world, life < 7));
                    let mut world = world.lock().unwrap();
                    world.count(if died.is_err() { "died" } else { "stopped" });
                    world.meddle();
                }
                run(World::live(&world, false)).ok().unwrap();
                world.lock().unwrap().data.settled();
                run(World::end(&world)).ok().unwrap();
            }
        });
        if let Err(panic) = lives {
            eprintln!("SEED={seed}");
            std::panic::resume_unwind(panic);
        }
        for (what, n) in &world.lock().unwrap().seen {
            *seen.entry(what).or_default() += n;
        }
    }
    if first.is_none() {
        let expected = [
            "compressed",
            "compressing",
            "died",
            "index lost",
            "older index and witness put back",
            "older index put back",
            "refused",
            "removed",
            "stands after all",
            "start failed",
            "stopped",
            "void",
            "witness lost",
        ];
        assert_eq!(
            seen.keys().copied().collect::<Vec<_>>(),
            expected,
            "{seen:?}"
        );
    }
}
