//! A target file that others append to, rotate and delete while we append to it.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Seek};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::disk::{Disk, Step};
use super::matching::line_start;
use super::record::{FileId, PROOF_BYTES, Plan, Proof};

/// One configured path and the file that stands there.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) path: PathBuf,
    pub(super) open: Option<Open>,
}

/// An open target.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) file: Arc<File>,
    pub(super) id: FileId,
    /// Everything before it is durable, once the batch before is settled.
    pub(super) end: u64,
    /// Where our last write ended.
    pub(super) pos: u64,
}

/// How far a part has come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    /// Bytes of the part that stand.
    pub(super) done: usize,
    /// Bytes written, with line ends put behind others' torn lines.
    pub(super) written: u64,
}

/// What [`Target::refresh`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refreshed {
    /// The file of before.
    Same,
    /// There was no file open, or another one stands at the path.
    Opened,
}

impl Target {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    /// Whether the open file is no longer the one at the path, or was emptied since our last write.
    pub(super) fn moved(&self) -> io::Result<bool> {
        let Some(open) = &self.open else {
            return Ok(true);
        };
        match std::fs::metadata(&self.path) {
            Ok(meta) => Ok(FileId::of(&meta) != open.id || meta.len() < open.pos),
            Err(error) if is_absent(&error) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Makes sure that the file at the path is the one that is open, once a batch: a file that was
    /// rotated or deleted is opened anew, its directory made.
    pub(super) fn refresh(&mut self, disk: &mut Disk) -> io::Result<Refreshed> {
        if let Some(open) = &mut self.open {
            match std::fs::metadata(&self.path) {
                Ok(meta) if FileId::of(&meta) == open.id => {
                    if meta.len() < open.end {
                        // Emptied under us (copytruncate): nothing that stands now is ours.
                        (open.end, open.pos) = (0, 0);
                    }
                    return Ok(Refreshed::Same);
                }
                Err(error) if !is_absent(&error) => return Err(error),
                Ok(_) | Err(_) => self.open = None,
            }
        }
        self.open = Some(Open::at(&self.path, disk)?);
        Ok(Refreshed::Opened)
    }

    /// The plan for a part that is written next, from the durable end on.
    pub(super) fn plan(&self) -> io::Result<Plan> {
        let open = self.open()?;
        let proof = Proof::before(&open.file, open.end)?;
        let path = self.path.clone();
        Ok(Plan {
            path,
            id: open.id,
            start: open.end,
            proof,
            at: nanos(SystemTime::now()),
        })
    }

    /// Writes what of `part` is missing. A short write is gone on with where it stopped.
    pub(super) fn write(
        &mut self,
        disk: &Disk,
        part: &[u8],
        progress: &mut Progress,
    ) -> io::Result<()> {
        while progress.done < part.len() {
            self.write_once(disk, part, progress, part.len())?;
        }
        Ok(())
    }

    /// In a file that was rotated: writes the rest of a line that stands unfinished at its very end,
    /// and takes `progress` back to the line's start if that is not possible (others wrote behind it,
    /// the file has no name any more or can't grow). Only a full disk is worth waiting for.
    pub(super) fn finish_line(
        &mut self,
        disk: &Disk,
        part: &[u8],
        progress: &mut Progress,
    ) -> io::Result<()> {
        match self.try_finish_line(disk, part, progress) {
            Err(error) if is_full(&error) => return Err(error),
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "line left torn, and written again");
            }
            Ok(()) => {}
        }
        progress.done = line_start(part, progress.done);
        Ok(())
    }

    fn try_finish_line(
        &mut self,
        disk: &Disk,
        part: &[u8],
        progress: &mut Progress,
    ) -> io::Result<()> {
        let from = line_start(part, progress.done);
        let end = super::matching::line_end(part, from);
        while from < progress.done && progress.done < end {
            let open = self.open()?;
            let meta = open.file.metadata()?;
            if meta.nlink() == 0 || meta.len() != open.pos {
                break;
            }
            self.write_once(disk, part, progress, end)?;
        }
        Ok(())
    }

