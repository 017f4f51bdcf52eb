//! Finds the file that a batch was announced for, through rename, copy and truncation, compression and
//! deletion, and counts what of the batch stands there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::matching::{Matcher, Standing, count};
use super::record::{FileId, Plan, Proof};
use super::target::{Open, is_absent};

/// Where the batch is.
#[derive(Debug)]
pub(super) enum Found {
    /// In the file at the planned path; what is missing goes on there.
    Here { open: Open, standing: Standing },
    /// In a file that was renamed away, or a copy. `open` is absent for what can't be written
    /// (compressed, read-only).
    Moved {
        path: PathBuf,
        open: Option<Open>,
        standing: Standing,
    },
    /// Nowhere.
    Lost,
}

/// Looks for the file of `plan`, and counts `part` in it.
pub(super) fn locate(plan: &Plan, part: &[u8]) -> io::Result<Found> {
    let live = open_existing(&plan.path)?.filter(|open| open.id == plan.id);
    let candidate = match live {
        Some(open) => Some(Candidate {
            path: plan.path.clone(),
            open,
            writable: true,
            here: true,
        }),
        None => by_inode(plan)?,
    };
    let Some(candidate) = candidate else {
        return Ok(any_copy(plan, part)?.map_or(Found::Lost, Copy::found));
    };
    if proves(&candidate.open.file, plan)? {
        let standing = count_from(&candidate.open.file, plan.start, part, 0)?;
        // A file that was emptied, and began again like before, looks like one that was not written yet.
        if standing.whole > 0 || copy(plan, part, Belief::OwnLines)?.is_none() {
            return Ok(candidate.found(standing));
        }
    }
    // The file was emptied under us: what stood before that is in a copy, what we wrote after it is in
    // the file from its beginning.
    let copy = any_copy(plan, part)?;
    let whole = copy.as_ref().map_or(0, |copy| copy.standing.whole);
    let standing = count_from(&candidate.open.file, 0, part, whole)?;
    if standing.whole > whole || standing.torn > 0 {
        return Ok(candidate.found(standing));
    }
    Ok(copy.map_or(Found::Lost, Copy::found))
}

/// The file with the planned identity.
struct Candidate {
    path: PathBuf,
    open: Open,
    writable: bool,
    here: bool,
}

impl Candidate {
    fn found(self, standing: Standing) -> Found {
        let Self {
            path,
            open,
            writable,
            here,
        } = self;
        if here {
            Found::Here { open, standing }
        } else {
            Found::Moved {
                path,
                open: writable.then_some(open),
                standing,
            }
        }
    }
}

impl Copy {
    fn found(self) -> Found {
        Found::Moved {
            path: self.path,
            open: self.open,
            standing: self.standing,
        }
    }
}

/// A sibling that holds what the planned file held.
struct Copy {
    path: PathBuf,
    /// Absent when it can't be written.
    open: Option<Open>,
    standing: Standing,
}

/// What makes a sibling a copy of the planned file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Belief {
    /// The bytes before the start; where there are none, as below.
    Proof,
    /// Lines of the batch in a file that was made after the batch was announced: older files may begin
    /// with equal lines. (File stamps lag by a tick of the kernel's clock, at most 10 ms; a copy made
    /// in the very tick of the announcement is not believed, because a batch that follows on an emptied
    /// file at once is the likelier story.)
    OwnLines,
}

/// The sibling that most likely holds what the planned file held.
fn any_copy(plan: &Plan, part: &[u8]) -> io::Result<Option<Copy>> {
    match copy(plan, part, Belief::OwnLines)? {
        None => copy(plan, part, Belief::Proof),
        found => Ok(found),
    }
}

/// The newest sibling whose content agrees with the plan.
fn copy(plan: &Plan, part: &[u8], belief: Belief) -> io::Result<Option<Copy>> {
    let own_lines = belief == Belief::OwnLines || plan.proof.len == 0;
    for path in siblings(&plan.path)? {
        if own_lines && !is_newer(plan, &path) {
            continue;
        }
        let compressed = path.extension().is_some_and(|extension| extension == "gz");
        let found = if compressed {
            in_gzip(&path, plan, part)
        } else {
            in_plain(&path, plan, part)
        };
        match found {
            Ok(Some(copy)) if own_lines && copy.standing.whole == 0 => {}
            Ok(Some(copy)) => return Ok(Some(copy)),
            Ok(None) => {}
            // Another one's half-written or unreadable file decides nothing.
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "passing over a rotated file")
            }
        }
    }
    Ok(None)
}

