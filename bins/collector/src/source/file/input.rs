//! One file of a container's log, plain or compressed, read in order.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    sync::Arc,
};

use docker_demux::MAX_ENTRY;
use flate2::bufread::MultiGzDecoder;

use crate::source::taken::hash;

/// Octets read at once: some thousand entries, and still within a core's own cache.
pub(super) const CHUNK: usize = 256 << 10;

/// Octets read at once when no entry ends within a chunk: enough to see that one is over the limit.
const LONG_CHUNK: usize = MAX_ENTRY + CHUNK;

/// Octets before the read position that are read again each time, to notice a file that was rewritten in place.
/// An entry ends with its stamp, so they differ from any other entry's.
const OVERLAP: usize = 64;

/// Octets before a position that tell it from all others.
const FINGERPRINT: usize = 4 << 10;

/// An open file of the log, and what names it.
#[derive(Clone, Debug)]
pub(super) struct LogFile {
    file: Arc<File>,
    pub(super) inode: u64,
    device: u64,
    pub(super) compressed: bool,
}

impl LogFile {
    pub(super) fn open(path: &Path, compressed: bool) -> io::Result<Self> {
        let file = File::open(path)?;
        let meta = file.metadata()?;
        Ok(Self {
            file: Arc::new(file),
            inode: meta.ino(),
            device: meta.dev(),
            compressed,
        })
    }

    /// Whether both are the same file. Sure as long as both are open.
    pub(super) fn is(&self, device: u64, inode: u64) -> bool {
        (self.device, self.inode) == (device, inode)
    }

    pub(super) fn same(&self, other: &Self) -> bool {
        self.is(other.device, other.inode)
    }

    pub(super) fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Gives the size of what is in a compressed file, as its last octets tell: modulo 2^32, and nothing sure if it
    /// was not written to its end.
    fn inner_size(&self) -> io::Result<u64> {
        let size = self.size()?;
        let mut trailer = [0; 4];
        self.file
            .read_exact_at(&mut trailer, size.saturating_sub(4))?;
        Ok(u64::from(u32::from_le_bytes(trailer)))
    }

    /// Gives the fingerprint of a position in the content; `None` if there is no such position.
    pub(super) fn fingerprint(&self, offset: u64) -> io::Result<Option<u64>> {
        let len = offset.min(FINGERPRINT as u64) as usize;
        let mut before = vec![0; len];
        if !self.compressed {
            return match self.file.read_exact_at(&mut before, offset - len as u64) {
                Ok(()) => Ok(Some(hash(&before))),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
                Err(error) => Err(error),
            };
        }
        let mut content = self.decoder();
        io::copy(
            &mut content.by_ref().take(offset - len as u64),
            &mut io::sink(),
        )?;
        match content.read_exact(&mut before) {
            Ok(()) => Ok(Some(hash(&before))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the content up to `offset` ends as a place says. Damage counts as no.
    pub(super) fn agrees(&self, offset: u64, fingerprint: u64) -> bool {
        if self.compressed
            && self
                .inner_size()
                .is_ok_and(|size| size < offset && offset < 1 << 32)
        {
            return false;
        }
        self.fingerprint(offset)
            .is_ok_and(|found| found == Some(fingerprint))
    }

    /// Whether this compressed file holds what the plain one held.
    pub(super) fn holds(&self, plain: &Self) -> io::Result<bool> {
        let size = plain.size()?;
        if !self.compressed || plain.compressed || self.inner_size()? != size & 0xffff_ffff {
            return Ok(false);
        }
        let fingerprint = plain.fingerprint(size)?;
        Ok(fingerprint.is_some_and(|fingerprint| self.agrees(size, fingerprint)))
    }

    fn decoder(&self) -> MultiGzDecoder<BufReader<FromStart>> {
        MultiGzDecoder::new(BufReader::with_capacity(
            64 << 10,
            FromStart {
                file: self.file.clone(),
                at: 0,
            },
        ))
    }
}

/// Reads a shared file by position, so that several readers of one file do not disturb each other.
#[derive(Debug)]
struct FromStart {
    file: Arc<File>,
    at: u64,
}

impl Read for FromStart {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.file.read_at(buf, self.at)?;
        self.at += len as u64;
        Ok(len)
    }
}

/// What came of an attempt to read on.
#[derive(Debug)]
pub(super) enum Fill<'a> {
    /// Octets from the read position on; nothing if there are none now.
    Octets(&'a [u8]),
    /// The file is shorter than the read position, or other octets stand before it: it was written anew.
    Rewritten,
}

/// Reads a file of the log from a position on.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) file: LogFile,
    /// The position up to which the content was consumed.
    pub(super) offset: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The octets before the read position.
    Plain {
        before: Vec<u8>,
    },
    Compressed(Box<Inflate>),
}

#[derive(Debug)]
struct Inflate {
    content: MultiGzDecoder<BufReader<FromStart>>,
    /// The octets before the read position, and those behind it that were not consumed.
    window: Vec<u8>,
    /// Where in the window the read position is.
    at: usize,
    /// The rest can't be decompressed.
    broken: bool,
}

impl Input {
    /// Begins to read at a position that is known to exist.
    pub(super) fn new(file: LogFile, offset: u64) -> io::Result<Self> {
        let state = if file.compressed {
            let mut content = file.decoder();
            io::copy(&mut content.by_ref().take(offset), &mut io::sink())?;
            State::Compressed(Box::new(Inflate {
                content,
                window: Vec::new(),
                at: 0,
                broken: false,
            }))
        } else {
            let mut before = vec![0; offset.min(OVERLAP as u64) as usize];
            let start = offset - before.len() as u64;
            file.file.read_exact_at(&mut before, start)?;
            State::Plain { before }
        };
        Ok(Self {
            file,
            offset,
            state,
        })
    }

