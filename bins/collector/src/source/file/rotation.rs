//! Docker's rotation as one finds it: `LOG`, `LOG.1` or `LOG.1.gz`, `LOG.2`, …, from new to old, and on the move.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
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
///
/// One look can come between two steps of a rotation, and miss a file on its way from number to number or meet it
/// twice. What two looks in turn see is there.
pub(super) fn newer_than(live: &Path, known: Option<&LogFile>) -> io::Result<Found> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    let mut before: Option<Found> = None;
    for attempt in 0..ATTEMPTS {
        before = match look(live, known) {
            Ok(found) if before.is_some_and(|before| found.agrees(&before)) => return Ok(found),
            Ok(found) => Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                last = error;
                None
            }
            Err(error) => return Err(error),
        };
        if attempt > 2 {
            std::thread::yield_now();
        }
    }
    Err(last)
}

/// One look, from the live file on.
fn look(live: &Path, known: Option<&LogFile>) -> io::Result<Found> {
    let mut found = Found {
        files: Vec::new(),
        met: false,
    };
    found.add(LogFile::open(live, false)?, known);
    for number in numbers(live)? {
        if found.met {
            break;
        }
        if let Some(file) = rotated(live, number)? {
            found.add(file, known);
        }
    }
    Ok(found)
}

impl Found {
    fn add(&mut self, file: LogFile, known: Option<&LogFile>) {
        if known.is_some_and(|known| known.same(&file)) {
            self.met = true;
        } else if !self.files.iter().any(|seen| seen.same(&file)) {
            self.files.push(file);
        }
    }

    fn agrees(&self, other: &Self) -> bool {
        let pairs = || self.files.iter().zip(&other.files);
        self.met == other.met
            && self.files.len() == other.files.len()
            && pairs().all(|(one, other)| one.same(other))
    }
}

/// The numbers of the rotated files, rising. Docker leaves one out between two steps of a rotation, and for good where
/// it died there.
fn numbers(live: &Path) -> io::Result<BTreeSet<u32>> {
    let (Some(folder), Some(name)) = (live.parent(), live.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut numbers = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?.file_name();
        let number = entry.as_bytes().strip_prefix(name.as_bytes());
        numbers.extend(number.and_then(number_of));
    }
    Ok(numbers)
}

/// `.1` or `.1.gz`, as Docker writes it.
fn number_of(suffix: &[u8]) -> Option<u32> {
    let digits = suffix.strip_prefix(b".")?;
    let digits = digits.strip_suffix(b".gz").unwrap_or(digits);
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (1..=MAX_FILES).contains(&number).then_some(number)
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