fn in_plain(path: &Path, plan: &Plan, part: &[u8]) -> io::Result<Option<Copy>> {
    let (open, writable) = open_either(path)?;
    if !proves(&open.file, plan)? {
        return Ok(None);
    }
    let standing = count_from(&open.file, plan.start, part, 0)?;
    let open = writable.then_some(open);
    Ok(Some(Copy {
        path: path.to_path_buf(),
        open,
        standing,
    }))
}

fn in_gzip(path: &Path, plan: &Plan, part: &[u8]) -> io::Result<Option<Copy>> {
    let mut bytes = flate2::read::MultiGzDecoder::new(BufReader::new(File::open(path)?));
    let proof = u64::from(plan.proof.len);
    let skipped = io::copy(&mut (&mut bytes).take(plan.start - proof), &mut io::sink())?;
    let mut before = Vec::new();
    (&mut bytes).take(proof).read_to_end(&mut before)?;
    if skipped + before.len() as u64 != plan.start || Proof::of(&before) != plan.proof {
        return Ok(None);
    }
    let standing = count(part, 0, &mut bytes)?;
    Ok(Some(Copy {
        path: path.to_path_buf(),
        open: None,
        standing,
    }))
}

fn is_newer(plan: &Plan, path: &Path) -> bool {
    let born = fs::metadata(path).map_or(0, |meta| FileId::of(&meta).born);
    born > plan.id.born && born >= plan.at
}

/// Whether `file` holds, before the planned start, what stood there.
fn proves(file: &File, plan: &Plan) -> io::Result<bool> {
    if file.metadata()?.len() < plan.start || u64::from(plan.proof.len) > plan.start {
        return Ok(false);
    }
    // A plan without proof was made at a file's beginning.
    Ok(plan.proof.len == 0 || Proof::before(file, plan.start)? == plan.proof)
}

fn count_from(file: &File, start: u64, part: &[u8], at: usize) -> io::Result<Standing> {
    let mut file = file;
    if at == part.len() {
        return Ok(Matcher::new(part, at).standing());
    }
    file.seek(SeekFrom::Start(start))?;
    count(part, at, &mut file)
}

/// The file of the planned identity under another name in the same directory.
fn by_inode(plan: &Plan) -> io::Result<Option<Candidate>> {
    for path in entries(&plan.path)? {
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        if meta.is_file() && FileId::of(&meta) == plan.id {
            let (open, writable) = open_either(&path)?;
            return Ok(Some(Candidate {
                path,
                open,
                writable,
                here: false,
            }));
        }
    }
    Ok(None)
}

/// Files named as rotation names them, newest first: `NAME.1`, `NAME-20261121`, `NAME.1.gz`, and with
/// the date before the extension, `STEM-20261121.EXT`.
fn siblings(live: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found: Vec<(SystemTime, PathBuf)> = Vec::new();
    for path in entries(live)? {
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        if meta.is_file() && path != live && is_sibling(&path, live) {
            found.push((meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), path));
        }
    }
    found.sort_by(|a, b| b.cmp(a));
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

fn is_sibling(path: &Path, live: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let bytes = |name: Option<&std::ffi::OsStr>| {
        name.map(|name| name.as_bytes().to_vec())
            .unwrap_or_default()
    };
    let (name, live_name) = (bytes(path.file_name()), bytes(live.file_name()));
    let (stem, extension) = (bytes(live.file_stem()), bytes(live.extension()));
    let plain = name.strip_suffix(b".gz").unwrap_or(&name);
    let dated = !extension.is_empty()
        && plain
            .strip_suffix(&extension[..])
            .is_some_and(|front| front.ends_with(b".") && front.starts_with(&stem));
    name.starts_with(&live_name) || dated
}

fn entries(live: &Path) -> io::Result<Vec<PathBuf>> {
    let dir = live
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let entries = match fs::read_dir(dir) {
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        other => other?,
    };
    entries
        .take(ENTRIES)
        .map(|entry| Ok(dir.join(entry?.file_name())))
        .collect()
}

fn open_existing(path: &Path) -> io::Result<Option<Open>> {
    match OpenOptions::new().read(true).append(true).open(path) {
        Err(error) if is_absent(&error) => Ok(None),
        other => Open::of(other?).map(Some),
    }
}

/// Opens for appending, else for reading only. The position of the end is taken before anything is
/// counted, so that what others append meanwhile is noticed.
fn open_either(path: &Path) -> io::Result<(Open, bool)> {
    match OpenOptions::new().read(true).append(true).open(path) {
        Ok(file) => Ok((Open::of(file)?, true)),
        Err(_) => Ok((Open::of(File::open(path)?)?, false)),
    }
}

/// Most directory entries that are looked at: a log directory has tens.
const ENTRIES: usize = 100_000;
