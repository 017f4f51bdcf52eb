//! The witness of the last commit window, in the archive's own folder: what the index is going to say, durable before
//! the index says it.
//!
//! # Why nothing acknowledged is ever cut
//!
//! After a crash bytes stand in segments that the index does not know. They were not acknowledged, and their sender
//! has them, if the index is the one that the last acknowledgement waited for; if it is an older copy that somebody
//! put back, they may be acknowledged ones. The index alone can't tell.
//!
//! Windows are numbered. Window `n` becomes durable in this order: segments, ledgers, witness `n`, index `n`, and only
//! then it is acknowledged. Of the witness the last two records are kept, so that a torn one leaves the one before.
//! So when the archive is opened, and the index says `i` and the newest whole record `w`:
//!
//! - `w = i`: the last window that was acknowledged is at most `i`. What lies beyond the index belongs to a window that
//!   never had a witness, and was not acknowledged: it is cut, into quarantine.
//! - `w = i + 1`: either a crash came between witness and index, or the index is a copy that is older by one window.
//!   It makes no difference: the record holds what the index has to say, and its segments and ledgers were synced
//!   before it. It is written into the index, and the case is `w = i`.
//! - anything else, or no whole record: the index is not the one that belongs to these segments. It is made again from
//!   ledgers and segments, and nothing of a `.log` epoch is cut at all: every acknowledged byte is in a segment. At
//!   worst a few bytes are kept that were never acknowledged; they are the source's, or, after a power loss besides,
//!   what the disk made of them, which the sender finds when it compares the tail.
//!
//! An index that was made again goes on with a number far from those before, at random, so that no older copy has one
//! that fits, even when the newest record was lost.
//!
//! Not covered is one thing: an older index put back *and* the newest record gone, before any start has seen either.
//! The index and the record before may then agree.
//!
//! A window that failed is void: its record, if it may have been written, is overruled by a newer record with the
//! number of the window before, in a new file, before anything is cut. Such a record can't say what the index has to
//! say: with an index that is older by one, it counts as "anything else". A window that failed at the index stands
//! already.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;

use serde::{Deserialize, Serialize};

use crate::dir::Dir;
use crate::entry::Change;

/// What is known of the last window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Grows with each record.
    pub(crate) seq: u64,
    /// The window's number; of a void one, the number of the window before.
    pub(crate) window: i64,
    /// Unix milliseconds.
    pub(crate) at_ms: i64,
    /// What the window changes in the index; none: only the number is known, of an index that says it already.
    pub(crate) change: Option<Change>,
}

/// The two files, written in turn.
#[derive(Debug)]
pub(crate) struct Witness {
    seq: u64,
    files: [Option<File>; 2],
}

impl Witness {
    /// Reads the newest whole record.
    pub(crate) fn open(root: &Dir) -> io::Result<(Witness, Option<Record>)> {
        let mut newest: Option<Record> = None;
        let mut files = [None, None];
        for (name, slot) in NAMES.into_iter().zip(&mut files) {
            let mut file = match root.open_file(name, true) {
                Ok(file) => file,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            };
            if let Some(record) = read(&mut file)?
                && newest.as_ref().is_none_or(|known| known.seq < record.seq)
            {
                newest = Some(record);
            }
            *slot = Some(file);
        }
        let seq = newest.as_ref().map_or(0, |record| record.seq);
        Ok((Witness { seq, files }, newest))
    }

    /// Makes a record durable. After an error it may be there or not.
    pub(crate) fn write(
        &mut self,
        root: &Dir,
        window: i64,
        at_ms: i64,
        change: &Change,
    ) -> io::Result<()> {
        let seq = self.seq + 1;
        let at = slot(seq);
        let Some(file) = &self.files[at] else {
            return self.write_new(root, window, at_ms, Some(change));
        };
        let bytes = encode(seq, window, at_ms, Some(change))?;
        // Whatever becomes of this write, the next one goes elsewhere.
        self.seq = seq;
        let written = file.write_all_at(&bytes, 0).and_then(|()| file.sync_data());
        if written.is_err() {
            self.files[at] = None;
        }
        written
    }

    /// Makes a record durable that says no more than the number of the last window that stands; it overrules all
    /// others.
    pub(crate) fn overrule(&mut self, root: &Dir, window: i64, at_ms: i64) -> io::Result<()> {
        self.write_new(root, window, at_ms, None)?;
        // Those that are overruled must not count again, whatever becomes of this one.
        let other = slot(self.seq + 1);
        self.files[other] = None;
        root.remove_file(NAMES[other])?;
        root.sync()
    }

    /// Writes a new file, which takes the place of the old one.
    fn write_new(
        &mut self,
        root: &Dir,
        window: i64,
        at_ms: i64,
        change: Option<&Change>,
    ) -> io::Result<()> {
        let seq = self.seq + 1;
        let bytes = encode(seq, window, at_ms, change)?;
        let at = slot(seq);
        root.remove_file(NEW)?;
        let file = root.create_file(NEW)?;
        file.write_all_at(&bytes, 0)?;
        file.sync_all()?;
        root.rename(NEW, NAMES[at])?;
        root.sync()?;
        self.seq = seq;
        self.files[at] = Some(file);
        Ok(())
    }
}

fn slot(seq: u64) -> usize {
    usize::from(seq % 2 == 1)
}

/// A line with length and hash, the record, and spaces up to a multiple of [`BLOCK`], so that the file seldom grows and
/// syncing it seldom has to sync its length.
fn encode(seq: u64, window: i64, at_ms: i64, change: Option<&Change>) -> io::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Borrowed<'a> {
        seq: u64,
        window: i64,
        at_ms: i64,
        change: Option<&'a Change>,
    }
    let body = serde_json::to_vec(&Borrowed {
        seq,
        window,
        at_ms,
        change,
    })?;
    let mut bytes = format!("{MAGIC} {:010} {}\n", body.len(), blake3::hash(&body)).into_bytes();
    bytes.extend_from_slice(&body);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), b' ');
    Ok(bytes)
}

/// A whole record, or `None`.
fn read(file: &mut File) -> io::Result<Option<Record>> {
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(decode(&bytes))
}

fn decode(bytes: &[u8]) -> Option<Record> {
    let line = bytes.get(..HEADER)?;
    let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (len, hash) = line
        .strip_prefix(MAGIC)?
        .strip_prefix(' ')?
        .split_once(' ')?;
    let body = bytes.get(HEADER..HEADER.checked_add(len.parse().ok()?)?)?;
    if blake3::hash(body).to_hex().as_str() != hash {
        return None;
    }
    serde_json::from_slice(body).ok()
}

const NAMES: [&str; 2] = [".window-0", ".window-1"];
const NEW: &str = ".window-new";
const MAGIC: &str = "logferry window 1";
/// Length of the first line.
const HEADER: usize = MAGIC.len() + 1 + 10 + 1 + 64 + 1;
const BLOCK: usize = 4096;
/// Most bytes of a record: a window of the most connections has less than 2 MiB.
const MOST: u64 = 256 << 20;

#[cfg(test)]
mod tests;
