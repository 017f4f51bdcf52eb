//! The two redo slots: a batch's bytes, its plan and the checkpoints that go with it, written and
//! synced before the first byte reaches a target. The sync of a slot is the commit of the batch.
//!
//! A slot file is a 4 KiB block with the *mark* (the batch that is known to be closed), then the
//! record: head (fixed header, body, the parts' unaligned ends), padded to 4 KiB, then the parts'
//! aligned middles. So the middles go out with O_DIRECT straight from the caller's buffers: measured
//! at a third of the CPU time of a write through the page cache.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::AppendError;
use super::disk::{Disk, Step};
use super::record::{HEADER_BYTES, Header, Record, layout};

/// Both slots, and which file is whose.
#[derive(Debug)]
pub(super) struct Slots {
    slots: [Slot; 2],
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Slot {
    path: PathBuf,
    /// Without page cache where the file system can; else the same as `plain`.
    direct: Option<File>,
    plain: File,
}

impl Slots {
    /// Opens the slots in `dir`. `known`: the store knows an appender here, so that missing or empty
    /// files are damage and not a first start.
    pub(super) fn open(dir: &Path, known: bool, disk: &mut Disk) -> Result<Self, AppendError> {
        let paths = [dir.join("redo.0"), dir.join("redo.1")];
        for path in &paths {
            if known && !path.exists() {
                return Err(AppendError::Damaged {
                    path: path.clone(),
                    what: "it is missing",
                });
            }
        }
        let slot = |path: &PathBuf| Slot::open(path);
        let blocked = |path: &Path| {
            let path = path.to_path_buf();
            move |source| AppendError::Blocked { path, source }
        };
        let slots = [
            slot(&paths[0]).map_err(blocked(&paths[0]))?,
            slot(&paths[1]).map_err(blocked(&paths[1]))?,
        ];
        let mut slots = Self {
            slots,
            scratch: Vec::new(),
        };
        if !known {
            slots.found(disk).map_err(blocked(dir))?;
        }
        Ok(slots)
    }

    /// Writes the empty batch 0 where a slot holds no record yet.
    fn found(&mut self, disk: &mut Disk) -> io::Result<()> {
        let valid = [
            self.slots[0].read()?.is_some(),
            self.slots[1].read()?.is_some(),
        ];
        if valid[0] || valid[1] {
            return Ok(());
        }
        let empty = Record::default();
        self.write(&empty, disk)?;
        self.sync(0, disk)?;
        self.mark(0, disk)?;
        crate::appender::sync_dir(self.slots[0].path.parent().unwrap_or(Path::new(".")))
    }

    /// The newest record that is whole, and whether its batch is known to be closed.
    pub(super) fn newest(&self) -> Result<(Record, bool), AppendError> {
        let blocked = |slot: &Slot, source| AppendError::Blocked {
            path: slot.path.clone(),
            source,
        };
        let mut order = [0, 1];
        let seq = |index: usize| {
            self.slots[index]
                .header()
                .map(|header| header.map_or(0, |header| header.seq))
        };
        let seqs = [
            seq(0).map_err(|source| blocked(&self.slots[0], source))?,
            seq(1).map_err(|source| blocked(&self.slots[1], source))?,
        ];
        order.sort_by_key(|index| std::cmp::Reverse(seqs[*index]));
        for index in order {
            let slot = &self.slots[index];
            let Some(record) = slot.read().map_err(|source| blocked(slot, source))? else {
                continue;
            };
            let closed = slot.closed().map_err(|source| blocked(slot, source))? == Some(record.seq);
            return Ok((record, closed));
        }
        Err(AppendError::Damaged {
            path: self.slots[0].path.clone(),
            what: "neither slot holds a whole record",
        })
    }

    /// The file of batch `seq`.
    pub(super) fn path(&self, seq: u64) -> &Path {
        &self.slot(seq).path
    }

    /// Writes `record`, not yet durably. Returns its size.
    pub(super) fn write(&mut self, record: &Record, disk: &mut Disk) -> io::Result<u64> {
        let Self { slots, scratch } = self;
        let slot = &mut slots[index(record.seq)];
        let (head, middles) = record.encode();
        let padded = head.len().next_multiple_of(BLOCK);
        scratch.clear();
        scratch.resize(padded + BLOCK, 0);
        // An address that can't be aligned (the method may say so) only costs the direct way.
        let aligned = scratch.as_ptr().align_offset(BLOCK);
        let from = if aligned < BLOCK { aligned } else { 0 };
        scratch[from..from + head.len()].copy_from_slice(&head);
        let head = &scratch[from..from + padded];
        let total = padded + middles.iter().map(|middle| middle.len()).sum::<usize>();
        let bufs = || {
            let mut bufs = vec![IoSlice::new(head)];
            bufs.extend(middles.iter().map(|middle| IoSlice::new(middle)));
            bufs
        };
        if let Some(direct) = &slot.direct {
            match disk.redo(direct, &slot.path, &mut bufs(), BLOCK as u64) {
                Err(error) if is_unsupported(&error) => slot.direct = None,
                other => return other.map(|()| total as u64),
            }
        }
        disk.redo(&slot.plain, &slot.path, &mut bufs(), BLOCK as u64)?;
        Ok(total as u64)
    }

