//! Names that become paths: checked once, here, before any path is built from them.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use rand::RngExt as _;
use serde::{Deserialize, Serialize};

/// The stream that plain RFC 5425 senders write to; no acknowledged stream may be called so.
pub const PLAIN_STREAM: &str = "syslog";

/// Longest name of a worker or a stream, in bytes.
const MAX_NAME: usize = 64;

/// A worker's stream: the two checked names under which an archive keeps epochs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(String, String)", into = "(String, String)")]
pub struct StreamKey {
    worker: Arc<str>,
    stream: Arc<str>,
}

impl StreamKey {
    /// Names a stream of a worker.
    ///
    /// # Errors
    /// [`NameError`] when the worker is not `[A-Za-z0-9][A-Za-z0-9._-]{0,63}` or the stream is not
    /// `[a-z0-9][a-z0-9._-]{0,63}`.
    pub fn new(worker: &str, stream: &str) -> Result<StreamKey, NameError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        if !is_name(worker, |b| plain(b) || b.is_ascii_uppercase()) {
            return Err(NameError::Worker(worker.chars().take(MAX_NAME).collect()));
        }
        if !is_name(stream, plain) {
            return Err(NameError::Stream(stream.chars().take(MAX_NAME).collect()));
        }
        Ok(StreamKey {
            worker: worker.into(),
            stream: stream.into(),
        })
    }

    /// Names the stream that collects the frames of a worker's plain connections.
    ///
    /// # Errors
    /// [`NameError::Worker`], as in [`StreamKey::new`].
    pub fn plain(worker: &str) -> Result<StreamKey, NameError> {
        StreamKey::new(worker, PLAIN_STREAM)
    }

    /// The worker's name.
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// The stream's name.
    pub fn stream(&self) -> &str {
        &self.stream
    }
}

impl TryFrom<(String, String)> for StreamKey {
    type Error = NameError;

    fn try_from((worker, stream): (String, String)) -> Result<StreamKey, NameError> {
        StreamKey::new(&worker, &stream)
    }
}

impl From<StreamKey> for (String, String) {
    fn from(key: StreamKey) -> (String, String) {
        (key.worker().to_owned(), key.stream().to_owned())
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.worker, self.stream)
    }
}

fn is_name(name: &str, alphanumeric: impl Fn(u8) -> bool) -> bool {
    let bytes = name.as_bytes();
    let Some((&first, rest)) = bytes.split_first() else {
        return false;
    };
    bytes.len() <= MAX_NAME
        && alphanumeric(first)
        && rest
            .iter()
            .all(|&b| alphanumeric(b) || matches!(b, b'.' | b'_' | b'-'))
}

/// A name that no path may be built from, or an identifier of another form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Not a worker's name.
    #[error("worker name {0:?} is not [A-Za-z0-9][A-Za-z0-9._-]{{0,63}}")]
    Worker(String),
    /// Not a stream's name.
    #[error("stream name {0:?} is not [a-z0-9][a-z0-9._-]{{0,63}}")]
    Stream(String),
    /// Not an epoch or archive identifier.
    #[error("identifier {0:?} is not 32 lower-case hex digits")]
    Id(String),
}

/// One incarnation of the file behind a stream: 128 random bits, written as 32 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EpochId([u8; 16]);

/// The identity of an archive: 128 random bits, made once by [`init`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ArchiveId([u8; 16]);

