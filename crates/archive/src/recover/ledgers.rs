//! The ledgers against the index: what a window told that does not stand is taken back.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use offsets::{Fact, LINE_BYTES};
use serde_json::Value;

use super::{Recovered, Recovery};
use crate::entry::{Entry, LedgerMark};
use crate::error::OpenError;
use crate::facts::{self, LEDGER};
use crate::index::Index;
use crate::name::{EpochId, Form, StreamKey};

/// What a ledger has that the index does not know.
#[derive(Debug, Default)]
pub(super) struct Beyond {
    /// The first line does not go on from the last known one.
    broken: bool,
    /// Epochs that are spoken of.
    pub(super) epochs: Vec<EpochId>,
    /// Segments that were removed.
    pub(super) removed: Vec<(EpochId, u64)>,
}

impl Recovery<'_> {
    /// Looks at the ledgers whose length is not the known one, tells what has to be told, and gives where those stand
    /// then. The known ones are only looked up.
    pub(super) async fn ledgers(
        &self,
        index: &mut Index,
        live: &[Entry],
        known: &HashMap<StreamKey, LedgerMark>,
        mut notes: BTreeMap<StreamKey, Vec<Fact>>,
        recovered: &mut Vec<Recovered>,
    ) -> Result<Vec<(StreamKey, LedgerMark)>, OpenError> {
        let mut keys: Vec<&StreamKey> = known.keys().chain(live.iter().map(|e| &e.key)).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut moved = Vec::new();
        for key in keys {
            let mark = known.get(key).copied().unwrap_or_default();
            let mut told = notes.remove(key).unwrap_or_default();
            let path = self.stream_path(key);
            let found = beyond(&path.join(LEDGER), &mark).map_err(|e| self.io(key, e))?;
            let facts = match found {
                None if told.is_empty() => continue,
                None => told,
                Some(beyond) => {
                    let mut facts = Vec::new();
                    if beyond.broken {
                        recovered.push(Recovered::Ledger { key: key.clone() });
                        facts.push(facts::broken(Some(&mark)));
                    }
                    for epoch in beyond.epochs {
                        let id = Some(epoch.to_string());
                        if told.iter().any(|fact| fact.epoch == id) {
                            continue;
                        }
                        let of_live = |e: &&Entry| e.epoch == epoch && e.key == *key;
                        let entry = match live.iter().find(of_live) {
                            Some(entry) => Some(entry.clone()),
                            None => index
                                .find(key, epoch)
                                .await
                                .map_err(|e| OpenError::Index(self.data.to_owned(), e))?,
                        };
                        // Of one that the index does not know nothing stands.
                        let nothing = || Entry::new(key.clone(), epoch, Form::Log, 0, 0);
                        facts.push(facts::recovery(&entry.unwrap_or_else(nothing)));
                    }
                    facts.append(&mut told);
                    facts
                }
            };
            if !path.exists() {
                crate::epoch::sync_above(self.root, key).map_err(|e| self.io(key, e))?;
            }
            self.step()?;
            let mark = facts::write(&path, &mut None, &facts, self.options.clock.now())?;
            moved.push((key.clone(), mark));
        }
        Ok(moved)
    }
}

/// What stands behind the known end of a ledger; `None` when it ends there.
pub(super) fn beyond(path: &Path, mark: &LedgerMark) -> io::Result<Option<Beyond>> {
    let mut file = match crate::segment::existing(File::open(path))? {
        Some(file) => file,
        None if mark.len == 0 => return Ok(None),
        None => {
            return Ok(Some(Beyond {
                broken: true,
                ..Beyond::default()
            }));
        }
    };
    let len = file.metadata()?.len();
    if len == mark.len {
        return Ok(None);
    }
    let mut beyond = Beyond {
        broken: len < mark.len,
        ..Beyond::default()
    };
    if beyond.broken {
        return Ok(Some(beyond));
    }
    file.seek(SeekFrom::Start(mark.len))?;
    let mut lines = BufReader::new(file);
    let head = blake3::Hash::from_bytes(mark.head).to_hex();
    let mut first = true;
    loop {
        let mut line = Vec::new();
        let limit = LINE_BYTES as u64 + 1;
        (&mut lines).take(limit).read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") {
            // A torn line is cut by the next one who writes.
            return Ok(Some(beyond));
        }
        let value: Value = serde_json::from_slice(&line).unwrap_or_default();
        let text = |name| value.get(name).and_then(Value::as_str);
        beyond.broken |= first && text("prev") != Some(head.as_str());
        first = false;
        let Some(epoch) = text("epoch").and_then(|text| EpochId::parse(text).ok()) else {
            continue;
        };
        if !beyond.epochs.contains(&epoch) {
            beyond.epochs.push(epoch);
        }
        if text("kind") == Some(facts::REMOVED)
            && let Some(base) = value.get("base").and_then(Value::as_u64)
        {
            beyond.removed.push((epoch, base));
        }
    }
}
