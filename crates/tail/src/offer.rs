//! For a receiver that says where to go on: what there is to offer it, proof of what a file holds, and a new place to
//! read from.

use crate::entry::{Identity, Stage};
use crate::epoch::{EpochId, Now};
use crate::error::TailError;
use crate::follower::Follower;
use crate::print::{PRINT, Print};
use crate::source::Source;
use crate::step::RollCause;

/// Most bytes that [`Follower::bytes`] gives at once.
pub const MAX_BYTES: u32 = 64 << 10;

/// An epoch, as a receiver is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The epoch.
    pub epoch: EpochId,
    /// The epoch before it, if it is still known.
    pub after: Option<EpochId>,
    /// The epoch of which it is another history.
    pub of: Option<EpochId>,
    /// Where it begins.
    pub base: u64,
    /// The lowest offset that can be read; the size when nothing can be.
    pub from: u64,
    /// The length of its file now.
    pub size: u64,
    /// Its end was handed out, and nothing is expected any more but late writes.
    pub over: bool,
    /// How it ended, if that is known.
    pub cause: Option<RollCause>,
}

impl Follower {
    /// The epoch at which reading goes on, or the last one; none before any file was seen.
    pub fn current_epoch(&self) -> Option<EpochId> {
        let due = self
            .chain
            .iter()
            .find(|entry| entry.roll == Stage::Due && !entry.sealed);
        due.or(self.chain.back()).map(|entry| entry.id)
    }

    /// Its place in the order of the epochs; none if it is not known.
    pub fn place(&self, epoch: EpochId) -> Option<usize> {
        self.chain.iter().position(|entry| entry.id == epoch)
    }

    /// The epoch to go on with behind this one: the next that is not over.
    pub fn successor(&self, epoch: EpochId) -> Option<EpochId> {
        let mut behind = self.chain.iter().skip(self.place(epoch)? + 1);
        let open = behind.find(|entry| entry.roll == Stage::Due && !entry.sealed);
        open.map(|entry| entry.id)
    }

    /// What to tell a receiver of an epoch; none if it is not known.
    ///
    /// # Errors
    /// Its file can't be read now.
    pub fn offer(&mut self, epoch: EpochId, now: Now) -> Result<Option<Offer>, TailError> {
        self.verify(epoch, now)?;
        let Some(at) = self.place(epoch) else {
            return Ok(None);
        };
        let after = at.checked_sub(1).map(|before| self.chain[before].id);
        let entry = &mut self.chain[at];
        entry.doubted = false;
        let (from, size) = match (&mut entry.source, entry.lost) {
            (Some(source), None) => {
                let length = source
                    .length()
                    .map_err(TailError::unreadable(&source.path))?;
                (entry.base.min(length), length)
            }
            _ => (entry.sent, entry.sent),
        };
        Ok(Some(Offer {
            epoch,
            after,
            of: entry.of,
            base: entry.base,
            from,
            size,
            over: entry.roll != Stage::Due,
            cause: entry.cause,
        }))
    }

    /// Whether the epoch's file is still what we know it to be; if not, it is looked for elsewhere. Before a receiver is
    /// told of it: a file that was cut a moment ago is no other history of its epoch.
    pub(crate) fn verify(&mut self, epoch: EpochId, now: Now) -> Result<bool, TailError> {
        let Some(at) = self.place(epoch) else {
            return Ok(false);
        };
        let entry = &mut self.chain[at];
        if entry
            .check(now)
            .map_err(TailError::unreadable(&self.options.path))?
            == Identity::Same
        {
            return Ok(true);
        }
        if entry.roll == Stage::Due {
            self.estrange(at, now)?;
            self.settle(now)?;
        } else {
            entry.source = None;
        }
        Ok(false)
    }

    /// The `len` bytes (at most [`MAX_BYTES`]) before offset `end` of `epoch`; nothing if the epoch is not known, or its
    /// file is not there or does not hold so much.
    ///
    /// # Errors
    /// The file can't be read, which proves nothing.
    pub fn bytes(
        &mut self,
        epoch: EpochId,
        end: u64,
        len: u32,
    ) -> Result<Option<Vec<u8>>, TailError> {
        let Some(at) = self.place(epoch) else {
            return Ok(None);
        };
        let entry = &mut self.chain[at];
        let Some(source) = &mut entry.source else {
            return Ok(None);
        };
        let bytes = bytes(source, end, len)?;
        // It may have been cut and written again under the read.
        let same = entry
            .compare()
            .map_err(TailError::unreadable(&self.options.path))?;
        Ok(bytes.filter(|_| same))
    }

    /// The start of the line that holds the byte before offset `at` of `epoch`, or `at` itself behind an LF.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn line_start(&mut self, epoch: EpochId, at: u64) -> Result<Option<u64>, TailError> {
        match self.source(epoch) {
            Some(source) => line_start(source, at).map(Some),
            None => Ok(None),
        }
    }

    /// Goes on at `offset` of `epoch`, as if everything of it before were confirmed and nothing behind it were handed
    /// out; other epochs stay as they are. An epoch that was over is read again to its end. False, and nothing happens,
    /// if the epoch is not known or its file ends before, or is not what it was when it was [offered](Follower::offer).
    ///
    /// # Errors
    /// The file can't be read.
    pub fn seek(&mut self, epoch: EpochId, offset: u64) -> Result<bool, TailError> {
        let Some(at) = self.place(epoch) else {
            return Ok(false);
        };
        if self.chain[at].doubted {
            return Ok(false);
        }
        let len = offset.min(PRINT as u64) as u32;
        let print = match self.bytes(epoch, offset, len)? {
            Some(bytes) => Print::new(offset, &bytes),
            None if self.chain[at].source.is_some() => return Ok(false),
            // There is nothing to prove it by, and nothing to read.
            None => Print::new(offset, &[]),
        };
        self.forget(epoch);
        self.chain[at].go_to(print);
        Ok(true)
    }

    fn source(&mut self, epoch: EpochId) -> Option<&mut Source> {
        let entry = self.chain.iter_mut().find(|entry| entry.id == epoch)?;
        entry.source.as_mut()
    }
}

pub(crate) fn bytes(source: &mut Source, end: u64, len: u32) -> Result<Option<Vec<u8>>, TailError> {
    let len = u64::from(len.min(MAX_BYTES)).min(end) as usize;
    let mut bytes = Vec::with_capacity(len);
    source
        .fill(&mut bytes, end - len as u64, len)
        .map_err(TailError::unreadable(&source.path))?;
    // A reader may bring more than was asked for.
    bytes.truncate(len);
    Ok((bytes.len() == len).then_some(bytes))
}

pub(crate) fn line_start(source: &mut Source, at: u64) -> Result<u64, TailError> {
    let mut end = at;
    while end > 0 {
        let Some(bytes) = bytes(source, end, MAX_BYTES)? else {
            break;
        };
        let start = end - bytes.len() as u64;
        if let Some(lf) = memchr::memrchr(b'\n', &bytes) {
            return Ok(start + lf as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}