macro_rules! identifier {
    ($name:ident) => {
        impl $name {
            /// Draws a new identifier.
            pub fn random() -> $name {
                $name(rand::rng().random())
            }

            /// From its bits.
            pub const fn from_bytes(bits: [u8; 16]) -> $name {
                $name(bits)
            }

            /// Its bits.
            pub const fn bytes(&self) -> [u8; 16] {
                self.0
            }

            /// Reads the 32 lower-case hex digits.
            ///
            /// # Errors
            /// [`NameError::Id`] for anything else, upper-case digits included.
            pub fn parse(text: &str) -> Result<$name, NameError> {
                parse_id(text)
                    .map($name)
                    .ok_or_else(|| NameError::Id(text.chars().take(MAX_NAME).collect()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<$name, NameError> {
                $name::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}
identifier!(EpochId);
identifier!(ArchiveId);

fn parse_id(text: &str) -> Option<[u8; 16]> {
    let digits = text.as_bytes();
    if digits.len() != 32 {
        return None;
    }
    let mut id = [0; 16];
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = hex(pair[0])? << 4 | hex(pair[1])?;
    }
    Some(id)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// What the bytes of an epoch are, and so how its segments are named and recovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// The source file byte for byte (`.log`); its sender has what the index does not cover and sends it again.
    Log,
    /// Octet-counted frames (`.frames`); nobody sends them again, so recovery keeps every whole one.
    Frames,
}

impl Form {
    /// The last suffix of a segment's name.
    pub fn extension(self) -> &'static str {
        match self {
            Form::Log => "log",
            Form::Frames => "frames",
        }
    }

    /// The form of segments with this suffix.
    pub(crate) fn of(extension: &str) -> Option<Form> {
        [Form::Log, Form::Frames]
            .into_iter()
            .find(|form| form.extension() == extension)
    }
}

/// Names the segment that starts at `base`.
pub(crate) fn segment_name(base: u64, form: Form) -> String {
    format!("{base:020}.{}", form.extension())
}

/// Names the compressed segment that starts at `base`.
pub(crate) fn packed_name(base: u64, form: Form) -> String {
    format!("{}{PACKED}", segment_name(base, form))
}

/// What a file's name says of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentName {
    pub(crate) base: u64,
    /// Whether it is compressed.
    pub(crate) packed: bool,
}

/// Reads a segment's name; `None` for any other file, and for segments of another form.
pub(crate) fn parse_segment(name: &str, form: Form) -> Option<SegmentName> {
    let (digits, extension) = name.split_once('.')?;
    let (plain, packed) = match extension.strip_suffix(PACKED) {
        Some(plain) => (plain, true),
        None => (extension, false),
    };
    if plain != form.extension()
        || digits.len() != 20
        || !digits.bytes().all(|b| b.is_ascii_digit())
    {
        return None;
    }
    Some(SegmentName {
        base: digits.parse().ok()?,
        packed,
    })
}

/// Makes the archive of a data directory: its folder and its identity. A second call changes nothing.
///
/// # Errors
/// Any failure to create, write or sync; an identity file of another form is `InvalidData`.
pub fn init(data: &Path) -> io::Result<ArchiveId> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)?;
    let root = crate::dir::Dir::root(data)?;
    root.ensure(ARCHIVE_DIR)?;
    match archive_id(data) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let id = ArchiveId::random();
    let new = data.join(".archive-id.new");
    fs::write(&new, format!("{id}\n"))?;
    fs::File::open(&new)?.sync_all()?;
    // A hard link never replaces an identity that another process made meanwhile.
    let linked = fs::hard_link(&new, data.join(ID_FILE));
    fs::remove_file(&new)?;
    match linked {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    root.sync()?;
    archive_id(data)
}

/// Reads the identity that [`init`] made.
///
/// # Errors
/// `NotFound` when the directory was never initialised, `InvalidData` when the file holds something else.
pub fn archive_id(data: &Path) -> io::Result<ArchiveId> {
    let text = fs::read_to_string(data.join(ID_FILE))?;
    ArchiveId::parse(text.trim_end()).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

/// The suffix of a compressed segment.
const PACKED: &str = ".zst";
/// The folder of the segments, under the data directory.
pub(crate) const ARCHIVE_DIR: &str = "archive";
/// The file of the archive's identity, beside the folder because a worker may have any name inside it.
const ID_FILE: &str = "archive-id";

#[cfg(test)]
mod tests;