    /// Reads what follows the position, into `shared` unless the file is compressed. `long`: an entry did not end
    /// within a chunk.
    pub(super) fn fill<'a>(
        &'a mut self,
        shared: &'a mut Vec<u8>,
        long: bool,
    ) -> io::Result<Fill<'a>> {
        let want = if long { LONG_CHUNK } else { CHUNK };
        match &mut self.state {
            State::Plain { before } => {
                let file = &self.file.file;
                shared.resize(before.len() + want, 0);
                let len = file.read_at(shared, self.offset - before.len() as u64)?;
                match shared[..len].strip_prefix(&before[..]) {
                    Some(octets) => Ok(Fill::Octets(octets)),
                    None => Ok(Fill::Rewritten),
                }
            }
            State::Compressed(inflate) => {
                let keep = inflate.at.min(FINGERPRINT);
                inflate.window.drain(..inflate.at - keep);
                inflate.at = keep;
                let missing = (keep + want).saturating_sub(inflate.window.len());
                if !inflate.broken {
                    let read = inflate
                        .content
                        .by_ref()
                        .take(missing as u64)
                        .read_to_end(&mut inflate.window);
                    inflate.broken = read.is_err();
                }
                Ok(Fill::Octets(&inflate.window[keep..]))
            }
        }
    }

    /// Moves the position over octets that were consumed: the first `len` of what the last fill gave, which for a
    /// plain file are still in `shared`.
    pub(super) fn consume(&mut self, shared: &[u8], len: usize) {
        self.offset += len as u64;
        match &mut self.state {
            State::Plain { before } => {
                let end = before.len() + len;
                let start = end.saturating_sub(OVERLAP);
                before.clear();
                before.extend_from_slice(&shared[start..end]);
            }
            State::Compressed(inflate) => inflate.at += len,
        }
    }

    /// Gives the fingerprint of a position at or before the read position.
    pub(super) fn fingerprint(&self, offset: u64) -> io::Result<Option<u64>> {
        if let State::Compressed(inflate) = &self.state {
            let len = offset.min(FINGERPRINT as u64);
            let base = self.offset - inflate.at as u64;
            if let Some(start) = (offset - len).checked_sub(base)
                && let Some(before) = inflate.window.get(start as usize..(offset - base) as usize)
            {
                return Ok(Some(hash(before)));
            }
        }
        self.file.fingerprint(offset)
    }

    /// Whether the content can't be read to its end.
    pub(super) fn broken(&self) -> bool {
        matches!(&self.state, State::Compressed(inflate) if inflate.broken)
    }

    /// Whether there may be something to read, without reading it.
    pub(super) fn stirs(&self) -> io::Result<bool> {
        Ok(self.file.compressed || self.file.size()? != self.offset)
    }
}
