//! Several masters: real ones, under load, of which one after the other goes away.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use swarm::{Master, Programs, Proxy, Run, Worker, WorkerSpec, runs, until};
use tempfile::TempDir;

use crate::stage::WORKER;
use crate::support::{ARRIVAL, folder};

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    First,
    Second,
}

/// Two masters, each behind a network of its own, and a worker that writes all the time.
struct Pair {
    masters: [Master; 2],
    networks: [Proxy; 2],
    worker: Worker,
    load: Load,
    _dir: TempDir,
}

/// A writer that never rests, and what it has written to each file.
struct Load {
    log: PathBuf,
    files: Arc<Mutex<Vec<Vec<u8>>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    fn start(log: &Path) -> Load {
        let (files, over) = (
            Arc::new(Mutex::new(vec![Vec::new()])),
            Arc::<AtomicBool>::default(),
        );
        let (path, to, stop) = (log.to_path_buf(), Arc::clone(&files), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            let mut next = 0;
            while !stop.load(Ordering::Relaxed) {
                let mut text = String::new();
                for n in next..next + 40 {
                    // Half of the lines are the same, so that no line tells its place.
                    let n = if n % 2 == 0 { n } else { 0 };
                    text += &format!("<134>1 2026-06-20T14:03:07Z pair ssh - auth - attempt {n}\n");
                }
                next += 40;
                let mut files: MutexGuard<'_, Vec<Vec<u8>>> = to.lock().unwrap();
                let file = OpenOptions::new().create(true).append(true).open(&path);
                file.unwrap().write_all(text.as_bytes()).unwrap();
                files.last_mut().unwrap().extend(text.as_bytes());
                drop(files);
                std::thread::park_timeout(Duration::from_millis(2));
            }
        });
        Load {
            log: log.to_path_buf(),
            files,
            over,
            thread: Some(thread),
        }
    }

    /// Rotates by rename, between lines.
    fn rename(&self) {
        let mut files = self.files.lock().unwrap();
        let numbered = |n: usize| PathBuf::from(format!("{}.{n}", self.log.display()));
        for n in (1..files.len()).rev() {
            fs::rename(numbered(n), numbered(n + 1)).unwrap();
        }
        fs::rename(&self.log, numbered(1)).unwrap();
        files.push(Vec::new());
    }

    /// Ends it; all that was written, by files.
    fn finish(&mut self) -> Vec<Vec<u8>> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        self.files.lock().unwrap().clone()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A failed test must not go on writing into a folder that is gone.
            let _ = thread.join();
        }
    }
}

impl Pair {
    /// Both masters run, of one CA; with `siblings` each is told of the other.
    fn new(siblings: bool) -> Pair {
        let dir = folder();
        let programs = Programs::build().unwrap();
        let mut first = Master::init(&programs, &dir.path().join("first")).unwrap();
        let identity = first.enroll(WORKER).unwrap();
        let ca = first.data().join("ca");
        let mut second = Master::import(&programs, &dir.path().join("second"), &ca).unwrap();
        for master in [&mut first, &mut second] {
            master.start().unwrap();
        }
        if siblings {
            let ids = [first.archive_id().unwrap(), second.archive_id().unwrap()];
            for (master, id) in [(&mut first, &ids[1]), (&mut second, &ids[0])] {
                master.stop().unwrap();
                master.configure(&format!("siblings = [{id:?}]"));
                master.start().unwrap();
            }
        }
        let masters = [first, second];
        let networks = [Proxy::start().unwrap(), Proxy::start().unwrap()];
        for (network, master) in networks.iter().zip(&masters) {
            network.lead_to(master.addr().unwrap()).unwrap();
        }
        let path = dir.path().join(WORKER);
        let mut worker = Worker::new(&programs, &path, &WorkerSpec::default()).unwrap();
        let addrs = networks.each_ref().map(Proxy::addr);
        let addrs: Vec<&str> = addrs.iter().map(String::as_str).collect();
        worker.start_forwarder_to(&addrs, &identity).unwrap();
        let load = Load::start(&worker.log());
        Pair {
            masters,
            networks,
            worker,
            load,
            _dir: dir,
        }
    }

