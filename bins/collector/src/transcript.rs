//! Where a recorded session's transcript is: looked up below DECNET's artifacts, whose deeper directories are written by
//! what attackers reach. So names are checked, symbolic links are not followed, and reading is bounded.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::FileExt as _},
    path::{Path, PathBuf},
};

use memchr::memmem;
use rustix::fs::{CWD, Dir, Mode, OFlags, openat};

/// Names that may be those of a transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    decky: String,
    service: String,
    sid: String,
}

/// Why there is no transcript.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Missing {
    /// A name that no transcript has.
    #[error("`{0}` is no name of a transcript's {1}")]
    Name(String, &'static str),
    /// No transcript holds the session.
    #[error("no transcript holds the session")]
    NotFound,
    /// A directory or file can't be read, or is a symbolic link.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
}

impl Place {
    /// Checks the names.
    ///
    /// # Errors
    /// The first that a transcript can't have.
    pub fn new(decky: &str, service: &str, sid: &str) -> Result<Place, Missing> {
        let lower = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit();
        let is_decky = decky.len() <= 63
            && decky.bytes().all(|octet| lower(octet) || octet == b'-')
            && !decky.starts_with('-')
            && !decky.is_empty();
        let is_sid = sid.len() == 36
            && sid
                .bytes()
                .all(|octet| octet.is_ascii_hexdigit() || octet == b'-');
        let name = |name: &str, what| {
            let shown = name.chars().take(MAX_SHOWN).collect::<String>();
            Missing::Name(shown.escape_default().to_string(), what)
        };
        if !is_decky {
            return Err(name(decky, "decky"));
        }
        if !["ssh", "telnet"].contains(&service) {
            return Err(name(service, "service"));
        }
        if !is_sid {
            return Err(name(sid, "session"));
        }
        Ok(Place {
            decky: decky.to_owned(),
            service: service.to_owned(),
            sid: sid.to_owned(),
        })
    }
}

/// Finds the newest `sessions-YYYY-MM-DD.jsonl` that holds the session. Looks at the last [`MAX_SHARDS`] files, and from
/// the end of each at what remains of [`MAX_OCTETS`]: a session that has just ended is there.
///
/// # Errors
/// There is none.
pub fn find(root: &Path, place: &Place) -> Result<PathBuf, Missing> {
    let mut path = root.to_owned();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // The root is the operator's: it may be a link.
    let mut directory = openat(CWD, root, flags, Mode::empty()).map_err(|e| at(&path, e))?;
    for part in [&place.decky, &place.service, TRANSCRIPTS] {
        path.push(part);
        let opened = openat(&directory, part, flags | OFlags::NOFOLLOW, Mode::empty());
        directory = opened.map_err(|e| at(&path, e))?;
    }
    let needle = format!("\"sid\":\"{}\"", place.sid);
    let mut budget = MAX_OCTETS;
    for name in shards(&directory).map_err(|e| at(&path, e))? {
        let file = path.join(&name);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = openat(&directory, &name, flags, Mode::empty()).map_err(|e| at(&file, e))?;
        let holds = holds(&File::from(opened), needle.as_bytes(), &mut budget);
        if holds.map_err(|e| Missing::Io(file.clone(), e))? {
            return Ok(file);
        }
    }
    Err(Missing::NotFound)
}

fn at(path: &Path, error: rustix::io::Errno) -> Missing {
    match error {
        rustix::io::Errno::NOENT => Missing::NotFound,
        error => Missing::Io(path.to_owned(), error.into()),
    }
}

/// The newest transcripts' names, newest first.
fn shards(directory: &OwnedFd) -> Result<Vec<String>, rustix::io::Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)?.take(MAX_ENTRIES) {
        let entry = entry?;
        if let Ok(name) = entry.file_name().to_str()
            && is_shard(name)
        {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable_by(|a, b| b.cmp(a));
    names.truncate(MAX_SHARDS);
    Ok(names)
}

/// `sessions-YYYY-MM-DD.jsonl`.
fn is_shard(name: &str) -> bool {
    let date = name
        .strip_prefix("sessions-")
        .and_then(|rest| rest.strip_suffix(".jsonl"));
    date.is_some_and(|date| {
        date.len() == 10
            && date.bytes().zip(*b"0000-00-00").all(|(octet, form)| {
                if form == b'0' {
                    octet.is_ascii_digit()
                } else {
                    octet == form
                }
            })
    })
}

/// Whether a regular file holds the octets, read backwards as far as the budget goes.
fn holds(file: &File, needle: &[u8], budget: &mut u64) -> io::Result<bool> {
    let found = file.metadata()?;
    if !found.is_file() {
        return Ok(false);
    }
    let mut end = found.len();
    let mut window = vec![0; WINDOW];
    while end > 0 && *budget > 0 {
        let start = end.saturating_sub(WINDOW as u64);
        let len = usize::try_from(end - start).unwrap_or(WINDOW);
        let window = &mut window[..len];
        match file.read_exact_at(window, start) {
            Ok(()) => {}
            // It was cut meanwhile.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
        if memmem::find(window, needle).is_some() {
            return Ok(true);
        }
        *budget = budget.saturating_sub(end - start);
        // The next window ends within this one, so that nothing is hidden by the cut.
        end = match start {
            0 => 0,
            start => start + needle.len() as u64 - 1,
        };
    }
    Ok(false)
}

const TRANSCRIPTS: &str = "transcripts";
/// Entries of a directory that are looked at.
const MAX_ENTRIES: usize = 4096;
/// Files that are looked into: a week's.
pub const MAX_SHARDS: usize = 7;
/// Octets that are read for one session.
pub const MAX_OCTETS: u64 = 64 << 20;
/// Octets read at a time.
const WINDOW: usize = 256 << 10;
/// How much of a bad name is shown, in characters.
const MAX_SHOWN: usize = 40;

#[cfg(test)]
mod tests;
