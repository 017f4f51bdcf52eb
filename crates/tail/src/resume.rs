//! For a receiver that says where to go on: proof of what a file holds, and a new place to read from.

use crate::entry::Stage;
use crate::epoch::EpochId;
use crate::error::TailError;
use crate::follower::Follower;
use crate::print::{PRINT, Print};

impl Follower {
    /// The print of the `len` bytes (at most 4,096) before offset `end` of `epoch`; nothing if the epoch is not known,
    /// or its file is not there or does not hold so much.
    ///
    /// # Errors
    /// The file can't be read, which proves nothing.
    pub fn print(
        &mut self,
        epoch: EpochId,
        end: u64,
        len: u32,
    ) -> Result<Option<Print>, TailError> {
        let len = u64::from(len).min(PRINT as u64).min(end) as usize;
        let Some(source) = self
            .chain
            .iter_mut()
            .find(|entry| entry.id == epoch)
            .and_then(|entry| entry.source.as_mut())
        else {
            return Ok(None);
        };
        let bytes = source
            .piece(end - len as u64, len)
            .map_err(TailError::unreadable(&source.path))?;
        Ok((bytes.len() == len).then(|| Print::new(end, &bytes)))
    }

    /// Goes on at `offset` of `epoch`, as if everything before it, earlier epochs included, were confirmed and nothing
    /// behind it were handed out. False, and nothing happens, if the epoch is not known or its file ends before.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn resume(&mut self, epoch: EpochId, offset: u64) -> Result<bool, TailError> {
        let Some(print) = self.print(epoch, offset, PRINT as u32)? else {
            return Ok(false);
        };
        self.rewind();
        for entry in &mut self.chain {
            if entry.id == epoch {
                entry.go_to(print);
                break;
            }
            entry.roll = Stage::Done;
        }
        Ok(true)
    }
}
