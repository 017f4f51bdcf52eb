//! The threads that write: each has a voice, a quota that grows with the run, and a log.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::docker::Log;
use super::voice::Voice;

/// Lines of one write, at most.
const BATCH: u64 = 400;

/// A writer at work.
#[derive(Debug)]
pub(super) struct Scribe {
    /// What it writes.
    pub(super) voice: Voice,
    /// How many lines it may have written by now.
    quota: Arc<AtomicU64>,
    written: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

/// Where a program writes its own log, and a lock that its rotator takes.
#[derive(Debug, Clone)]
pub(super) struct OwnLog {
    /// The live file.
    pub(super) path: PathBuf,
    /// Held while lines are being written, and while the file is rotated.
    pub(super) writing: Arc<Mutex<()>>,
}

impl OwnLog {
    /// Waits for the end of a line, and lets no other begin.
    pub(super) fn hold(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scribe {
    /// A container's.
    pub(super) fn container(voice: Voice, mut log: Log, seed: u64) -> Scribe {
        Scribe::start(voice, seed, move |voice, from, to, _| {
            for n in from..to {
                let said = voice.line(n);
                log.print(&said.bytes, said.stderr)?;
            }
            log.flush()
        })
    }

    /// A program's, which sometimes writes half a line and the rest later.
    pub(super) fn program(voice: Voice, log: OwnLog, seed: u64) -> Scribe {
        Scribe::start(voice, seed, move |voice, from, to, random| {
            let mut text = Vec::new();
            for n in from..to {
                text.extend_from_slice(&voice.line(n).bytes);
                text.push(b'\n');
            }
            let _writing = log.hold();
            let mut file = open(&log.path)?;
            let half = if random.random_ratio(1, 4) {
                random.random_range(0..text.len())
            } else {
                0
            };
            file.write_all(&text[..half])?;
            if half > 0 {
                std::thread::park_timeout(Duration::from_millis(random.random_range(0..30)));
            }
            file.write_all(&text[half..])?;
            Ok(())
        })
    }

    fn start(
        voice: Voice,
        seed: u64,
        mut write: impl FnMut(&Voice, u64, u64, &mut SmallRng) -> anyhow::Result<()> + Send + 'static,
    ) -> Scribe {
        let (quota, written, over) = (
            Arc::<AtomicU64>::default(),
            Arc::<AtomicU64>::default(),
            Arc::<AtomicBool>::default(),
        );
        let (may, done, stop, speaker) =
            (quota.clone(), written.clone(), over.clone(), voice.clone());
        let thread = std::thread::spawn(move || {
            let mut random = SmallRng::seed_from_u64(seed);
            while !stop.load(Ordering::Relaxed) {
                let from = done.load(Ordering::Relaxed);
                let to = (from + random.random_range(1..=BATCH)).min(may.load(Ordering::Relaxed));
                if to > from {
                    write(&speaker, from, to, &mut random)?;
                    done.store(to, Ordering::Relaxed);
                }
                std::thread::park_timeout(Duration::from_millis(random.random_range(1..10)));
            }
            Ok(())
        });
        Scribe {
            voice,
            quota,
            written,
            over,
            thread: Some(thread),
        }
    }

    /// Lets it write up to so many lines in all.
    pub(super) fn allow(&self, lines: u64) {
        self.quota.store(lines, Ordering::Relaxed);
    }

    /// How many lines it has written.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Whether it has written all that it may.
    pub(super) fn idle(&self) -> bool {
        self.written() >= self.quota.load(Ordering::Relaxed)
            || self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends it.
    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        self.over.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result.with_context(|| format!("write as {}", self.voice.name)),
            Some(Err(_)) => Err(anyhow!("the writer {} panicked", self.voice.name)),
            None => Ok(()),
        }
    }
}

fn open(path: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.with_context(|| format!("open {}", path.display()))
}
