//! The record in a redo slot, as bytes and back.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::slot::crc;
use crate::store::Change;

/// A batch as its slot holds it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Number of the batch; the first is 1.
    pub(super) seq: u64,
    /// The newest batch whose changes the store's table held for certain when this was written.
    pub(super) base: u64,
    /// One plan a target, in the order of `parts`.
    pub(super) plans: Vec<Plan>,
    /// Changes of this batch and of those since `base`.
    pub(super) changes: Vec<Tagged>,
    /// Losses found by a recovery that its caller may not have heard of.
    pub(super) notes: Vec<Note>,
    /// The bytes, one part a target.
    pub(super) parts: Vec<Vec<u8>>,
}

/// Where a part goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// The target as configured.
    pub(super) path: PathBuf,
    /// The file that had that name.
    pub(super) id: FileId,
    /// Nothing of the part stands before this position; everything before it is durable.
    pub(super) start: u64,
    /// The bytes before `start`, to recognise the file and its copies.
    pub(super) proof: Proof,
    /// When it was made, nanoseconds since 1970: a copy of the file's first lines that is older is a
    /// copy of other lines.
    pub(super) at: u64,
}

/// A file's identity as the system sees it; the birth time keeps a reused inode number apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId {
    pub(super) dev: u64,
    pub(super) ino: u64,
    /// Nanoseconds since 1970, 0 where the file system keeps no birth time.
    pub(super) born: u64,
}

/// Length and hash of the bytes before a position; at most [`PROOF_BYTES`], fewer only at a file's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Proof {
    pub(super) len: u32,
    pub(super) hash: [u8; 16],
}

/// A change and the batch that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tagged {
    pub(crate) batch: u64,
    pub(crate) key: String,
    /// `None`: deleted.
    pub(crate) value: Option<Vec<u8>>,
}

/// A part of which nobody knows how much stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    pub(super) lines: u64,
    pub(super) batch: u64,
}

/// The fixed front of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    sum: u32,
    pub(super) head_bytes: u32,
    pub(super) seq: u64,
    pub(super) middle_bytes: u64,
}

/// How a part is cut into what is copied into the head and what goes out from where it lies.
pub(super) mod layout {
    use std::ops::Range;

    /// Alignment of memory, position and length of a direct write.
    pub(in super::super) const BLOCK: usize = 4096;

    /// Below this a copy is cheaper than one more segment.
    const COPY_BYTES: usize = 64 << 10;

    /// The aligned middle of `part`, empty for a small one.
    pub(super) fn middle(part: &[u8]) -> Range<usize> {
        let lead = part.as_ptr().align_offset(BLOCK);
        if part.len() < COPY_BYTES || lead >= BLOCK {
            return 0..0;
        }
        let len = (part.len() - lead) / BLOCK * BLOCK;
        lead..lead + len
    }
}

impl Record {
    /// The head, and the parts' middles that follow it.
    pub(super) fn encode(&self) -> (Vec<u8>, Vec<&[u8]>) {
        let mut out = vec![0; HEADER_BYTES];
        put_u64(&mut out, self.base);
        put_len(&mut out, self.plans.len());
        for plan in &self.plans {
            put_bytes(&mut out, plan.path.as_os_str().as_bytes());
            let Plan {
                id,
                start,
                at,
                proof,
                ..
            } = plan;
            for number in [id.dev, id.ino, id.born, *start, *at, u64::from(proof.len)] {
                put_u64(&mut out, number);
            }
            out.extend_from_slice(&plan.proof.hash);
        }
        put_len(&mut out, self.changes.len());
        for change in &self.changes {
            put_u64(&mut out, change.batch);
            put_bytes(&mut out, change.key.as_bytes());
            out.push(u8::from(change.value.is_some()));
            put_bytes(&mut out, change.value.as_deref().unwrap_or_default());
        }
        put_len(&mut out, self.notes.len());
        for note in &self.notes {
            put_bytes(&mut out, note.path.as_os_str().as_bytes());
            put_u64(&mut out, note.bytes);
            put_u64(&mut out, note.lines);
            put_u64(&mut out, note.batch);
        }
        let mut middles = Vec::with_capacity(self.parts.len());
        put_len(&mut out, self.parts.len());
        for part in &self.parts {
            let middle = layout::middle(part);
            put_bytes(&mut out, &part[..middle.start]);
            put_u64(&mut out, middle.len() as u64);
            put_bytes(&mut out, &part[middle.end..]);
            middles.push(&part[middle]);
        }
        let header = Header {
            sum: 0,
            head_bytes: u32::try_from(out.len()).unwrap_or(u32::MAX),
            seq: self.seq,
            middle_bytes: middles.iter().map(|middle| middle.len() as u64).sum(),
        };
        header.encode(&mut out);
        let mut pieces: Vec<&[u8]> = vec![&out[SUMMED_FROM..]];
        pieces.extend(&middles);
        let sum = crc(&pieces);
        Header { sum, ..header }.encode(&mut out);
        (out, middles)
    }

