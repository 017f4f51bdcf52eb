//! A log file of this host, through rotation: what a forwarder would send, scanned here.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tail::{Checkpoint, Follower, Now, Options, Step, Watch};
use tracing::{info, warn};

use super::cut::{self, Cut};
use super::{CHUNK, Chunk, Met, Standing, Turn};
use crate::config::{MAX_LINE, Start};
use crate::store::Batch;

/// Follows the file.
#[derive(Debug)]
pub(crate) struct FileSource {
    follower: Follower,
    watch: Option<Watch>,
    worker: Arc<str>,
    stream: Arc<str>,
    /// Epochs in which it is inside of a line whose beginning is scanned.
    within: BTreeSet<String>,
    moved: bool,
    pub(super) met: Met,
}

/// What is stored of it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saved {
    checkpoint: Checkpoint,
    #[serde(default)]
    within: BTreeSet<String>,
}

impl FileSource {
    /// Follows `path` from where `saved` was taken, else from where `start` says.
    ///
    /// # Errors
    /// What was stored can't be read, or the file can't.
    pub(crate) fn open(
        path: &Path,
        worker: &str,
        saved: Option<&[u8]>,
        start: Start,
    ) -> anyhow::Result<Self> {
        let mut options = Options::new(path);
        options.max_line = u32::try_from(MAX_LINE).unwrap_or(u32::MAX);
        options.read = CHUNK;
        let saved: Option<Saved> = saved
            .map(serde_json::from_slice)
            .transpose()
            .context("read the stored place in the log")?;
        let (follower, within) = match (saved, start) {
            (Some(saved), _) => (Follower::new(options, Some(saved.checkpoint)), saved.within),
            (None, Start::Beginning) => (Follower::new(options, None), BTreeSet::new()),
            (None, Start::End) => {
                let size = std::fs::metadata(path).map_or(0, |meta| meta.len());
                let follower = Follower::import(options, None, size)
                    .with_context(|| format!("begin at the end of {}", path.display()))?;
                (follower, BTreeSet::new())
            }
        };
        let stream = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or("log");
        Ok(Self {
            watch: Watch::new(path).ok(),
            follower,
            worker: worker.into(),
            stream: stream.into(),
            within,
            moved: true,
            met: Met::default(),
        })
    }

    /// Reads what is next.
    pub(super) fn next(&mut self, chunk: &mut Chunk) -> anyhow::Result<Turn> {
        chunk.lines.clear();
        let step = self.follower.next(&mut chunk.octets, Now::system())?;
        let seq = match step {
            Step::Idle(wait) => {
                if let Some(watch) = &mut self.watch {
                    // What came before the watch stood is found by one more look.
                    if !watch.armed() && watch.arm() {
                        return self.next(chunk);
                    }
                }
                return Ok(Turn::Idle(wait.min(MAX_IDLE)));
            }
            Step::Lines(span) | Step::Part(span) | Step::Tail(span) => {
                chunk.from = span.from;
                let epoch = span.epoch.to_string();
                let within = self.within.remove(&epoch);
                let last = matches!(step, Step::Tail(_));
                if self.cut(chunk, within, last) && self.within.len() < MAX_WITHIN {
                    self.within.insert(epoch.clone());
                }
                if *chunk.whence.epoch != *epoch {
                    chunk.whence.epoch = epoch.into();
                    chunk.whence.worker = Arc::clone(&self.worker);
                    chunk.whence.stream = Arc::clone(&self.stream);
                }
                span.seq
            }
            Step::Gap(gap) => {
                if gap.cause != tail::Cause::Imported {
                    self.met.gaps += 1;
                    self.met.missed_bytes += gap.known;
                    warn!(
                        offset = gap.from,
                        bytes = gap.known,
                        cause = gap.cause.as_str(),
                        "gap in the log"
                    );
                }
                gap.seq
            }
            Step::Roll(roll) => {
                self.within.remove(&roll.epoch.to_string());
                info!(
                    offset = roll.end,
                    cause = roll.cause.as_str(),
                    "the log was rotated"
                );
                roll.seq
            }
        };
        self.disarm(&step);
        self.follower.confirm(seq);
        self.moved = true;
        Ok(Turn::Chunk)
    }

    /// Finds the lines; gives whether the part ended inside of a line.
    fn cut(&mut self, chunk: &mut Chunk, within: bool, last: bool) -> bool {
        let limit = usize::try_from(MAX_LINE).unwrap_or(usize::MAX);
        match cut::lines(&chunk.octets, within, limit, &mut chunk.lines) {
            Cut::Done {
                octets,
                within,
                oversized,
            } => {
                self.met.oversized += u64::from(oversized);
                if octets < chunk.octets.len() {
                    chunk.lines.push(octets..chunk.octets.len());
                    return !last;
                }
                within && !last
            }
            // A piece of exactly the limit, or an end without LF.
            Cut::More => {
                if !chunk.octets.is_empty() {
                    chunk.lines.push(0..chunk.octets.len());
                }
                self.met.oversized += u64::from(!last);
                !last
            }
        }
    }

    /// A watch costs the writer of a busy file: it is for idle ones.
    fn disarm(&mut self, step: &Step) {
        if let (Some(watch), Step::Lines(span)) = (&mut self.watch, step)
            && span.to - span.from >= CHUNK as u64 / 2
        {
            watch.disarm();
        }
    }

    pub(super) fn mark(&mut self, batch: &mut Batch) {
        if !std::mem::take(&mut self.moved) {
            return;
        }
        let saved = Saved {
            checkpoint: self.follower.checkpoint(),
            within: self.within.clone(),
        };
        // Texts and numbers: they always have a form in JSON.
        batch
            .values
            .insert(FILE, serde_json::to_vec(&saved).unwrap_or_default());
    }

    pub(super) async fn changed(&mut self) {
        match &self.watch {
            Some(watch) if watch.armed() => watch.changed().await,
            _ => std::future::pending().await,
        }
    }

    pub(super) fn standing(&self) -> Standing {
        let standing = self.follower.standing();
        Standing {
            streams: 1,
            epochs: standing.waiting as u64 + u64::from(standing.epoch.is_some()),
            lag_bytes: standing.lag,
        }
    }
}

/// The name of the stored value.
pub(crate) const FILE: &str = "file";

/// Time between two looks without a word from the watch.
const MAX_IDLE: Duration = Duration::from_secs(1);

/// Epochs that can be inside of an over-long line at a time: the live file, and rotated ones written to late.
const MAX_WITHIN: usize = 16;
