//! What a stream's ledger says: one function a kind of fact.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use offsets::{Fact, Ledger, LedgerEnd, LedgerError};
use serde_json::Value;

use crate::api::Print;
use crate::entry::{Entry, LedgerMark};
use crate::name::EpochId;
use crate::pieces::Sum;

fn fact(kind: &str, epoch: EpochId, base: u64) -> Fact {
    Fact {
        kind: kind.to_owned(),
        epoch: Some(epoch.to_string()),
        base: Some(base),
        ..Fact::default()
    }
}

fn with(mut fact: Fact, more: impl IntoIterator<Item = (&'static str, Value)>) -> Fact {
    let more = more.into_iter();
    fact.more
        .extend(more.map(|(name, value)| (name.to_owned(), value)));
    fact
}

/// An epoch begins at its base.
pub(crate) fn epoch(entry: &Entry) -> Fact {
    let id = |id: Option<EpochId>| id.map(|id| id.to_string()).into();
    with(
        fact(EPOCH, entry.epoch, entry.base),
        [
            ("form", entry.form.extension().into()),
            ("after", id(entry.after)),
            ("of", id(entry.of)),
        ],
    )
}

/// A segment begins at `base`.
pub(crate) fn opened(epoch: EpochId, base: u64) -> Fact {
    fact(OPENED, epoch, base)
}

/// The segment at `base` is complete.
pub(crate) fn closed(epoch: EpochId, base: u64, len: u64, sum: &Sum) -> Fact {
    let closed = Fact {
        len: Some(len),
        blake3: Some(hex(&sum.hash)),
        ..fact(CLOSED, epoch, base)
    };
    if sum.pieces.is_empty() {
        return closed;
    }
    let pieces: String = sum.pieces.iter().map(hex).collect();
    with(
        closed,
        [("piece", sum.piece.into()), ("pieces", pieces.into())],
    )
}

/// Bytes from `base` on will never come.
pub(crate) fn gap(epoch: EpochId, base: u64, len: u64, cause: &str) -> Fact {
    let gap = Fact {
        len: Some(len),
        ..fact(GAP, epoch, base)
    };
    with(gap, [("cause", cause.into())])
}

/// The epoch ended, for now, and `next` follows.
pub(crate) fn rolled(
    epoch: EpochId,
    end: u64,
    next: EpochId,
    cause: &str,
    lost: Option<u64>,
) -> Fact {
    with(
        fact(ROLLED, epoch, end),
        [
            ("next", next.to_string().into()),
            ("cause", cause.into()),
            ("lost", lost.into()),
        ],
    )
}

/// The epoch ended for good.
pub(crate) fn sealed(epoch: EpochId, end: u64) -> Fact {
    fact(SEALED, epoch, end)
}

/// The epoch goes on at its end, with its open segment if it has one: what was told of it from there on is void, but
/// for its beginning, its roll and its seal if they stand.
pub(crate) fn recovery(entry: &Entry) -> Fact {
    let mark = &entry.mark;
    with(
        fact(RECOVERY, entry.epoch, mark.end),
        [
            ("segment", mark.segment.map(|(base, _)| base).into()),
            ("told", mark.told.into()),
            ("rolled", mark.rolled.map(|next| next.to_string()).into()),
            ("sealed", mark.sealed.into()),
        ],
    )
}

/// A closed segment was removed. What is known of the epoch stays known.
pub(crate) fn removed(epoch: EpochId, base: u64, len: u64, why: &str, of: Option<&Entry>) -> Fact {
    let removed = Fact {
        len: Some(len),
        ..fact(REMOVED, epoch, base)
    };
    let print = |print: Print| serde_json::to_value(print).unwrap_or_default();
    let prints = of.map(|entry| {
        [
            ("end", entry.mark.end.into()),
            ("head", print(entry.mark.head)),
            ("tail", print(entry.mark.tail)),
            ("in_line", entry.mark.in_line.into()),
        ]
    });
    with(
        with(removed, [("cause", why.into())]),
        prints.into_iter().flatten(),
    )
}

/// The ledger does not go on from the line that the index knew as its last.
pub(crate) fn broken(expected: Option<&LedgerMark>) -> Fact {
    let broken = Fact {
        kind: RECOVERY.to_owned(),
        ..Fact::default()
    };
    with(
        broken,
        [
            (EXPECTED, expected.map(|mark| hex(&mark.head)).into()),
            ("expected_bytes", expected.map(|mark| mark.len).into()),
        ],
    )
}

/// Gives a damaged ledger another name, in the same directory.
fn put_aside(stream: &Path, path: &Path, at: SystemTime) -> Result<(), LedgerError> {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let aside = stream.join(format!("{LEDGER}.damaged-{}", since.as_millis()));
    tracing::error!(path = %aside.display(), "damaged ledger put aside");
    std::fs::rename(path, aside).map_err(|source| LedgerError::Io {
        path: path.to_owned(),
        source,
    })
}

/// Appends facts to the ledger of the stream whose directory is `stream`; where it stands then. `end` is where it was
/// left, if it was written before, and where it is left now: what it holds is read only once.
pub(crate) fn write(
    stream: &Path,
    end: &mut Option<LedgerEnd>,
    facts: &[Fact],
    at: SystemTime,
) -> Result<LedgerMark, LedgerError> {
    let path = stream.join(LEDGER);
    let left = end.take();
    let resumed = left.as_ref().map(|left| Ledger::resume(&path, left));
    let mut ledger = match resumed.transpose()?.flatten() {
        Some(ledger) => ledger,
        None => {
            let mut ledger = open(stream, &path, at)?;
            if let Some(left) = left.filter(|left| left.head != ledger.head()) {
                tracing::error!(path = %path.display(), "ledger was changed by somebody else");
                ledger.append(&[broken(Some(&mark(&path, &left)?))], at)?;
            }
            ledger
        }
    };
    ledger.append(facts, at)?;
    let now = ledger.end();
    let mark = mark(&path, &now)?;
    *end = Some(now);
    Ok(mark)
}

fn open(stream: &Path, path: &Path, at: SystemTime) -> Result<Ledger, LedgerError> {
    let opened = match Ledger::open(path) {
        // Its end is no ledger's. It must not keep all streams from going on: it is kept beside a new one.
        Err(LedgerError::Damaged { .. }) => {
            put_aside(stream, path, at)?;
            let mut opened = Ledger::open(path)?;
            opened.ledger.append(&[broken(None)], at)?;
            opened
        }
        opened => opened?,
    };
    if let Some(torn) = &opened.torn {
        tracing::warn!(path = %torn.quarantine.display(), bytes = torn.len, "torn ledger line put aside");
    }
    Ok(opened.ledger)
}

fn mark(path: &Path, end: &LedgerEnd) -> Result<LedgerMark, LedgerError> {
    let head = blake3::Hash::from_hex(&end.head).map_err(|_| LedgerError::Damaged {
        path: path.to_owned(),
        line: 0,
        what: "its head is no hash",
    })?;
    Ok(LedgerMark {
        head: *head.as_bytes(),
        len: end.len,
    })
}

fn hex(hash: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*hash).to_hex().to_string()
}

/// The ledger's name, beside the epochs.
pub(crate) const LEDGER: &str = "ledger.jsonl";

/// Only a fact about a broken ledger has this field.
pub(crate) const EXPECTED: &str = "expected_head";

pub(crate) const EPOCH: &str = "epoch";
pub(crate) const OPENED: &str = "opened";
pub(crate) const CLOSED: &str = "closed";
pub(crate) const GAP: &str = "gap";
pub(crate) const ROLLED: &str = "rolled";
pub(crate) const SEALED: &str = "sealed";
pub(crate) const RECOVERY: &str = "recovery";
pub(crate) const REMOVED: &str = "removed";