    fn master(&mut self, which: Which) -> &mut Master {
        &mut self.masters[which as usize]
    }

    fn part(&self, which: Which) {
        self.networks[which as usize].part();
    }

    fn join(&self, which: Which) {
        let addr = self.masters[which as usize].addr().unwrap();
        self.networks[which as usize].lead_to(addr).unwrap();
    }

    fn runs(&self, which: Which) -> Vec<Run> {
        runs(&self.masters[which as usize].data(), WORKER, "decky").unwrap_or_default()
    }

    fn archived(&self, which: Which) -> u64 {
        let runs = self.runs(which);
        let segments = runs.iter().flat_map(|run| &run.segments);
        segments
            .map(|path| fs::metadata(path).map_or(0, |m| m.len()))
            .sum()
    }

    /// Waits until lines arrive at one of them.
    fn arrives_at(&self, which: Which) {
        let before = self.archived(which);
        let more = until("lines arrive", ARRIVAL, || {
            Ok((self.archived(which) > before).then_some(()))
        });
        if let Err(error) = more {
            panic!("{error}: {:#?}", self.worker.forwarder_status());
        }
    }

    /// Each master goes away in each way, and comes back; a file is rotated now and then.
    fn go_through(&mut self) {
        use Which::{First, Second};
        self.arrives_at(First);
        self.master(First).kill().unwrap();
        self.arrives_at(Second);
        self.load.rename();
        self.master(First).start().unwrap();
        // It stays with the one that works, and comes back when that goes.
        self.arrives_at(Second);
        self.master(Second).stop().unwrap();
        self.arrives_at(First);
        self.master(Second).start().unwrap();
        self.part(First);
        self.arrives_at(Second);
        self.load.rename();
        self.join(First);
        self.part(Second);
        self.arrives_at(First);
        self.join(Second);
        self.master(First).stop().unwrap();
        self.arrives_at(Second);
        self.master(First).start().unwrap();
        self.master(Second).kill().unwrap();
        self.arrives_at(First);
        self.master(Second).start().unwrap();
        if std::env::var_os("RUN_SLOW_TESTS").is_some() {
            // A network that swallows everything and tells nobody: given up after half a minute without an
            // acknowledgement, and its octets come when a new connection has the stream.
            // Which one it then takes depends on whether this session had got one.
            let made = || self.networks.iter().map(Proxy::made).sum::<u64>();
            let (before, held) = (made(), self.networks[First as usize].hold());
            let again = || Ok((made() > before).then_some(()));
            until("a new connection", ARRIVAL, again).unwrap();
            let both = || self.archived(First) + self.archived(Second);
            for held in [None, Some(held)] {
                let before = both();
                if let Some(held) = held {
                    held.release();
                }
                let more = || Ok((both() > before).then_some(()));
                until("lines arrive", ARRIVAL, more).unwrap();
            }
        }
    }

    /// Ends the load, and waits until the forwarder has nothing left. Gives what was written, by files.
    fn finish(&mut self) -> Vec<Vec<u8>> {
        let files = self.load.finish();
        let size: usize = files.iter().map(Vec::len).sum();
        let done = until("everything is acknowledged", ARRIVAL, || {
            let status = self.worker.forwarder_status()?;
            let books = &status["streams"][0]["books"];
            let whole = books["written"] == size && books["pending"] == 0;
            Ok((whole && books["balanced"] == true).then_some(()))
        });
        if let Err(error) = done {
            panic!("{error}, of {size}: {:#?}", self.worker.forwarder_status());
        }
        for master in &self.masters {
            master.verify().unwrap();
        }
        files
    }

    /// What one of them has of each epoch, gaps between.
    fn pieces(&self, which: Which) -> Vec<Piece> {
        let read = |run: Run| Piece {
            epoch: run.epoch,
            base: run.base as usize,
            octets: run
                .segments
                .iter()
                .flat_map(|path| fs::read(path).unwrap())
                .collect(),
        };
        self.runs(which).into_iter().map(read).collect()
    }
}

