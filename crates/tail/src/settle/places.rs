//! One epoch and one file: whether they belong together.

use std::ops::Range;

use crate::entry::{Entry, Stage};
use crate::epoch::Now;
use crate::error::TailError;
use crate::print::PRINT;
use crate::source::{Kind, Source};
use crate::step::{Cause, RollCause};

pub(super) fn changed_since(file: &Option<Source>, since: i64) -> bool {
    file.as_ref()
        .is_some_and(|file| file.ident.modified_ns >= since)
}

/// A file at the entry's inode, with its birth time.
pub(super) fn born_as(file: &Option<Source>, entry: &Entry) -> bool {
    file.as_ref()
        .is_some_and(|file| file.ident.same_birth(&entry.ident))
}

/// Nothing was ever seen of it, and it waits for a file.
pub(crate) fn nameless(entry: &Entry) -> bool {
    entry.source.is_none()
        && entry.unproven()
        && entry.lost.is_none()
        && !entry.sealed
        && entry.roll != Stage::Done
}

/// Empty when it was over, or not readable: only its inode is left to know it by.
pub(super) fn by_inode(
    entry: &mut Entry,
    place: &mut Option<usize>,
    files: &mut [Option<Source>],
    now: Now,
) -> Result<(), TailError> {
    if entry.roll != Stage::Done && entry.lost != Some(Cause::Unreadable) {
        return Ok(());
    }
    let Some(at) = files.iter().position(|file| born_as(file, entry)) else {
        return Ok(());
    };
    *place = Some(at);
    if let Some(source) = files[at].take()
        && source.is_plain()
        && !entry.sealed
    {
        let path = source.path.clone();
        entry
            .attach(source, now)
            .map_err(TailError::unreadable(path))?;
    }
    Ok(())
}

/// Reads from `source`, which holds what the entry's file did, unless there is nothing more to read; says whether it
/// does. `last`: it is the live file, and the entry the newest.
pub(super) fn recognised(
    entry: &mut Entry,
    source: Source,
    last: bool,
    now: Now,
) -> Result<bool, TailError> {
    let length = source.length_hint();
    if entry.sealed || (entry.roll == Stage::Done && !source.is_plain() && entry.sent == length) {
        entry.sealed = true;
    } else if entry.source.is_none()
        || last
        // It replaced ours, and was rotated then: whoever writes on writes there.
        || length > entry.size
        || (source.is_plain() && length == entry.size)
    {
        let path = source.path.clone();
        entry
            .attach(source, now)
            .map_err(TailError::unreadable(path))?;
        entry.cause = (entry.roll == Stage::Done).then_some(RollCause::Rotated);
        return Ok(true);
    }
    Ok(false)
}

/// The place of the entry's file: at its old inode first, else the oldest of these that holds what it should.
pub(super) fn find(
    entry: &Entry,
    files: &mut [Option<Source>],
    range: Range<usize>,
) -> Result<Option<usize>, TailError> {
    let old = files.iter().position(|file| born_as(file, entry));
    for at in old.into_iter().chain(range) {
        let Some(file) = files[at].as_mut() else {
            continue;
        };
        // Not readable is not another one: wait until it is.
        if let (true, Kind::Alien(Some(error))) =
            (Some(at) == old && entry.roll != Stage::Done, &file.kind)
        {
            let source = std::io::Error::new(error.kind(), error.to_string());
            return Err(TailError::unreadable(&file.path)(source));
        }
        match entry.matches(file) {
            Ok(true) => return Ok(Some(at)),
            Ok(false) => {}
            // A damaged copy is one all the same, if its head is right; reading it will say what is missing.
            Err(_) if !file.is_plain() => {
                if entry.head_matches(file) {
                    return Ok(Some(at));
                }
            }
            Err(error) => return Err(TailError::unreadable(&file.path)(error)),
        }
    }
    Ok(None)
}

/// Whether all of `file`, which was written a moment ago, stands at the beginning of `live` as well.
pub(crate) fn is_beginning(
    file: &mut Source,
    live: &mut Source,
    now: Now,
) -> std::io::Result<bool> {
    let young = now.wall_ns().saturating_sub(file.ident.modified_ns) < MAKING_NS;
    if !young || !file.is_plain() || !live.is_plain() {
        return Ok(false);
    }
    let length = file.length()?;
    let head = file.piece(0, PRINT)?;
    if head.is_empty() || !live.equals(0, &head)? {
        return Ok(false);
    }
    let start = length.saturating_sub(PRINT as u64);
    let tail = file.piece(start, PRINT)?;
    live.equals(start, &tail)
}

/// So long after its last change a file may be a copy that is being made.
const MAKING_NS: i64 = 60_000_000_000;
