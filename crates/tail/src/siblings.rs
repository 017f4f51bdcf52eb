//! The files of one path: the live one and what rotation made of its predecessors, oldest first.

use std::cmp::Ordering;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::DirEntryExt as _;
use std::path::{Path, PathBuf};

use crate::error::TailError;
use crate::source::{Kind, Packing, Source, file_name};

/// How often the directory is read again when it changed while its files were opened.
const TRIES: usize = 5;
/// At most so many rotated siblings are looked at, the newest by name, each with an open descriptor for a moment.
const MAX_SIBLINGS: usize = 512;

/// What rotation put behind (or into) the name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mark {
    /// `.1`, `.2`: the higher, the older.
    Number(u64),
    /// `-20260620`, `.2026-06-20T10`: the higher, the newer.
    Date(Vec<u8>),
    /// `.old`: only its time stamp says when.
    Word,
}

#[derive(Debug)]
struct Sibling {
    name: OsString,
    ino: u64,
    mark: Mark,
    packing: Packing,
}

/// The names and inodes in the directory that belong to the path: two equal ones mean that nothing was rotated.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing(Vec<(OsString, u64)>);

impl Listing {
    /// Whether the live file is there.
    pub(crate) fn has_live(&self, path: &Path) -> bool {
        let base = file_name(path);
        self.0.iter().any(|(name, _)| *name == base)
    }
}

/// The files of `path`, oldest first; the live file, if there is one, is the last, and then the flag is set.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) files: Vec<Source>,
    pub(crate) live: bool,
    pub(crate) listing: Listing,
}

/// Opens all files of `path` in a consistent view of the directory.
///
/// # Errors
/// The directory can't be read, or does not come to rest; the live file can't be opened.
pub(crate) fn open(path: &Path) -> Result<Found, TailError> {
    let dir = directory(path);
    for _ in 0..TRIES {
        let (siblings, listing) = list(path)?;
        let Some(found) = open_all(path, siblings, listing)? else {
            continue;
        };
        if list(path)?.1 == found.listing {
            return Ok(found);
        }
    }
    Err(TailError::Unsettled { path: dir })
}

/// The names and inodes now.
pub(crate) fn listing(path: &Path) -> Result<Listing, TailError> {
    list(path).map(|(_, listing)| listing)
}

