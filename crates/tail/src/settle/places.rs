//! One epoch and one file: whether they belong together.

use std::collections::VecDeque;
use std::ops::Range;

use crate::entry::{Entry, MAKING_NS, Part, Stage};
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

/// It could not be read when it was found, and nothing of it was ever seen.
pub(crate) fn unread(entry: &Entry) -> bool {
    entry.source.is_none()
        && entry.unproven()
        && entry.lost == Some(Cause::Unreadable)
        && !entry.sealed
}

/// Empty when it was over, or not readable: only its inode is left to know it by. With `ask` what can be read again stays
/// where it is, so that a receiver is asked about it.
pub(super) fn by_inode(
    entry: &mut Entry,
    place: &mut Option<usize>,
    files: &mut [Option<Source>],
    (ask, now): (bool, Now),
) -> Result<(), TailError> {
    if entry.roll != Stage::Done && entry.lost != Some(Cause::Unreadable) {
        return Ok(());
    }
    let Some(at) = files.iter().position(|file| born_as(file, entry)) else {
        return Ok(());
    };
    *place = Some(at);
    if ask && unread(entry) && files[at].as_ref().is_some_and(Source::is_readable) {
        return Ok(());
    }
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
        // The file that it was packed from is deleted: to hold it open would keep its place on the disk.
        (entry.sealed, entry.source) = (true, None);
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

/// The place of the entry's file: at its old inode first, else the oldest of these that holds what it should. One that
/// has more in common with another entry of the chain is that one's copy.
pub(super) fn find(
    chain: &VecDeque<Entry>,
    index: usize,
    files: &mut [Option<Source>],
    range: Range<usize>,
) -> Result<Option<usize>, TailError> {
    let entry = &chain[index];
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
            Ok(true) if Some(at) != old && entry.weak() && is_another(chain, index, file) => {}
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

/// Whether the file begins with more of another entry than of this one, of which little is known.
fn is_another(chain: &VecDeque<Entry>, index: usize, file: &mut Source) -> bool {
    let Ok(first) = file.piece(0, PRINT) else {
        return false;
    };
    let own = chain[index].shares(&first);
    chain.iter().any(|other| other.shares(&first) > own)
}

/// Which of the files, but the live one, is the longest that is the beginning of the entry's.
pub(super) fn short(
    entry: &Entry,
    files: &mut [Option<Source>],
    live: Option<usize>,
    near: bool,
) -> Result<Option<(usize, Part)>, TailError> {
    let mut best: Option<(usize, Part, u64)> = None;
    for (at, file) in files.iter_mut().enumerate() {
        let Some(file) = file.as_mut().filter(|_| live != Some(at)) else {
            continue;
        };
        if matches!(file.kind, Kind::Alien(_)) {
            continue;
        }
        let path = file.path.clone();
        let part = entry
            .begins_with(file)
            .map_err(TailError::unreadable(path))?;
        let Some(part) = part.filter(|part| *part == Part::Read && !near || entry.is_near(file))
        else {
            continue;
        };
        let length = file.length_hint();
        if best.is_none_or(|(.., longest)| length > longest) {
            best = Some((at, part, length));
        }
    }
    Ok(best.map(|(at, part, _)| (at, part)))
}

/// Whether a file may still be in the making.
pub(super) fn is_young(file: &Source, now: Now) -> std::io::Result<bool> {
    Ok(now.wall_ns().saturating_sub(file.touched_ns()?) < MAKING_NS)
}

/// Whether all of `file` stands at the beginning of `live` as well, and it is a copy of it: one that may be in the making,
/// or one that says to be older than it is (`cp -p`). A file that was renamed is neither for long, and may begin as the
/// live one does, with a banner for example.
pub(crate) fn is_beginning(
    file: &mut Source,
    live: &mut Source,
    now: Now,
) -> std::io::Result<bool> {
    if !file.is_plain() || !live.is_plain() {
        return Ok(false);
    }
    let length = file.length()?;
    let aged = length >= PRINT as u64 && file.is_set_back()?;
    if !aged && !is_young(file, now)? {
        return Ok(false);
    }
    let head = file.piece(0, PRINT)?;
    if head.is_empty() || !live.equals(0, &head)? {
        return Ok(false);
    }
    let start = length.saturating_sub(PRINT as u64);
    let tail = file.piece(start, PRINT)?;
    live.equals(start, &tail)
}
