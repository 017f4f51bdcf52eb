//! An archive in a temporary directory, and the frames that tests put into it.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use archive::{Archive, Committed, Fault, Form, Options, Reader, Step, StreamKey};
use tempfile::TempDir;

pub(crate) struct Data(TempDir);

impl Data {
    pub(crate) fn new() -> Data {
        // Where syncing costs nothing, if there is such a place: what is tested is the order of things.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let dir = dir.unwrap();
        archive::init(dir.path()).unwrap();
        Data(dir)
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        self.0.path()
    }

    pub(crate) async fn open(&self, options: Options) -> Archive {
        Archive::open(self.path(), options).await.unwrap()
    }

    /// Segment files of a worker's plain stream, in order.
    pub(crate) fn segments(&self, worker: &str) -> Vec<PathBuf> {
        self.files(&format!("archive/{worker}/syslog"), "frames")
    }

    /// Files below a folder of the data directory with a suffix, in order.
    pub(crate) fn files(&self, under: &str, suffix: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.path().join(under)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else if entry.path().to_string_lossy().ends_with(suffix) {
                    found.push(entry.path());
                }
            }
        }
        found.sort();
        found
    }

    /// What the segments of a worker's plain stream hold, one after the other.
    pub(crate) fn bytes(&self, worker: &str) -> Vec<u8> {
        self.segments(worker)
            .iter()
            .flat_map(|path| fs::read(path).unwrap())
            .collect()
    }

    /// Waits until a dropped archive's index is closed, which happens on a thread of its own.
    pub(crate) fn settled(&self) {
        let index = self.path().join("index.sqlite");
        let since = std::time::Instant::now();
        let is_open = || {
            let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
            let mut links = open.filter_map(|fd| fs::read_link(fd.path()).ok());
            links.any(|to| to == index)
        };
        while is_open() {
            assert!(since.elapsed().as_secs() < 10, "the index is still open");
            std::thread::yield_now();
        }
    }

    pub(crate) fn forget_index(&self) {
        self.settled();
        for suffix in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(self.path().join(format!("index.sqlite{suffix}")));
        }
    }

    /// Kinds of the facts in the ledger of a worker's plain stream.
    pub(crate) fn facts(&self, worker: &str) -> Vec<String> {
        self.kinds(&format!("{worker}/syslog"))
    }

    /// Kinds of the facts in a stream's ledger.
    pub(crate) fn kinds(&self, stream: &str) -> Vec<String> {
        let ledger = self.path().join(format!("archive/{stream}/ledger.jsonl"));
        let text = fs::read_to_string(ledger).unwrap_or_default();
        let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        text.lines()
            .map(|text| line(text)["kind"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// Options under which everything happens often.
pub(crate) fn small() -> Options {
    Options {
        segment_max_bytes: 300,
        window_bytes: 64 << 10,
        reserve_bytes: 0,
        ..Options::default()
    }
}

pub(crate) fn plain(worker: &str) -> StreamKey {
    StreamKey::plain(worker).unwrap()
}

/// Frame number `n`: 0 … 199 bytes of content that name it.
pub(crate) fn frame(n: usize) -> Vec<u8> {
    let message = format!("<13>1 - - - - - - {n} {}", "x".repeat(n * 37 % 180));
    format!("{} {message}", message.len()).into_bytes()
}

/// Frames `from` up to `to`, one after the other.
pub(crate) fn frames(from: usize, to: usize) -> Vec<u8> {
    (from..to).flat_map(frame).collect()
}

/// How many of the frames from 0 on are exactly these bytes.
pub(crate) fn count(bytes: &[u8]) -> usize {
    let mut at = 0;
    let mut n = 0;
    while at < bytes.len() {
        let next = frame(n);
        assert!(bytes[at..].starts_with(&next), "frame {n} is not at {at}");
        at += next.len();
        n += 1;
    }
    n
}

/// Reads a whole committed epoch through the [`Reader`].
pub(crate) fn read(data: &Data, what: &Committed, from: u64) -> Vec<u8> {
    let mut reader = Reader::open(data.path(), &what.key, what.epoch, what.form, from).unwrap();
    let mut bytes = Vec::new();
    while reader.read(what.to, 100, &mut bytes).unwrap() != archive::Chunk::End {}
    bytes
}

/// Where the one epoch of a plain stream stands.
pub(crate) fn standing(archive: &Archive, worker: &str) -> Committed {
    archive
        .standing()
        .find(|at| at.key.worker() == worker && at.form == Form::Frames)
        .unwrap()
}

/// A hook that fails the `n`th `step` (from 0) with an error.
pub(crate) fn fail(step: Step, n: usize, kind: io::ErrorKind) -> Fault {
    let seen = Arc::new(AtomicUsize::new(0));
    Fault::new(move |at| {
        if at == step && seen.fetch_add(1, Ordering::Relaxed) == n {
            Err(kind.into())
        } else {
            Ok(())
        }
    })
}

/// A hook that dies at the `n`th step of any kind.
pub(crate) fn die(n: usize) -> Fault {
    let seen = Arc::new(AtomicUsize::new(0));
    Fault::new(move |step| {
        if seen.fetch_add(1, Ordering::Relaxed) == n {
            std::panic::resume_unwind(Box::new(Died(step)));
        }
        Ok(())
    })
}

pub(crate) struct Died(pub(crate) Step);

/// Runs work that may die, on a runtime of its own; `Err` says at which step.
pub(crate) fn run<T>(work: impl Future<Output = T>) -> Result<T, Step> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    match catch_unwind(AssertUnwindSafe(|| runtime.block_on(work))) {
        Ok(done) => Ok(done),
        Err(panic) => match panic.downcast::<Died>() {
            Ok(died) => Err(died.0),
            Err(other) => std::panic::resume_unwind(other),
        },
    }
}