    fn write_once(
        &mut self,
        disk: &Disk,
        part: &[u8],
        progress: &mut Progress,
        until: usize,
    ) -> io::Result<()> {
        let open = self.open.as_mut().ok_or_else(not_open)?;
        let (from, lf) = open.go_on(part, progress.done)?;
        progress.done = from;
        let separator: &[u8] = if lf { b"\n" } else { b"" };
        let written = disk.append(&open.file, &self.path, separator, &part[from..until])?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        // With O_APPEND the file's position is the end of what was just written.
        open.pos = (&*open.file).stream_position()?;
        progress.written += written as u64;
        progress.done += written.saturating_sub(separator.len());
        Ok(())
    }

    /// The part that was written stands whole; what comes next starts behind it.
    pub(super) fn passed(&mut self) {
        if let Some(open) = &mut self.open {
            open.end = open.pos;
        }
    }

    fn open(&self) -> io::Result<&Open> {
        self.open.as_ref().ok_or_else(not_open)
    }
}

impl Open {
    /// Opens or makes the file at `path`; what stands in it is durable afterwards.
    fn at(path: &Path, disk: &mut Disk) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).append(true);
        let file = match options.open(path) {
            Err(error) if is_absent(&error) => {
                disk.ask(Step::Create, path, 0)?;
                let dir = path.parent().unwrap_or(Path::new(""));
                std::fs::create_dir_all(if dir.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    dir
                })?;
                let file = options.create(true).open(path)?;
                // A batch must not be announced for a file whose name a power loss can undo.
                super::sync_dir(dir)?;
                if let Some(above) = dir.parent() {
                    super::sync_dir(above)?;
                }
                file
            }
            other => other?,
        };
        let open = Self::of(file)?;
        disk.sync(Step::TargetSync, &open.file, path)?;
        Ok(open)
    }

    /// Takes an open file, at its end.
    pub(super) fn of(file: File) -> io::Result<Self> {
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            ));
        }
        Ok(Self {
            file: Arc::new(file),
            id: FileId::of(&meta),
            end: meta.len(),
            pos: meta.len(),
        })
    }

    /// Where to go on with a part of which `done` bytes were written, and whether somebody's torn line
    /// needs an LF first. A torn line of ours is gone on with only while it is the file's last thing;
    /// behind somebody else's bytes it is spoilt and starts again.
    fn go_on(&self, part: &[u8], done: usize) -> io::Result<(usize, bool)> {
        let size = self.file.metadata()?.len();
        let start = line_start(part, done);
        if done > start && size == self.pos {
            return Ok((done, false));
        }
        let mut last = [b'\n'];
        if size > 0 {
            // The file may be cut between the two calls: then nothing is torn.
            let _ = self.file.read_at(&mut last, size - 1)?;
        }
        Ok((start, last != *b"\n"))
    }
}

impl FileId {
    pub(super) fn of(meta: &Metadata) -> Self {
        let born = meta.created().map_or(0, nanos);
        Self {
            dev: meta.dev(),
            ino: meta.ino(),
            born,
        }
    }
}

impl Proof {
    /// The proof of the bytes before `end` in `file`.
    pub(super) fn before(file: &File, end: u64) -> io::Result<Self> {
        let len = end.min(u64::from(PROOF_BYTES));
        let mut buf = [0; PROOF_BYTES as usize];
        let bytes = &mut buf[..usize::try_from(len).unwrap_or(0)];
        match file.read_exact_at(bytes, end - len) {
            Ok(()) => Ok(Self::of(bytes)),
            // Cut in between; such a plan is only ever found by inode.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// The proof of `bytes`, which are the last before a position.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let hash = blake3::hash(bytes);
        let (hash, _) = hash.as_bytes().split_at(16);
        let mut proof = Self {
            len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            hash: [0; 16],
        };
        proof.hash.copy_from_slice(hash);
        proof
    }
}

/// Nanoseconds since 1970.
fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The file, or a directory on the way to it, does not exist.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Room may come back.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn not_open() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the file is not open")
}
