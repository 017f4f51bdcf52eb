//! Epochs that are held open: as many as descriptors allow, those that were used last.

use archive::{ReadError, Reader};

use crate::store::PlaceKey;

/// Open epochs: each holds a directory and a segment.
#[derive(Debug, Default)]
pub(super) struct Readers {
    /// The one that was used last comes last.
    open: Vec<(PlaceKey, Reader)>,
}

impl Readers {
    /// The reader of an epoch, opened if it is not.
    ///
    /// # Errors
    /// It can't be opened.
    pub(super) fn of(
        &mut self,
        key: &PlaceKey,
        open: impl FnOnce() -> Result<Reader, ReadError>,
    ) -> Result<&mut Reader, ReadError> {
        let reader = match self.open.iter().rposition(|(known, _)| known == key) {
            Some(at) => self.open.remove(at),
            None => {
                if self.open.len() >= MAX_READERS {
                    self.open.remove(0);
                }
                (key.clone(), open()?)
            }
        };
        self.open.push(reader);
        let last = self.open.len() - 1;
        Ok(&mut self.open[last].1)
    }

    /// Closes an epoch.
    pub(super) fn forget(&mut self, key: &PlaceKey) {
        self.open.retain(|(known, _)| known != key);
    }
}

/// Epochs that are held open at a time; two descriptors each.
const MAX_READERS: usize = 64;
