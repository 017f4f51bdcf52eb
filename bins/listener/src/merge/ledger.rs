//! What a stream's ledger says of its epochs: in which order they were opened, and which of them are over.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use archive::{EpochId, StreamKey};
use serde::{Deserialize, Deserializer};

/// A fact that the merger goes by. It may be one of a window that never stood, or stands only later: that an epoch is
/// sealed is for its owner to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fact {
    /// An epoch that starts at `base`.
    Opened { epoch: EpochId, base: u64 },
    /// The epoch's file was renamed or truncated, and its successor is being read; it may go on all the same.
    Rolled { epoch: EpochId, end: u64 },
    /// The epoch goes on at `end`: what was told of it from there on is void. A roll at `end` itself may stand.
    Recovered {
        epoch: EpochId,
        end: u64,
        rolled: bool,
    },
    /// Bytes that will never come, up to `end`.
    Gap { epoch: EpochId, end: u64 },
}

/// The streams that have a ledger, and how long it is. What can't be read is as if it were not there: it is seen again
/// when the stream is told of.
pub(super) fn lengths(data: &Path) -> HashMap<StreamKey, u64> {
    let mut lengths = HashMap::new();
    let names = |dir: &Path| {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok())
    };
    let archive = data.join("archive");
    for worker in names(&archive) {
        for stream in names(&archive.join(&worker)) {
            if let Ok(key) = StreamKey::new(&worker, &stream)
                && let Ok(found) = fs::metadata(path(data, &key))
            {
                lengths.insert(key, found.len());
            }
        }
    }
    lengths
}

fn path(data: &Path, key: &StreamKey) -> PathBuf {
    let stream = data.join("archive").join(key.worker()).join(key.stream());
    stream.join("ledger.jsonl")
}

/// A part of a ledger.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// Facts, each with the position of its line.
    pub(super) facts: Vec<(u64, Fact)>,
    /// The position behind the part.
    pub(super) to: u64,
    /// Whether that is where the ledger ended.
    pub(super) whole: bool,
}

/// Reads the next part of a stream's ledger, at most [`PAGE`] octets of whole lines. What it gives is durable.
///
/// # Errors
/// Any failure to open, sync or read; a ledger that is not there is empty.
pub(super) fn read(data: &Path, key: &StreamKey, from: u64) -> io::Result<Page> {
    let path = path(data, key);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Ok(Page {
                to: from,
                whole: true,
                ..Page::default()
            });
        }
        Err(e) => return Err(e),
    };
    let len = file.metadata()?.len();
    if len < from {
        // Restored from a copy: what it holds was taken before.
        tracing::error!(path = %path.display(), offset = from, len, "ledger is shorter than what was merged of it");
        return Ok(Page {
            to: len,
            whole: true,
            ..Page::default()
        });
    }
    // A line that a power loss takes back must not have been taken.
    file.sync_data()?;
    let want = (len - from).min(PAGE);
    let mut octets = vec![0; usize::try_from(want).unwrap_or(0)];
    file.read_exact_at(&mut octets, from)?;
    let mut page = parse(&octets, from);
    if page.to == from && want == PAGE {
        tracing::error!(path = %path.display(), offset = from, "ledger line is too long, passed over");
        page.to = from + want;
    }
    page.whole = from + want == len;
    Ok(page)
}

/// Reads whole lines; what is no fact for us, or no fact at all, is passed over.
pub(super) fn parse(octets: &[u8], from: u64) -> Page {
    let mut page = Page {
        to: from,
        ..Page::default()
    };
    for line in octets.split_inclusive(|&b| b == b'\n') {
        if !line.ends_with(b"\n") {
            break;
        }
        if let Some(fact) = fact(line) {
            page.facts.push((page.to, fact));
        }
        page.to += line.len() as u64;
    }
    page
}

#[derive(Deserialize)]
struct Line<'a> {
    kind: &'a str,
    epoch: Option<&'a str>,
    base: Option<u64>,
    len: Option<u64>,
    /// Of a recovery the epoch that followed: none did, or an older version did not say so.
    #[serde(default, deserialize_with = "said")]
    rolled: Option<Option<&'a str>>,
}

/// What a field says that is there, also if that is nothing.
fn said<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Option<&'de str>>, D::Error> {
    Option::deserialize(field).map(Some)
}

fn fact(line: &[u8]) -> Option<Fact> {
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    let epoch = EpochId::parse(line.epoch?).ok()?;
    match line.kind {
        "epoch" => Some(Fact::Opened {
            epoch,
            base: line.base.unwrap_or(0),
        }),
        "rolled" => Some(Fact::Rolled {
            epoch,
            end: line.base?,
        }),
        "recovery" => Some(Fact::Recovered {
            epoch,
            end: line.base?,
            rolled: line.rolled != Some(None),
        }),
        "gap" => Some(Fact::Gap {
            epoch,
            end: line.base?.checked_add(line.len?)?,
        }),
        _ => None,
    }
}

/// Most octets of a ledger that are read at once: about eight hundred facts, and more than one line may have.
const PAGE: u64 = 256 << 10;

#[cfg(test)]
mod tests;
