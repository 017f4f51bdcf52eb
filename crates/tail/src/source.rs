//! Where an epoch's bytes are read from: a file, plain or gzip.

use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use rustix::buffer::spare_capacity;
use serde::{Deserialize, Serialize};

use crate::epoch::unix_ns;
use crate::print::{PRINT, Print};

/// What the file system says of a file. It proposes; content decides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ident {
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Birth time, nanoseconds since 1970; 0 where the file system has none.
    #[serde(default)]
    pub born_ns: i64,
    /// Last change of the content, nanoseconds since 1970.
    #[serde(default)]
    pub modified_ns: i64,
    /// Length in bytes (of a compressed file: on disk).
    #[serde(default)]
    pub size: u64,
}

impl Ident {
    pub(crate) fn of(meta: &Metadata) -> Self {
        Self {
            dev: meta.dev(),
            ino: meta.ino(),
            born_ns: meta.created().map_or(0, unix_ns),
            modified_ns: meta.mtime() * 1_000_000_000 + meta.mtime_nsec(),
            size: meta.size(),
        }
    }

    /// The same inode. Only while one of both is held open does this mean the same file.
    pub(crate) fn same_inode(&self, other: &Self) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }

    /// The same inode with the same birth.
    pub(crate) fn same_birth(&self, other: &Self) -> bool {
        self.same_inode(other) && self.born_ns == other.born_ns
    }
}

/// A file found in the directory, and what can be done with it.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) ident: Ident,
    pub(crate) kind: Kind,
    /// Everything below is known to be on the disk.
    durable: u64,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Plain(File),
    Gzip(Box<Gzip>),
    /// It is there, but it can't be opened or is packed in a way we don't know.
    Alien(Option<io::Error>),
}

