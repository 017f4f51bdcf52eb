//! Ledger, index and files of a stream against each other.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use super::epoch::EpochCheck;
use super::{Damage, chain, stream_path};
use crate::dir::Dir;
use crate::entry::{Entry, LedgerMark};
use crate::epoch::existing_dir;
use crate::facts::LEDGER;
use crate::index::{Index, IndexError};
use crate::name::{ARCHIVE_DIR, EpochId, StreamKey};
use crate::recover::INDEX;
use crate::told::{EpochTold, Told};

/// What the index knows, read before the ledgers, so that they can't be behind it.
pub(super) struct Known {
    index: Option<Index>,
    ledgers: HashMap<StreamKey, LedgerMark>,
    /// Nobody has the archive open, and it was closed in an orderly way.
    clean: bool,
}

impl Known {
    pub(super) async fn open(data: &Path, each: &mut dyn FnMut(Damage)) -> Known {
        let path = data.join(INDEX);
        let read = async || {
            let Some(mut index) = Index::look(&path).await? else {
                return Ok(None);
            };
            if !index.check(true).await? {
                return Err(IndexError::Value("quick_check".to_owned()));
            }
            let state = index.state().await?;
            let ledgers = index.ledgers().await?.into_iter().collect();
            Ok::<_, IndexError>(Some(Known {
                index: Some(index),
                ledgers,
                clean: state.clean,
            }))
        };
        let nothing = Known {
            index: None,
            ledgers: HashMap::new(),
            clean: false,
        };
        match read().await {
            Ok(known) => known.unwrap_or(nothing),
            Err(e) => {
                each(Damage {
                    segment: path.clone(),
                    offset: 0,
                    what: format!("the index can't be read, the next start makes it again: {e}"),
                });
                nothing
            }
        }
    }

    pub(super) fn streams(&self) -> Vec<StreamKey> {
        self.ledgers.keys().cloned().collect()
    }

    async fn find(&mut self, key: &StreamKey, epoch: EpochId) -> Option<Entry> {
        match &mut self.index {
            Some(index) => index.find(key, epoch).await.ok().flatten(),
            None => None,
        }
    }
}

/// Checks one stream.
pub(super) async fn stream(
    data: &Path,
    key: &StreamKey,
    known: &mut Known,
    each: &mut dyn FnMut(Damage),
) -> io::Result<()> {
    let path = stream_path(data, key);
    let ledger = path.join(LEDGER);
    let mut told = Told::default();
    let mut wrong = Vec::new();
    chain::read(
        &ledger,
        known.ledgers.get(key).copied(),
        known.clean,
        &mut |line| told.apply(line),
        &mut |what| wrong.push(what),
    )?;
    for at in &told.broken {
        let what = format!("at {at} it did not go on from the line that the index knew");
        wrong.push((0, what));
    }
    for (offset, what) in wrong {
        each(Damage {
            segment: ledger.clone(),
            offset,
            what,
        });
    }
    let mut ids = told.order.clone();
    let root = Dir::root(&data.join(ARCHIVE_DIR))?;
    if let Ok(dir) = root
        .open(key.worker())
        .and_then(|dir| dir.open(key.stream()))
    {
        for name in dir.names()? {
            match EpochId::parse(&name) {
                Ok(id) if !told.epochs.contains_key(&id) => ids.push(id),
                Ok(_) => {}
                // A torn line's bytes, and a damaged ledger, are kept beside the ledger.
                Err(_) if name.starts_with(LEDGER) => {}
                Err(_) => each(Damage {
                    segment: path.join(&name),
                    offset: 0,
                    what: "nothing that belongs here".to_owned(),
                }),
            }
        }
    }
    let nothing = EpochTold::default();
    for id in ids {
        let check = EpochCheck {
            path: path.join(id.to_string()),
            ledger: &ledger,
            id,
            told: told.epochs.get(&id).unwrap_or(&nothing),
            entry: known.find(key, id).await,
            clean: known.clean,
            dir: existing_dir(&root, key, id)?,
            each,
        };
        check.run()?;
    }
    Ok(())
}