    /// Makes the record of batch `seq` durable: from here on the batch is announced.
    pub(super) fn sync(&self, seq: u64, disk: &mut Disk) -> io::Result<()> {
        let slot = self.slot(seq);
        disk.sync(Step::RedoSync, &slot.plain, &slot.path)
    }

    /// Notes that batch `seq` stands durably in its targets. Not synced: a lost mark costs one recount.
    pub(super) fn mark(&self, seq: u64, disk: &mut Disk) -> io::Result<()> {
        let slot = self.slot(seq);
        let mut block = [0; BLOCK];
        block[..8].copy_from_slice(MARK);
        block[8..16].copy_from_slice(&seq.to_le_bytes());
        let crc = crc(&[&block[..16]]);
        block[16..20].copy_from_slice(&crc.to_le_bytes());
        let allowed = disk.ask(Step::Mark, &slot.path, BLOCK)?;
        slot.plain.write_all_at(&block[..allowed], 0)
    }

    fn slot(&self, seq: u64) -> &Slot {
        &self.slots[index(seq)]
    }
}

impl Slot {
    fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        let plain = options.open(path)?;
        let direct = rustix::fs::OFlags::DIRECT.bits().cast_signed();
        // tmpfs before 6.6 and some network file systems refuse O_DIRECT at open.
        let direct = OpenOptions::new()
            .write(true)
            .custom_flags(direct)
            .open(path)
            .ok();
        Ok(Self {
            path: path.to_path_buf(),
            direct,
            plain,
        })
    }

    /// The header as it stands, unchecked.
    fn header(&self) -> io::Result<Option<Header>> {
        let mut bytes = [0; HEADER_BYTES];
        let len = read_up_to(&self.plain, &mut bytes, BLOCK as u64)?;
        Ok((len == HEADER_BYTES)
            .then(|| Header::decode(&bytes))
            .flatten())
    }

    /// The record, if it is whole.
    fn read(&self) -> io::Result<Option<Record>> {
        let Some(header) = self.header()? else {
            return Ok(None);
        };
        let size = self.plain.metadata()?.len();
        let head = u64::from(header.head_bytes);
        let Some(total) = head
            .next_multiple_of(BLOCK as u64)
            .checked_add(header.middle_bytes)
        else {
            return Ok(None);
        };
        if (BLOCK as u64)
            .checked_add(total)
            .is_none_or(|end| end > size)
        {
            return Ok(None);
        }
        let Ok(total) = usize::try_from(total) else {
            return Ok(None);
        };
        let mut bytes = vec![0; total];
        self.plain.read_exact_at(&mut bytes, BLOCK as u64)?;
        Ok(Record::decode(&header, &bytes))
    }

    /// The batch of the mark.
    fn closed(&self) -> io::Result<Option<u64>> {
        let mut block = [0; 20];
        if read_up_to(&self.plain, &mut block, 0)? < block.len() || block[..8] != *MARK {
            return Ok(None);
        }
        let [seq, sum] = [&block[8..16], &block[16..20]];
        let whole = sum == crc(&[&block[..16]]).to_le_bytes();
        Ok(whole
            .then(|| seq.try_into().ok().map(u64::from_le_bytes))
            .flatten())
    }
}

/// How file systems and devices say that they can't write directly, or not with this alignment.
fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
    )
}

fn index(seq: u64) -> usize {
    usize::from(!seq.is_multiple_of(2))
}

fn read_up_to(file: &File, buf: &mut [u8], at: u64) -> io::Result<usize> {
    let mut len = 0;
    while len < buf.len() {
        match file.read_at(&mut buf[len..], at + len as u64) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

/// CRC-32 of `pieces` in a row. It has to notice a write that power cut short, not an adversary; at
/// 35 GB/s it costs a fifth of a BLAKE3.
pub(super) fn crc(pieces: &[&[u8]]) -> u32 {
    let mut crc = flate2::Crc::new();
    for piece in pieces {
        crc.update(piece);
    }
    crc.sum()
}

/// Alignment of everything that goes out with O_DIRECT: enough for 512-byte and 4 KiB sectors.
pub(super) const BLOCK: usize = layout::BLOCK;

const MARK: &[u8; 8] = b"LFMARK1\n";