    /// Reads the record that `header` announces from `bytes`, which are padded head and middles.
    /// `None`: it is not whole.
    pub(super) fn decode(header: &Header, bytes: &[u8]) -> Option<Self> {
        let head_bytes = usize::try_from(header.head_bytes).ok()?;
        let head = bytes.get(..head_bytes)?;
        let mut middles = bytes.get(head_bytes.next_multiple_of(layout::BLOCK)..)?;
        if middles.len() as u64 != header.middle_bytes
            || crc(&[head.get(SUMMED_FROM..)?, middles]) != header.sum
        {
            return None;
        }
        let mut body = Body(head.get(HEADER_BYTES..)?);
        let mut record = Self {
            seq: header.seq,
            base: body.u64()?,
            ..Self::default()
        };
        for _ in 0..body.u64()? {
            record.plans.push(body.plan()?);
        }
        for _ in 0..body.u64()? {
            record.changes.push(body.change()?);
        }
        for _ in 0..body.u64()? {
            let note = Note {
                path: body.path()?,
                bytes: body.u64()?,
                lines: body.u64()?,
                batch: body.u64()?,
            };
            record.notes.push(note);
        }
        for _ in 0..body.u64()? {
            let mut part = body.bytes()?.to_vec();
            let middle;
            (middle, middles) = middles.split_at_checked(usize::try_from(body.u64()?).ok()?)?;
            part.extend_from_slice(middle);
            part.extend_from_slice(body.bytes()?);
            record.parts.push(part);
        }
        (body.0.is_empty() && middles.is_empty() && record.parts.len() == record.plans.len())
            .then_some(record)
    }
}

impl Plan {
    /// The plan of an empty part.
    pub(super) fn none(path: &Path) -> Self {
        let id = FileId {
            dev: 0,
            ino: 0,
            born: 0,
        };
        Self {
            path: path.to_path_buf(),
            id,
            start: 0,
            proof: Proof::default(),
            at: 0,
        }
    }
}

impl Tagged {
    pub(super) fn new(batch: u64, change: &Change) -> Self {
        let (key, value) = change.parts();
        Self {
            batch,
            key: key.to_owned(),
            value: value.map(<[u8]>::to_vec),
        }
    }
}

impl Header {
    /// `None`: these are not the bytes of a header.
    pub(super) fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let mut body = Body(bytes.strip_prefix(MAGIC)?);
        let sum = body.u32()?;
        Some(Self {
            sum,
            head_bytes: body.u32()?,
            seq: body.u64()?,
            middle_bytes: body.u64()?,
        })
    }

    fn encode(&self, out: &mut [u8]) {
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&self.sum.to_le_bytes());
        out[12..16].copy_from_slice(&self.head_bytes.to_le_bytes());
        out[16..24].copy_from_slice(&self.seq.to_le_bytes());
        out[24..32].copy_from_slice(&self.middle_bytes.to_le_bytes());
    }
}

/// The rest of a body that is being read; `None` wherever it is too short.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.u64()?).ok()?;
        let taken;
        (taken, self.0) = self.0.split_at_checked(len)?;
        Some(taken)
    }

    fn path(&mut self) -> Option<PathBuf> {
        Some(OsString::from_vec(self.bytes()?.to_vec()).into())
    }

    fn plan(&mut self) -> Option<Plan> {
        let path = self.path()?;
        let id = FileId {
            dev: self.u64()?,
            ino: self.u64()?,
            born: self.u64()?,
        };
        let (start, at) = (self.u64()?, self.u64()?);
        let proof = Proof {
            len: u32::try_from(self.u64()?).ok()?,
            hash: self.take()?,
        };
        Some(Plan {
            path,
            id,
            start,
            proof,
            at,
        })
    }

    fn change(&mut self) -> Option<Tagged> {
        let batch = self.u64()?;
        let key = String::from_utf8(self.bytes()?.to_vec()).ok()?;
        let [put] = self.take::<1>()?;
        let value = self.bytes()?.to_vec();
        Some(Tagged {
            batch,
            key,
            value: (put == 1).then_some(value),
        })
    }
}

fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    put_u64(out, len as u64);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Size of the fixed front.
pub(super) const HEADER_BYTES: usize = 32;

/// Most bytes before a start that are hashed, as many as a tail proof covers (docs/wire.md).
pub(super) const PROOF_BYTES: u32 = 4096;

/// The checksum covers everything after itself.
const SUMMED_FROM: usize = 12;

const MAGIC: &[u8; 8] = b"LFREDO1\n";