/// An unbroken part of an epoch.
struct Piece {
    epoch: String,
    base: usize,
    octets: Vec<u8>,
}

/// Which file each epoch is: every piece must stand in it, at its offset.
fn places(pieces: &[&[Piece]], files: &[Vec<u8>]) -> BTreeMap<String, usize> {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for piece in pieces.iter().copied().flatten() {
        let stands = |file: &Vec<u8>| {
            file.get(piece.base..piece.base + piece.octets.len()) == Some(&piece.octets[..])
        };
        // The lines of half of a file are unique, so a piece of some lines is in one file only.
        let at = files.iter().position(stands);
        let at = at.unwrap_or_else(|| {
            panic!(
                "{} from {} is nowhere: {} octets",
                piece.epoch,
                piece.base,
                piece.octets.len()
            )
        });
        let known = *places.entry(piece.epoch.clone()).or_insert(at);
        assert_eq!(known, at, "epoch {} is two files", piece.epoch);
    }
    let mut all: Vec<usize> = places.values().copied().collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), places.len(), "a file has two epochs");
    places
}

/// What both have together, compared with what was written.
struct Union {
    /// Octets that neither has.
    missing: usize,
    /// Octets that both have.
    twice: usize,
    written: usize,
    /// What each has: file, offset, octets.
    held: [Vec<(usize, usize, usize)>; 2],
}

impl Pair {
    /// Ends it; every piece of either archive stands in the source where it says.
    fn union(&mut self) -> Union {
        let files = self.finish();
        let pieces = [self.pieces(Which::First), self.pieces(Which::Second)];
        let places = places(&[&pieces[0], &pieces[1]], &files);
        let held = pieces.map(|pieces| {
            let place = |piece: &Piece| (places[&piece.epoch], piece.base, piece.octets.len());
            pieces.iter().map(place).collect::<Vec<_>>()
        });
        let mut counts: Vec<Vec<u8>> = files.iter().map(|file| vec![0; file.len()]).collect();
        for &(file, base, len) in held.iter().flatten() {
            for count in &mut counts[file][base..base + len] {
                *count += 1;
            }
        }
        let count = |times| {
            counts
                .iter()
                .flatten()
                .filter(|count| **count == times)
                .count()
        };
        Union {
            missing: count(0),
            twice: count(2),
            written: files.iter().map(Vec::len).sum(),
            held,
        }
    }
}

/// Each file that a master is given it is given from the start, whatever the other has of it: nothing is a gap.
/// A rotated file that one has to its end is not sent to the other.
#[test]
fn each_of_two_masters_has_its_files_from_their_start() {
    let mut pair = Pair::new(false);
    pair.go_through();
    let union = pair.union();
    assert_eq!(union.missing, 0, "{:?}", union.held);
    for master in &pair.masters {
        assert_eq!(master.gaps().unwrap(), Vec::<serde_json::Value>::new());
    }
    for held in &union.held {
        assert!(held.iter().all(|(_, base, _)| *base == 0), "{held:?}");
    }
}

/// What the sibling has is a gap with its cause; together they have every octet.
#[test]
fn two_siblings_have_every_line_between_them() {
    let mut pair = Pair::new(true);
    pair.go_through();
    let union = pair.union();
    assert_eq!(union.missing, 0, "{:?}", union.held);
    let mut elsewhere = 0;
    for master in &pair.masters {
        for gap in master.gaps().unwrap() {
            assert_eq!(gap["cause"], "elsewhere", "{gap}");
            elsewhere += gap["bytes"].as_u64().unwrap();
        }
    }
    assert!(
        elsewhere > 0,
        "nothing was left to the other: {:?}",
        union.held
    );
    // Twice is what was on its way when a master went, and not yet acknowledged.
    let Union { twice, written, .. } = union;
    assert!(twice < written, "all {written} octets are in both archives");
}
