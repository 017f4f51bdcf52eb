//! Whether the index is an older copy although its witness fits: the segments show it, if they hold enough.

use std::collections::HashMap;
use std::io;

use super::Recovery;
use super::ledgers::{Beyond, beyond};
use super::walk::held;
use crate::entry::{Entry, LedgerMark};
use crate::epoch::existing_dir;
use crate::error::OpenError;
use crate::facts::LEDGER;
use crate::index::Index;
use crate::name::{Form, StreamKey, packed_name, segment_name};

impl Recovery<'_> {
    /// Whether an epoch holds more than one window can explain, or lost what only a later window can remove: an index
    /// and a witness that are both older copies fit each other. To be found out before anything is taken back or cut.
    pub(super) async fn is_behind(&self, index: &mut Index) -> Result<bool, OpenError> {
        let at_index = |e| OpenError::Index(self.data.to_owned(), e);
        let live = index.live().await.map_err(at_index)?;
        let ledgers = index.ledgers().await.map_err(at_index)?;
        let ledgers: HashMap<StreamKey, LedgerMark> = ledgers.into_iter().collect();
        let mut keys: Vec<&StreamKey> = ledgers.keys().chain(live.iter().map(|e| &e.key)).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let mark = ledgers.get(key).copied().unwrap_or_default();
            let path = self.stream_path(key).join(LEDGER);
            let beyond = beyond(&path, &mark).map_err(|e| self.io(key, e))?;
            let beyond = beyond.unwrap_or_default();
            let of_live = live.iter().filter(|entry| entry.key == *key);
            let mut entries: Vec<Entry> = of_live.cloned().collect();
            for epoch in &beyond.epochs {
                if entries.iter().any(|entry| entry.epoch == *epoch) {
                    continue;
                }
                let found = index.find(key, *epoch).await.map_err(at_index)?;
                let new = || Entry::new(key.clone(), *epoch, Form::Log, 0, 0);
                entries.push(found.unwrap_or_else(new));
            }
            for entry in entries.iter().filter(|entry| entry.form == Form::Log) {
                let behind = self.epoch_is_behind(entry, &beyond);
                if behind.map_err(|e| self.io(key, e))? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn epoch_is_behind(&self, entry: &Entry, beyond: &Beyond) -> io::Result<bool> {
        let Some(dir) = existing_dir(self.root, &entry.key, entry.epoch)? else {
            return Ok(false);
        };
        if let Some((base, _)) = entry.mark.segment {
            // Only what the index called closed is compressed or removed.
            if beyond.removed.contains(&(entry.epoch, base))
                || (dir.has(&packed_name(base, entry.form))?
                    && !dir.has(&segment_name(base, entry.form))?)
            {
                return Ok(true);
            }
        }
        let held = held(&dir, entry)?;
        Ok(held.is_ok_and(|held| held.beyond > self.options.window_bytes))
    }
}