/// The directory of `path`.
pub(crate) fn directory(path: &Path) -> PathBuf {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn list(path: &Path) -> Result<(Vec<Sibling>, Listing), TailError> {
    let dir = directory(path);
    let base = file_name(path);
    let mut siblings = Vec::new();
    let mut names = Vec::new();
    for entry in fs::read_dir(&dir).map_err(TailError::unreadable(&dir))? {
        let entry = entry.map_err(TailError::unreadable(&dir))?;
        let name = entry.file_name();
        if name == base {
            names.push((name, entry.ino()));
        } else if let Some((mark, packing)) = classify(name.as_bytes(), base.as_bytes())
            && entry.file_type().is_ok_and(|kind| kind.is_file())
        {
            names.push((name.clone(), entry.ino()));
            siblings.push(Sibling {
                name,
                ino: entry.ino(),
                mark,
                packing,
            });
        }
    }
    names.sort();
    if siblings.len() > MAX_SIBLINGS {
        siblings.sort_by(|a, b| newest_first(&a.mark, &b.mark));
        siblings.truncate(MAX_SIBLINGS);
    }
    Ok((siblings, Listing(names)))
}

/// Nothing when a file vanished meanwhile.
fn open_all(
    path: &Path,
    mut siblings: Vec<Sibling>,
    listing: Listing,
) -> Result<Option<Found>, TailError> {
    let dir = directory(path);
    // While gzip is at work both are there; the plain one is complete.
    let plain: Vec<OsString> = siblings
        .iter()
        .filter(|sibling| sibling.packing == Packing::Plain)
        .map(|sibling| sibling.name.clone())
        .collect();
    siblings.retain(|sibling| {
        sibling.packing == Packing::Plain || !plain.contains(&unpacked(&sibling.name))
    });

    let mut files = Vec::with_capacity(siblings.len() + 1);
    for sibling in siblings {
        match Source::open(&dir.join(&sibling.name), sibling.packing) {
            Ok(source) if source.ident.ino == sibling.ino => files.push((sibling.mark, source)),
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(TailError::unreadable(dir.join(&sibling.name))(error)),
        }
    }
    sort(&mut files);
    let mut files: Vec<Source> = files.into_iter().map(|(_, source)| source).collect();
    let live = match Source::open(path, Packing::Plain) {
        Ok(Source {
            kind: Kind::Alien(Some(source)),
            ..
        }) => return Err(TailError::unreadable(path)(source)),
        Ok(source) if !fs::metadata(path).is_ok_and(|meta| meta.is_file()) => {
            return Err(TailError::NotAFile { path: source.path });
        }
        Ok(source) => {
            // A hard link of the live file is not a rotated one.
            files.retain(|file| !file.ident.same_inode(&source.ident));
            files.push(source);
            true
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(TailError::unreadable(path)(error)),
    };
    Ok(Some(Found {
        files,
        live,
        listing,
    }))
}

/// Oldest first: by number or by date where all files have the same kind of mark, else by time of last change.
fn sort(files: &mut [(Mark, Source)]) {
    let numbers = files
        .iter()
        .all(|(mark, _)| matches!(mark, Mark::Number(_)));
    let dates = files.iter().all(|(mark, _)| matches!(mark, Mark::Date(_)));
    files.sort_by(|(a_mark, a), (b_mark, b)| match (a_mark, b_mark) {
        (Mark::Number(a), Mark::Number(b)) if numbers => b.cmp(a),
        (Mark::Date(a), Mark::Date(b)) if dates => natural(a, b),
        _ => (a.ident.modified_ns, &a.path).cmp(&(b.ident.modified_ns, &b.path)),
    });
}

/// By the marks alone: words, numbers up, dates down.
fn newest_first(a: &Mark, b: &Mark) -> Ordering {
    let rank = |mark: &Mark| match mark {
        Mark::Word => 0,
        Mark::Number(_) => 1,
        Mark::Date(_) => 2,
    };
    match (a, b) {
        (Mark::Number(a), Mark::Number(b)) => a.cmp(b),
        (Mark::Date(a), Mark::Date(b)) => natural(b, a),
        _ => rank(a).cmp(&rank(b)),
    }
}

/// Text order in which runs of digits count as numbers.
fn natural(a: &[u8], b: &[u8]) -> Ordering {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (mut a, mut b) = (a, b);
    loop {
        let (Some(&first_a), Some(&first_b)) = (a.first(), b.first()) else {
            return a.len().cmp(&b.len());
        };
        let (len_a, len_b) = (digits(a), digits(b));
        let order = if len_a > 0 && len_b > 0 {
            let number = |text: &[u8]| {
                text.iter()
                    .position(|&byte| byte != b'0')
                    .unwrap_or(text.len())
            };
            let (num_a, num_b) = (
                &a[number(&a[..len_a])..len_a],
                &b[number(&b[..len_b])..len_b],
            );
            (a, b) = (&a[len_a..], &b[len_b..]);
            num_a.len().cmp(&num_b.len()).then(num_a.cmp(num_b))
        } else {
            (a, b) = (&a[1..], &b[1..]);
            first_a.cmp(&first_b)
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Whether `name` is a rotated form of `base`, and which.
fn classify(name: &[u8], base: &[u8]) -> Option<(Mark, Packing)> {
    let (bare, packing) = match name.iter().rposition(|&byte| byte == b'.') {
        Some(dot) => match &name[dot..] {
            b".gz" => (&name[..dot], Packing::Gzip),
            b".zst" | b".xz" | b".bz2" | b".lz4" | b".Z" => (&name[..dot], Packing::Unknown),
            _ => (name, Packing::Plain),
        },
        None => (name, Packing::Plain),
    };
    if let Some(rest) = bare.strip_prefix(base) {
        return mark(rest, 1).map(|mark| (mark, packing));
    }
    // `decky-20260620.log`, `decky.1.log` (logrotate's `extension`). A small number behind a dash is rather another
    // program's live file.
    let dot = base
        .iter()
        .rposition(|&byte| byte == b'.')
        .filter(|&dot| dot > 0)?;
    let (stem, extension) = base.split_at(dot);
    let rest = bare.strip_suffix(extension)?.strip_prefix(stem)?;
    let least = if rest.first() == Some(&b'.') { 1 } else { 8 };
    match mark(rest, least)? {
        Mark::Word => None,
        mark => Some((mark, packing)),
    }
}

/// What stands behind the name: a separator, then at least `least` bytes.
fn mark(rest: &[u8], least: usize) -> Option<Mark> {
    let (&separator, text) = rest.split_first()?;
    if !matches!(separator, b'.' | b'-' | b'_') || text.len() < least {
        return None;
    }
    if matches!(text, b"old" | b"bak" | b"prev") {
        return Some(Mark::Word);
    }
    if !text[0].is_ascii_digit()
        || !text
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_:+.".contains(byte))
    {
        return None;
    }
    if text.len() <= 5 && text.iter().all(u8::is_ascii_digit) {
        let number = text
            .iter()
            .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        return Some(Mark::Number(number));
    }
    Some(Mark::Date(text.to_owned()))
}

fn unpacked(name: &OsString) -> OsString {
    let bytes = name.as_bytes();
    let end = bytes
        .iter()
        .rposition(|&byte| byte == b'.')
        .unwrap_or(bytes.len());
    OsString::from_vec(bytes[..end].to_owned())
}

#[cfg(test)]
mod tests;