impl Source {
    /// Opens `path`; a file that is there but can't be opened is an alien.
    ///
    /// # Errors
    /// It is not there (any more), or we are out of descriptors or memory, which says nothing about the file.
    pub(crate) fn open(path: &Path, packing: Packing) -> io::Result<Self> {
        let meta = std::fs::metadata(path)?;
        // A FIFO would block the open until someone writes.
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
            .open(path);
        let (ident, kind) = match opened {
            Ok(file) => {
                let ident = Ident::of(&file.metadata()?);
                let kind = match packing {
                    Packing::Plain => Kind::Plain(file),
                    Packing::Gzip => Kind::Gzip(Box::new(Gzip::new(file))),
                    Packing::Unknown => Kind::Alien(None),
                };
                (ident, kind)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound || ours(&error) => {
                return Err(error);
            }
            Err(error) => (Ident::of(&meta), Kind::Alien(Some(error))),
        };
        Ok(Self {
            path: path.to_owned(),
            ident,
            kind,
            durable: 0,
        })
    }

    /// What the file system says now.
    pub(crate) fn look(&self) -> io::Result<Option<Metadata>> {
        match &self.kind {
            Kind::Plain(file) => file.metadata().map(Some),
            Kind::Gzip(_) | Kind::Alien(_) => Ok(None),
        }
    }

    /// When anything of a plain file was last changed, in nanoseconds since 1970. Unlike the stamp of its content nobody
    /// sets this one (`cp -p`).
    pub(crate) fn touched_ns(&self) -> io::Result<i64> {
        let meta = self.look()?;
        Ok(meta.map_or(0, |meta| meta.ctime() * 1_000_000_000 + meta.ctime_nsec()))
    }

    /// Whether a file was made after the last change of its content, as its stamps say: these are another file's then.
    pub(crate) fn is_set_back(&self) -> io::Result<bool> {
        let ident = self.look()?.map(|meta| Ident::of(&meta));
        Ok(ident.is_some_and(|ident| ident.born_ns > ident.modified_ns))
    }

    /// The same file, as it is now.
    pub(crate) fn fresh(mut self) -> Self {
        self.durable = 0;
        if let Ok(Some(meta)) = self.look() {
            self.ident = Ident::of(&meta);
        }
        self
    }

    /// Whether it may be read once somebody puts that right.
    pub(crate) fn is_shut(&self) -> bool {
        matches!(self.kind, Kind::Alien(Some(_)))
    }

    /// Whether its bytes can be had.
    pub(crate) fn is_readable(&self) -> bool {
        !matches!(self.kind, Kind::Alien(_))
    }

    pub(crate) fn is_plain(&self) -> bool {
        matches!(self.kind, Kind::Plain(_))
    }

    /// Makes everything below `to` durable (fdatasync). Once for all that is in the file by now: a backlog costs one
    /// call.
    /// Says whether that took a call.
    pub(crate) fn persist(&mut self, to: u64) -> io::Result<bool> {
        if to <= self.durable {
            return Ok(false);
        }
        let (file, size) = match &self.kind {
            Kind::Plain(file) => (file, file.metadata()?.len()),
            // Nobody writes into it any more.
            Kind::Gzip(gzip) => (&gzip.file, u64::MAX),
            Kind::Alien(_) => return Ok(false),
        };
        file.sync_data()?;
        self.durable = size;
        Ok(true)
    }

    /// How long the content is; of a compressed file by unpacking all of it, once.
    pub(crate) fn length(&mut self) -> io::Result<u64> {
        match &mut self.kind {
            Kind::Plain(file) => file.metadata().map(|meta| meta.len()),
            Kind::Gzip(gzip) => gzip.length(),
            Kind::Alien(error) => Err(alien(error)),
        }
    }

    /// Appends bytes from `offset` on until `buf` holds `want` bytes, or fewer where the file ends; says whether it ended.
    pub(crate) fn fill(&mut self, buf: &mut Vec<u8>, offset: u64, want: usize) -> io::Result<bool> {
        if want > buf.capacity() {
            buf.reserve_exact(want - buf.len());
        }
        match &mut self.kind {
            Kind::Plain(file) => {
                while buf.len() < want {
                    let at = offset + buf.len() as u64;
                    match rustix::io::pread(&*file, spare_capacity(buf), at) {
                        Ok(0) => return Ok(true),
                        Ok(_) | Err(rustix::io::Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                // A buffer that was used for longer lines has room for more.
                buf.truncate(want);
                Ok(false)
            }
            Kind::Gzip(gzip) => gzip.fill(buf, offset, want),
            Kind::Alien(error) => Err(alien(error)),
        }
    }

    /// The `len` bytes at `offset`, or fewer where the file ends.
    pub(crate) fn piece(&mut self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        debug_assert!(len <= PRINT);
        match &mut self.kind {
            Kind::Plain(file) => {
                let mut bytes = vec![0; len];
                let mut have = 0;
                while have < len {
                    match file.read_at(&mut bytes[have..], offset + have as u64) {
                        Ok(0) => break,
                        Ok(more) => have += more,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
                bytes.truncate(have);
                Ok(bytes)
            }
            Kind::Gzip(gzip) => {
                let mut bytes = Vec::with_capacity(len);
                gzip.fill(&mut bytes, offset, len)?;
                bytes.truncate(len);
                Ok(bytes)
            }
            Kind::Alien(error) => Err(alien(error)),
        }
    }

    /// Whether `bytes` stand at `offset`.
    pub(crate) fn equals(&mut self, offset: u64, bytes: &[u8]) -> io::Result<bool> {
        let Kind::Plain(file) = &self.kind else {
            return Ok(self.piece(offset, bytes.len())? == bytes);
        };
        let mut there = [0; PRINT];
        let there = &mut there[..bytes.len()];
        match file.read_exact_at(there, offset) {
            Ok(()) => Ok(there == bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the bytes that `print` was made of stand here.
    pub(crate) fn holds(&mut self, print: &Print) -> io::Result<bool> {
        if print.len == 0 {
            return Ok(true);
        }
        if let Kind::Plain(file) = &self.kind
            && file.metadata()?.len() < print.end
        {
            return Ok(false);
        }
        let bytes = self.piece(print.start(), print.len as usize)?;
        Ok(bytes.len() == print.len as usize && Print::new(print.end, &bytes) == *print)
    }

    /// How long the content is, if that can be told without reading all of it: for gzip what its trailer says, which
    /// is right for a single member below 4 GiB.
    pub(crate) fn length_hint(&self) -> u64 {
        match &self.kind {
            Kind::Plain(_) | Kind::Alien(_) => self.ident.size,
            Kind::Gzip(gzip) => gzip.trailer().unwrap_or(0),
        }
    }
}

fn ours(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}

fn alien(error: &Option<io::Error>) -> io::Error {
    match error {
        Some(error) => io::Error::new(error.kind(), error.to_string()),
        None => io::Error::new(io::ErrorKind::Unsupported, "compression is not known"),
    }
}

/// How a file is packed, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Unknown,
}

/// Reads a gzip file forwards; going back means starting again.
#[derive(Debug)]
pub(crate) struct Gzip {
    file: File,
    decoder: Option<MultiGzDecoder<BufReader<File>>>,
    at: u64,
    length: Option<u64>,
}

impl Gzip {
    fn new(file: File) -> Self {
        Self {
            file,
            decoder: None,
            at: 0,
            length: None,
        }
    }

    /// Counts what unpacks; of a damaged file as far as it does.
    fn length(&mut self) -> io::Result<u64> {
        if let Some(length) = self.length {
            return Ok(length);
        }
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(0))?;
        // The descriptors share their position.
        self.decoder = None;
        let mut decoder = MultiGzDecoder::new(BufReader::with_capacity(64 << 10, file));
        let mut bytes = vec![0; 64 << 10];
        let mut length = 0;
        loop {
            match decoder.read(&mut bytes) {
                Ok(0) => break,
                Ok(more) => length += more as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error)
                    if error.kind() == io::ErrorKind::InvalidData
                        || error.kind() == io::ErrorKind::InvalidInput
                        || error.kind() == io::ErrorKind::UnexpectedEof =>
                {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        self.length = Some(length);
        Ok(length)
    }

    fn fill(&mut self, buf: &mut Vec<u8>, offset: u64, want: usize) -> io::Result<bool> {
        let goal = offset + buf.len() as u64;
        let mut decoder = match self.decoder.take() {
            Some(decoder) if self.at <= goal => decoder,
            _ => {
                let mut file = self.file.try_clone()?;
                file.seek(SeekFrom::Start(0))?;
                self.at = 0;
                MultiGzDecoder::new(BufReader::with_capacity(64 << 10, file))
            }
        };
        // A decoder that failed is not used again.
        if self.at < goal {
            let skipped = io::copy(&mut decoder.by_ref().take(goal - self.at), &mut io::sink())?;
            self.at += skipped;
        }
        let missing = want.saturating_sub(buf.len()) as u64;
        let mut ended = self.at < goal;
        if !ended {
            let got = decoder.by_ref().take(missing).read_to_end(buf)? as u64;
            self.at += got;
            ended = got < missing;
        }
        self.decoder = Some(decoder);
        Ok(ended)
    }

    /// RFC 1952 §2.3.1: the last four octets are the length of the last member modulo 2^32.
    fn trailer(&self) -> Option<u64> {
        let size = self.file.metadata().ok()?.len();
        let mut bytes = [0; 4];
        self.file
            .read_exact_at(&mut bytes, size.checked_sub(4)?)
            .ok()?;
        Some(u64::from(u32::from_le_bytes(bytes)))
    }
}

/// The last part of a path, for messages and comparisons.
pub(crate) fn file_name(path: &Path) -> OsString {
    path.file_name().unwrap_or_default().to_owned()
}
