//! Docker's rotation as one finds it: `LOG`, `LOG.1` or `LOG.1.gz`, `LOG.2`, …, from new to old, and on the move.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::input::LogFile;

/// Rotated files looked at; Docker's `max-file` is seldom over ten.
const MAX_FILES: u32 = 4096;

/// Attempts to see all files between two steps of a rotation, which takes well under a millisecond.
const ATTEMPTS: u32 = 20;

/// The files of a container's log from new to old, all open.
#[derive(Debug)]
pub(super) struct Found {
    /// Those newer than the file that was looked for, or all.
    pub(super) files: Vec<LogFile>,
    /// Whether the file that was looked for is there.
    pub(super) met: bool,
}

/// Lists the files that are newer than `known`, or all of them.
pub(super) fn newer_than(live: &Path, known: Option<&LogFile>) -> io::Result<Found> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for attempt in 0..ATTEMPTS {
        match look(live, known) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => last = error,
            Err(error) => return Err(error),
        }
        if attempt > 2 {
            std::thread::yield_now();
        }
    }
    Err(last)
}

/// One look; `None` if a rotation passed meanwhile. Files move to higher numbers only, and the look goes the same
/// way, so that at most the newest ones are missed: then the first two have changed.
fn look(live: &Path, known: Option<&LogFile>) -> io::Result<Option<Found>> {
    let is_known = |file: &LogFile| known.is_some_and(|known| known.same(file));
    let newest = LogFile::open(live, false)?;
    if is_known(&newest) {
        return Ok(Some(Found {
            files: Vec::new(),
            met: true,
        }));
    }
    let mut files = vec![newest];
    let mut met = false;
    for number in 1..=MAX_FILES {
        match rotated(live, number)? {
            Some(file) if is_known(&file) => {
                met = true;
                break;
            }
            Some(file) => files.push(file),
            None => break,
        }
    }
    let unmoved = identity(live)?.is_some_and(|(device, inode)| files[0].is(device, inode));
    let first = match identity(&numbered(live, 1, false))? {
        Some(identity) => Some(identity),
        None => identity(&numbered(live, 1, true))?,
    };
    let first_is = |file: &LogFile| first.is_some_and(|(device, inode)| file.is(device, inode));
    let settled = match files.get(1) {
        Some(file) => first_is(file),
        None if met => known.is_some_and(first_is),
        None => first.is_none(),
    };
    Ok((unmoved && settled).then_some(Found { files, met }))
}

/// Opens a rotated file. While Docker compresses one, both forms are there and only the plain one is whole.
fn rotated(live: &Path, number: u32) -> io::Result<Option<LogFile>> {
    for compressed in [false, true] {
        match LogFile::open(&numbered(live, number, compressed), compressed) {
            Ok(file) => return Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn numbered(live: &Path, number: u32, compressed: bool) -> PathBuf {
    let mut name = OsString::from(live);
    name.push(format!(".{number}"));
    if compressed {
        name.push(".gz");
    }
    name.into()
}

/// Gives device and inode of a path, if there is something.
pub(super) fn identity(path: &Path) -> io::Result<Option<(u64, u64)>> {
    match fs::metadata(path) {
        Ok(meta) => Ok(Some((meta.dev(), meta.ino()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
