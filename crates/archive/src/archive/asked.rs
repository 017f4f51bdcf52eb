//! What can be asked of the archive.

use std::io;

use super::{Archive, Committed, GONE, Handle};
use crate::api::{Held, Proof, Stand};
use crate::entry::Entry;
use crate::error::AppendError;
use crate::index::IndexError;
use crate::name::{EpochId, StreamKey};
use crate::reader::{Chunk, ReadError, Reader};

impl Archive {
    /// Where every epoch stands that is not sealed: those that are loaded, and those that were not when the archive
    /// was opened. For the start: after the first window only loaded ones are given. The handles of those that are not
    /// loaded are gone from the beginning.
    pub fn standing(&self) -> impl Iterator<Item = Committed> + '_ {
        let loaded = self.epochs.iter().filter(|(_, e)| !e.committed.sealed);
        let loaded = loaded.map(|(handle, epoch)| Committed {
            handle: *handle,
            key: epoch.key.clone(),
            epoch: epoch.id,
            form: epoch.form,
            from: epoch.base,
            to: epoch.committed.end,
            sealed: epoch.committed.sealed,
            ledger: self.ledger(&epoch.key),
        });
        let resting = self
            .resting
            .iter()
            .filter(|entry| !self.by_id.contains_key(&(entry.key.clone(), entry.epoch)));
        loaded.chain(resting.map(|entry| Committed {
            handle: GONE,
            key: entry.key.clone(),
            epoch: entry.epoch,
            form: entry.form,
            from: entry.base,
            to: entry.mark.end,
            sealed: false,
            ledger: self.ledger(&entry.key),
        }))
    }

    /// Whether the epoch is known, also when nothing of it is held.
    ///
    /// # Errors
    /// The index can't be asked.
    pub async fn known(&mut self, key: &StreamKey, id: EpochId) -> Result<bool, IndexError> {
        if self.by_id.contains_key(&(key.clone(), id)) {
            return Ok(true);
        }
        Ok(self
            .ask(async |index| index.find(key, id).await)
            .await?
            .is_some())
    }

    /// Where an epoch stands. Only of use when nothing of it is uncommitted.
    ///
    /// # Errors
    /// [`AppendError::Refused`] for a handle that is gone.
    pub fn stand(&self, handle: Handle) -> Result<Stand, AppendError> {
        let epoch = self.epochs.get(&handle).ok_or(AppendError::Gone)?;
        Ok(epoch.stand(self.ledger(&epoch.key)))
    }

    /// The newest epochs of a stream, newest first, as they are committed.
    ///
    /// # Errors
    /// The index can't be asked.
    pub async fn epochs(&mut self, key: &StreamKey, most: usize) -> Result<Vec<Held>, IndexError> {
        let entries = self
            .ask(async |index| index.newest(key, most).await)
            .await?;
        Ok(entries.iter().map(Entry::held).collect())
    }

    /// The hash of the `len` bytes before `end`, or what of them is missing.
    ///
    /// # Errors
    /// The bytes should be there and can't be read.
    pub async fn prove(
        &mut self,
        key: &StreamKey,
        epoch: EpochId,
        end: u64,
        len: u32,
    ) -> io::Result<Proof> {
        let loaded = self.by_id.get(&(key.clone(), epoch));
        let stands = match loaded.and_then(|handle| self.epochs.get(handle)) {
            Some(epoch) => Some((epoch.form, epoch.base, epoch.committed.end)),
            None => {
                let found = self.ask(async |index| index.find(key, epoch).await).await;
                let found = found.map_err(io::Error::other)?;
                found.map(|entry| (entry.form, entry.base, entry.mark.end))
            }
        };
        let (Some((form, base, committed)), Some(from)) = (stands, end.checked_sub(u64::from(len)))
        else {
            return Ok(Proof::Missing(None));
        };
        if end > committed {
            return Ok(Proof::Missing(None));
        }
        if from < base {
            return Ok(Proof::Missing(Some(0..base)));
        }
        let mut bytes = Vec::new();
        let mut reader = match Reader::open(&self.data, key, epoch, form, from) {
            Ok(reader) => reader,
            Err(ReadError::Io(e)) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            // Retention leaves no directory behind.
            Err(_) if len > 0 => return Ok(Proof::Missing(Some(base..committed))),
            Err(_) => return Ok(Proof::Hash(*blake3::hash(b"").as_bytes())),
        };
        loop {
            match reader.read_held(end, len as usize, &mut bytes) {
                Ok(Chunk::Bytes(_)) => {}
                Ok(Chunk::End) => return Ok(Proof::Hash(*blake3::hash(&bytes).as_bytes())),
                Ok(Chunk::Gap(_)) | Err(ReadError::Missing(_)) => {
                    return Ok(Proof::Missing(reader.missing(from..end, base..committed)?));
                }
                Err(ReadError::Io(e)) => return Err(e),
            }
        }
    }
}
