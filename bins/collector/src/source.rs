//! Where lines come from: two readers of Docker's logs behind one cursor.
//!
//! [`mod@file`] reads the json-file driver's own files for all containers on one thread; [`api`] follows one container
//! through the Docker API. Both hand out [`Batch`]es: lines, the [`Cursor`] that stands after them, and the gaps
//! between them. A reader started with a batch's cursor gives exactly the lines after that batch.

use std::{
    io,
    ops::{Deref, DerefMut},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use docker_demux::{Lines, Stream};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

pub mod api;
pub mod file;
mod taken;

/// What a reader must know of a container, from inspect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// 64 hex digits.
    pub id: String,
    /// Without the leading slash.
    pub name: String,
    /// `Config.Tty`: output is one raw stream whose lines end with CR LF.
    pub tty: bool,
    /// `HostConfig.LogConfig.Type`.
    pub log_driver: String,
    /// `LogPath`; absent when the driver keeps no file that Docker tells of.
    pub log_path: Option<PathBuf>,
    /// The driver is told to rotate (`max-size`).
    pub rotates: bool,
    /// `State.StartedAt` in unix nanoseconds, 0 if it never ran.
    pub started_ns: i64,
}

/// What was taken of a container: per stream by content, and in the file by position.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The last line taken of stdout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<Taken>,
    /// The last line taken of stderr.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<Taken>,
    /// Which of the two was the very last.
    #[serde(default)]
    pub last: Last,
    /// Whether a line of stdout, of stderr had begun that is not among those taken.
    #[serde(default)]
    pub held: [bool; 2],
    /// Where the `file` reader goes on; absent from the `api` reader's cursors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

impl Cursor {
    /// Gives the last line taken of a stream.
    pub fn taken(&self, stream: Stream) -> Option<&Taken> {
        match stream {
            Stream::Stdout => self.stdout.as_ref(),
            Stream::Stderr => self.stderr.as_ref(),
        }
    }

    /// Gives the last line taken of a stream, to be changed.
    pub fn taken_mut(&mut self, stream: Stream) -> &mut Option<Taken> {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

/// The stream of the last line taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Last {
    /// Standard output, or no line was taken at all.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
}

/// The last line taken of a stream, told by its content: the order of stamps decides nothing, clocks step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Its stamp in unix nanoseconds.
    pub stamp: i64,
    /// How many lines in a row with this stamp were taken, this one included.
    pub count: u32,
    /// The first 64 bits of BLAKE3 over the octets of the last line or part taken.
    pub hash: u64,
    /// Set in the middle of an over-long line: the number of the next part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_part: Option<u32>,
}

/// A position between two entries of a json-file log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file's inode, a hint only: Docker's rotation uses inodes again within minutes.
    pub inode: u64,
    /// Octets from the start of the file; of what is in it if it was compressed since.
    pub offset: u64,
    /// The first 64 bits of BLAKE3 over the last octets (at most 4 KiB) before the offset.
    pub hash: u64,
    /// Entries of stdout and of stderr beyond the offset that were taken already, while a long line of the other
    /// stream was not complete.
    #[serde(default)]
    pub ahead: [u64; 2],
}

/// Why lines are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Docker's rotation removed them before they were read.
    RotatedAway,
    /// They are there and can't be read: a damaged file, an error of the disk.
    Unreadable,
    /// The kernel had no room for a datagram.
    Overflow,
    /// A datagram was larger than what is taken of it.
    Truncated,
    /// A sender broke the framing of its connection.
    Malformed,
    /// A connection ended in the middle of a counted message.
    Incomplete,
    /// The disk was full when the program stopped, and nobody can send them again.
    Unsaved,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::RotatedAway,
        Self::Unreadable,
        Self::Overflow,
        Self::Truncated,
        Self::Malformed,
        Self::Incomplete,
        Self::Unsaved,
    ];

    /// Gives the word for the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RotatedAway => "rotated-away",
            Self::Unreadable => "unreadable",
            Self::Overflow => "overflow",
            Self::Truncated => "truncated",
            Self::Malformed => "malformed",
            Self::Incomplete => "incomplete",
            Self::Unsaved => "unsaved",
        }
    }
}

/// Output of a container that will never be read. It lies before the lines of the batch that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The stream concerned; `None` for both.
    pub stream: Option<Stream>,
    /// Stamp of the last line before it, if one is known.
    pub from_ns: Option<i64>,
    /// Stamp of the first line after it, if one is known.
    pub to_ns: Option<i64>,
    /// Octets missing in Docker's log, if that is known.
    pub bytes: Option<u64>,
    /// Messages missing, if they can be counted.
    pub lines: Option<u64>,
    /// What took them.
    pub cause: Cause,
}

/// Some lines of one container, in the order in which Docker stored them.
#[derive(Debug)]
pub struct Batch {
    /// The container they are of.
    pub container: Arc<Container>,
    /// The lines; give the buffer back by dropping it.
    pub lines: Lease,
    /// Stands after the lines (and after the gaps).
    pub cursor: Cursor,
    /// What is missing before the lines.
    pub gaps: Vec<Gap>,
    /// Entries that could not be read and were skipped; frames over the limit among them.
    pub corrupt: u64,
    /// The container's output is over: the reader has let go of it after this batch.
    pub end: bool,
}

/// What readers say to the one who writes.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "almost all of them are batches")]
pub enum Event {
    /// Lines, gaps, or the end.
    Batch(Batch),
    /// The `file` reader could not read the container's log and has let go of it. Nothing after the cursor of its
    /// last batch was taken.
    Failed {
        /// The container.
        container: Arc<Container>,
        /// The path and what the system said.
        error: io::Error,
    },
}

/// A fixed number of line buffers, which bounds what readers hold in memory together.
#[derive(Clone, Debug)]
pub struct Pool {
    inner: Arc<Shelf>,
}

#[derive(Debug)]
struct Shelf {
    free: Mutex<Vec<Lines>>,
    permits: Semaphore,
}

impl Pool {
    /// Makes a pool of `count` empty buffers. A buffer grows to about 1.5 MiB in use.
    pub fn new(count: usize) -> Self {
        Self {
            inner: Arc::new(Shelf {
                free: Mutex::new((0..count).map(|_| Lines::default()).collect()),
                permits: Semaphore::new(count),
            }),
        }
    }

    /// Waits for a free buffer. Take one only when there is something to put in it.
    pub async fn take(&self) -> Lease {
        if let Ok(permit) = self.inner.permits.acquire().await {
            permit.forget();
        }
        self.lease()
    }

    /// Takes a buffer if one is free.
    pub fn try_take(&self) -> Option<Lease> {
        let permit = self.inner.permits.try_acquire().ok()?;
        permit.forget();
        Some(self.lease())
    }

    fn lease(&self) -> Lease {
        let free = self
            .inner
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        Lease {
            lines: free.unwrap_or_default(),
            pool: self.clone(),
        }
    }
}

/// A line buffer on loan from a [`Pool`]; it goes back, emptied, when it is dropped.
#[derive(Debug)]
pub struct Lease {
    lines: Lines,
    pool: Pool,
}

impl Deref for Lease {
    type Target = Lines;

    fn deref(&self) -> &Lines {
        &self.lines
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Lines {
        &mut self.lines
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.clear();
        let shelf = &self.pool.inner;
        shelf
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(lines);
        shelf.permits.add_permits(1);
    }
}
