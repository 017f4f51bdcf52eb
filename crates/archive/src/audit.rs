//! Offline reading for commands: the gaps of an archive, and what is damaged in it. A listener may be using it.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::dir::Dir;
use crate::facts::LEDGER;
use crate::name::{ARCHIVE_DIR, EpochId, StreamKey};
use crate::recover::INDEX;
use crate::told::{EpochTold, Told};

mod chain;
mod closed;
mod epoch;
mod verify;

/// One gap: bytes that will never come. As JSON it is a line of `gaps --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GapLine {
    /// The worker.
    pub worker: String,
    /// Its stream.
    pub stream: String,
    /// The epoch, where known.
    pub epoch: Option<EpochId>,
    /// The offset of the first byte missing.
    pub from: Option<u64>,
    /// The offset behind the last byte missing.
    pub to: Option<u64>,
    /// How many bytes are missing, where known.
    pub bytes: Option<u64>,
    /// Why.
    pub cause: String,
    /// When it was recorded: RFC 3339, UTC.
    pub at: String,
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment, or the ledger.
    pub segment: PathBuf,
    /// Where: in a segment an offset of its epoch, in a ledger a position in the file.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Damage {
            segment,
            offset,
            what,
        } = self;
        write!(f, "{}: offset {offset}: {what}", segment.display())
    }
}

/// Which streams to look at: all that match.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scope<'a> {
    /// Only this worker.
    pub worker: Option<&'a str>,
    /// Only streams of this name.
    pub stream: Option<&'a str>,
}

impl Scope<'_> {
    fn takes(&self, key: &StreamKey) -> bool {
        self.worker.is_none_or(|worker| worker == key.worker())
            && self.stream.is_none_or(|stream| stream == key.stream())
    }
}

/// Tells every gap that the ledgers record, stream by stream; adjacent gaps with one cause are one. A roll that lost
/// bytes, or may have, is a gap without an end.
///
/// # Errors
/// A directory or ledger that can't be read.
pub fn gaps(data: &Path, scope: Scope<'_>, each: &mut dyn FnMut(GapLine)) -> io::Result<()> {
    for key in streams(data)? {
        if !scope.takes(&key) {
            continue;
        }
        let told = Told::read(&stream_path(data, &key).join(LEDGER))?;
        for id in &told.order {
            if let Some(epoch) = told.epochs.get(id) {
                epoch_gaps(&key, *id, epoch, each);
            }
        }
    }
    Ok(())
}

fn epoch_gaps(key: &StreamKey, id: EpochId, told: &EpochTold, each: &mut dyn FnMut(GapLine)) {
    let line = |from: u64, to: Option<u64>, bytes: Option<u64>, cause: &str, at: &str| GapLine {
        worker: key.worker().to_owned(),
        stream: key.stream().to_owned(),
        epoch: Some(id),
        from: Some(from),
        to,
        bytes,
        cause: cause.to_owned(),
        at: at.to_owned(),
    };
    let mut last: Option<GapLine> = None;
    for (base, gap) in &told.gaps {
        let to = base.saturating_add(gap.len);
        match &mut last {
            Some(known) if known.to >= Some(*base) && known.cause == gap.cause => {
                known.to = known.to.max(Some(to));
                known.bytes = known.to.zip(known.from).map(|(to, from)| to - from);
                known.at.clone_from(&gap.at);
            }
            _ => {
                let next = line(*base, Some(to), Some(gap.len), &gap.cause, &gap.at);
                last.replace(next).into_iter().for_each(&mut *each);
            }
        }
    }
    last.into_iter().for_each(&mut *each);
    for (end, roll) in told.rolls() {
        if roll.lost != Some(0) {
            each(line(end, None, roll.lost, &roll.cause, &roll.at));
        }
    }
}

/// Checks ledgers and segments against each other, and tells everything that is damaged. What a running listener has
/// not committed yet, and what a crash left of a window, is no damage.
///
/// A segment is known by the hashes of its pieces of a mebibyte (more, if it is longer than 512 MiB): the offset told
/// is that of the first piece that is not what was closed. A segment of one piece is known by that.
///
/// # Errors
/// What can't be read at all; damage is told, not returned.
pub async fn verify(data: &Path, scope: Scope<'_>, each: &mut dyn FnMut(Damage)) -> io::Result<()> {
    let mut index = verify::Known::open(data, each).await;
    let mut keys = streams(data)?;
    keys.extend(index.streams());
    keys.sort_unstable();
    keys.dedup();
    for key in keys.iter().filter(|key| scope.takes(key)) {
        verify::stream(data, key, &mut index, each).await?;
    }
    Ok(())
}

/// Streams that have a directory, in order. None before the archive was used for the first time.
fn streams(data: &Path) -> io::Result<Vec<StreamKey>> {
    let root = match Dir::root(&data.join(ARCHIVE_DIR)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound && !data.join(INDEX).exists() => {
            return Ok(Vec::new());
        }
        root => root?,
    };
    let mut keys = Vec::new();
    for worker in root.names()? {
        let Ok(dir) = root.open(&worker) else {
            continue;
        };
        for stream in dir.names()? {
            if let Ok(key) = StreamKey::new(&worker, &stream)
                && dir.open(&stream).is_ok()
            {
                keys.push(key);
            }
        }
    }
    Ok(keys)
}

fn stream_path(data: &Path, key: &StreamKey) -> PathBuf {
    data.join(ARCHIVE_DIR).join(key.worker()).join(key.stream())
}
