//! A file, a forwarder and a listener: what acknowledged delivery is about.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use decoy::{Decoy, Profile};
use swarm::{Master, Programs, Run, Worker, WorkerSpec, runs, until};
use tempfile::TempDir;

use crate::stage::WORKER;
use crate::support::{ARRIVAL, folder};

/// A worker whose `.log` the test writes, and its master.
pub(crate) struct Pipe {
    pub(crate) worker: Worker,
    pub(crate) master: Master,
    pub(crate) identity: PathBuf,
    /// All that was ever written.
    pub(crate) written: Vec<u8>,
    pub(crate) programs: Programs,
    decoy: Decoy,
    next: u64,
    dir: TempDir,
}

impl Pipe {
    /// Both programs run; nothing was written.
    pub(crate) fn new(forwarder: &str) -> Pipe {
        let dir = folder();
        let programs = Programs::build().unwrap();
        let mut master = Master::init(&programs, &dir.path().join("master")).unwrap();
        master.start().unwrap();
        let identity = master.enroll(WORKER).unwrap();
        let spec = WorkerSpec {
            forwarder: forwarder.to_owned(),
            ..WorkerSpec::default()
        };
        let mut worker = Worker::new(&programs, &dir.path().join(WORKER), &spec).unwrap();
        worker
            .start_forwarder(master.addr().unwrap(), &identity)
            .unwrap();
        Pipe {
            worker,
            master,
            identity,
            written: Vec::new(),
            programs,
            decoy: Decoy {
                name: "pipe".to_owned(),
                seed: 5,
                profile: Profile::Hostile,
            },
            next: 0,
            dir,
        }
    }

    /// A path of the test's own.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Appends so many lines to the `.log`: hostile ones, blank ones among them, and many that are the same.
    pub(crate) fn write(&mut self, lines: u64) {
        let mut text = Vec::new();
        for seq in self.next..self.next + lines {
            if seq % 4 == 0 {
                text.extend(self.decoy.line(seq));
            } else {
                text.extend_from_slice(
                    b"<134>1 2026-06-20T14:03:07Z pipe ssh - auth - the same line again\n",
                );
            }
        }
        self.next += lines;
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.worker.log());
        file.unwrap().write_all(&text).unwrap();
        self.written.extend(text);
    }

    /// `decky.log.N`.
    pub(crate) fn rotated(&self, number: u32) -> PathBuf {
        PathBuf::from(format!("{}.{number}", self.worker.log().display()))
    }

    /// Rotates by rename: every number up by one.
    pub(crate) fn rename(&self) {
        self.shift();
        fs::rename(self.worker.log(), self.rotated(1)).unwrap();
    }

    /// Rotates by copy and truncate.
    pub(crate) fn copy_and_truncate(&self) {
        self.shift();
        fs::copy(self.worker.log(), self.rotated(1)).unwrap();
        File::options()
            .write(true)
            .open(self.worker.log())
            .unwrap()
            .set_len(0)
            .unwrap();
    }

    /// Rotates by copy and truncate, in two halves of the copy that stand after the first two moments and the cut
    /// thirty milliseconds later, while the forwarder is started at the third.
    pub(crate) fn copy_and_truncate_at(&mut self, moments: [Duration; 3]) {
        let [first, second, start] = moments;
        self.shift();
        let (live, copy) = (self.worker.log(), self.rotated(1));
        let cut = std::thread::spawn(move || {
            let octets = fs::read(&live).unwrap();
            let (head, tail) = octets.split_at(octets.len() / 2);
            std::thread::park_timeout(first);
            let mut file = File::create(&copy).unwrap();
            file.write_all(head).unwrap();
            std::thread::park_timeout(second - first);
            file.write_all(tail).unwrap();
            drop(file);
            std::thread::park_timeout(Duration::from_millis(30));
            File::options()
                .write(true)
                .open(&live)
                .unwrap()
                .set_len(0)
                .unwrap();
        });
        std::thread::park_timeout(start);
        self.worker.launch_forwarder().unwrap();
        cut.join().unwrap();
    }

    fn shift(&self) {
        let gz = |number| PathBuf::from(format!("{}.gz", self.rotated(number).display()));
        for number in (1..20).rev() {
            let _ = fs::rename(self.rotated(number), self.rotated(number + 1));
            let _ = fs::rename(gz(number), gz(number + 1));
        }
    }

    /// What the archive holds.
    pub(crate) fn runs(&self) -> Vec<Run> {
        runs(&self.master.data(), WORKER, self.worker.stream()).unwrap_or_default()
    }

    /// The octets of the archive, epochs in order, gaps left out.
    pub(crate) fn archived(&self) -> Vec<u8> {
        let runs = self.runs();
        let segments = runs.iter().flat_map(|run| &run.segments);
        segments.flat_map(|path| fs::read(path).unwrap()).collect()
    }

    /// Waits until the archive holds so many octets.
    pub(crate) fn wait_archived(&self, octets: usize) {
        let arrived = until("octets in the archive", ARRIVAL, || {
            Ok((self.archived().len() >= octets).then_some(()))
        });
        if let Err(error) = arrived {
            let status = self.worker.forwarder_status();
            panic!(
                "{error}: {} of {octets}, {status:#?}",
                self.archived().len()
            );
        }
    }

    /// Waits until all that was written is archived and merged, and asserts that nothing else is.
    pub(crate) fn assert_exact(&self) {
        self.wait_archived(self.written.len());
        same(&self.archived(), &self.written, "the archive");
        let merged = self.master.merged_log();
        let arrived = until("octets in the merged .log", ARRIVAL, || {
            let size = fs::metadata(&merged).map_or(0, |m| m.len());
            Ok((size >= self.written.len() as u64).then_some(()))
        });
        arrived.unwrap();
        same(
            &fs::read(&merged).unwrap(),
            &self.written,
            "the merged .log",
        );
        assert_eq!(self.master.gaps().unwrap(), Vec::<serde_json::Value>::new());
        self.master.verify().unwrap();
    }

    /// The ledger's facts of a kind.
    pub(crate) fn facts(&self, kind: &str) -> Vec<serde_json::Value> {
        let ledger = self
            .master
            .data()
            .join("archive")
            .join(WORKER)
            .join(self.worker.stream())
            .join("ledger.jsonl");
        let text = fs::read_to_string(ledger).unwrap_or_default();
        let facts = text.lines().map(|line| serde_json::from_str(line).unwrap());
        facts
            .filter(|fact: &serde_json::Value| fact["kind"] == kind)
            .collect()
    }
}

/// Asserts that octets are the same, and names the first that is not.
pub(crate) fn same(found: &[u8], expected: &[u8], what: &str) {
    let at = found.iter().zip(expected).position(|(f, e)| f != e);
    if let Some(at) = at {
        let show = |octets: &[u8]| {
            String::from_utf8_lossy(&octets[at..octets.len().min(at + 120)]).into_owned()
        };
        panic!(
            "{what} differs at octet {at}:\n{}\n{}",
            show(found),
            show(expected)
        );
    }
    assert_eq!(found.len(), expected.len(), "octets of {what}");
}

/// A copy of a folder of files, folders in it left out.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
