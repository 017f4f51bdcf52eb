//! The archive of a master: all streams of all workers, each in its turn, up to what is committed.
//!
//! Which epochs there are and how far each is committed the archive's index says (`archive::View`); the octets come
//! from segments. Nothing is locked and nothing written there. Each epoch's place is stored with the events that were
//! made of what is below it, and beside it the newest epoch of each stream that is known, so that an epoch that is
//! read to its end for good can be forgotten.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use archive::{EpochView, StreamKey, View};
use tracing::{info, warn};

use super::{Chunk, Met, Standing, Turn};
use crate::config::Start;
use crate::store::{Batch, Place, PlaceKey, Watermark};

mod follow;
mod look;
mod readers;

use follow::{Follow, Took};
use readers::Readers;

/// Follows an archive.
#[derive(Debug)]
pub(crate) struct ArchiveSource {
    data: PathBuf,
    view: View,
    watch: Option<tail::Watch>,
    streams: HashMap<StreamKey, Stream>,
    /// Streams that have something to read, each once.
    ready: VecDeque<StreamKey>,
    readers: Readers,
    /// Where a first start begins; none: it has begun.
    first: Option<Start>,
    looks: Looks,
    /// What is to be stored with the next batch.
    marks: Batch,
    complaint: service::Seldom<StreamKey>,
    pub(super) met: Met,
}

/// A stream that is followed.
#[derive(Debug, Default)]
struct Stream {
    /// The length of its ledger when its epochs were looked for.
    ledger: u64,
    /// The newest epoch that is known.
    mark: Option<Watermark>,
    /// Epochs that are not read to their end for good, oldest first.
    follows: Vec<Follow>,
    /// There are epochs behind `mark` that found no room.
    more: bool,
    queued: bool,
}

/// When what was looked at last.
#[derive(Debug, Default)]
struct Looks {
    last: Option<Instant>,
    /// The newest window that was seen, in Unix milliseconds.
    newest_ms: Option<i64>,
    all: Option<Instant>,
    streams: Option<Instant>,
    /// Lines without an end may be taken as they are by now.
    rest: Option<Instant>,
}

impl ArchiveSource {
    /// Follows the archive in a data directory from the stored places, else from where `start` says.
    pub(crate) fn new(
        data: &Path,
        places: Vec<(PlaceKey, Place)>,
        marks: Vec<((String, String), Watermark)>,
        first: Option<Start>,
    ) -> Self {
        let view = View::new(data);
        let mut streams: HashMap<StreamKey, Stream> = HashMap::new();
        for ((worker, stream), mark) in marks {
            if let Ok(key) = StreamKey::new(&worker, &stream) {
                streams.entry(key).or_default().mark = Some(mark);
            }
        }
        for (key, place) in places {
            let Some((stream, follow)) = Follow::stored(&key, place) else {
                continue;
            };
            streams.entry(stream).or_default().follows.push(follow);
        }
        // What comes into an archive that has nothing yet is all new.
        let first = first.map(|start| {
            if is_empty(data) {
                Start::Beginning
            } else {
                start
            }
        });
        for stream in streams.values_mut() {
            stream.follows.sort_by_key(Follow::ordinal);
        }
        Self {
            watch: tail::Watch::new(&view.watched()).ok(),
            data: data.to_owned(),
            view,
            streams,
            ready: VecDeque::new(),
            readers: Readers::default(),
            first,
            looks: Looks::default(),
            marks: Batch::default(),
            complaint: service::Seldom::new(COMPLAINT),
            met: Met::default(),
        }
    }

    /// Reads what is next of the stream whose turn it is.
    pub(super) async fn next(&mut self, chunk: &mut Chunk) -> anyhow::Result<Turn> {
        chunk.lines.clear();
        self.look().await?;
        while let Some(key) = self.ready.pop_front() {
            if let Some(stream) = self.streams.get_mut(&key) {
                stream.queued = false;
            }
            match self.take(&key, chunk) {
                Ok(true) => {
                    self.queue(&key);
                    return Ok(Turn::Chunk);
                }
                Ok(false) => {}
                // The others go on; this one has its turn again with the next look at all of them.
                Err(error) => {
                    self.met.errors += 1;
                    if self.complaint.allow(key, Instant::now()).is_some() {
                        warn!(error = format!("{error:#}"), "a stream can't be read");
                    }
                }
            }
        }
        if let Some(watch) = &mut self.watch
            && !watch.armed()
            && watch.arm()
        {
            // What came before the watch stood is found by one more look.
            return Ok(Turn::Idle(Duration::ZERO));
        }
        Ok(Turn::Idle(POLL))
    }

    /// Takes the next part of the oldest epoch of a stream that has one; false: none has.
    fn take(&mut self, key: &StreamKey, chunk: &mut Chunk) -> anyhow::Result<bool> {
        let Some(stream) = self.streams.get_mut(key) else {
            return Ok(false);
        };
        let mut at = 0;
        while let Some(follow) = stream.follows.get_mut(at) {
            if !follow.has_work() {
                at += 1;
                continue;
            }
            let place = follow.key(key);
            let took = follow.take(&self.data, key, &mut self.readers, chunk, &mut self.met)?;
            match took {
                Took::Nothing => at += 1,
                Took::Part | Took::Last => {
                    let done = took == Took::Last;
                    let store = (!done).then(|| follow.place());
                    if done {
                        self.readers.forget(&place);
                        stream.follows.remove(at);
                    }
                    self.marks.places.insert(place, store);
                    return Ok(true);
                }
            }
        }
        if stream.more && stream.follows.len() < look::MAX_FOLLOWS {
            // There is room for more: the next look finds them.
            stream.ledger = 0;
            self.looks.streams = None;
        }
        Ok(false)
    }

    pub(super) fn mark(&mut self, batch: &mut Batch) {
        batch.places.append(&mut self.marks.places);
        batch.watermarks.append(&mut self.marks.watermarks);
        batch.values.append(&mut self.marks.values);
    }

    pub(super) async fn changed(&mut self) {
        match &self.watch {
            Some(watch) if watch.armed() => watch.changed().await,
            _ => std::future::pending().await,
        }
    }

    pub(super) fn standing(&self) -> Standing {
        let follows = self.streams.values().flat_map(|stream| &stream.follows);
        Standing {
            streams: self.streams.len() as u64,
            epochs: follows.clone().count() as u64,
            lag_bytes: follows.map(Follow::lag).sum(),
        }
    }

    fn queue(&mut self, key: &StreamKey) {
        if let Some(stream) = self.streams.get_mut(key)
            && !std::mem::replace(&mut stream.queued, true)
        {
            self.ready.push_back(key.clone());
        }
    }
}

/// Whether no worker has anything in the archive.
fn is_empty(data: &Path) -> bool {
    let entries = std::fs::read_dir(data.join("archive"));
    let names = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name());
    !names
        .into_iter()
        .any(|name| !name.as_encoded_bytes().starts_with(b"."))
}

/// Time between two looks without a word from the watch.
const POLL: Duration = Duration::from_millis(500);

/// Time between two log lines about one stream.
const COMPLAINT: Duration = Duration::from_secs(60);

/// The name of the stored value that says that there was a first start.
pub(crate) const BEGUN: &str = "begun";
