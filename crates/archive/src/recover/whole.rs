//! The index as a file: whether it belongs to the segments, and how it is replaced when it does not.

use std::io;
use std::path::Path;

use super::{INDEX, QUARANTINE, Recovered, Recovery};
use crate::dir::Dir;
use crate::entry::Change;
use crate::error::OpenError;
use crate::index::{Index, IndexError, State};
use crate::witness::Record;

/// Notes that the index is damaged: the next start makes it again.
pub(crate) fn note_damage(data: &Path) {
    tracing::error!("the index is damaged; the next start makes it again");
    // Without the note the next start finds the damage as this one did.
    let _ = std::fs::write(data.join(DAMAGED), "");
}

/// Moves an index that is not to be used, and its journal, into quarantine.
fn put_aside(data: &Path, stamp: i64) -> io::Result<()> {
    let root = Dir::root(data)?;
    root.ensure(QUARANTINE)?;
    for suffix in ["", "-wal", "-shm"] {
        let name = format!("{INDEX}{suffix}");
        let to = data.join(QUARANTINE).join(format!("{stamp}.{name}"));
        match std::fs::rename(data.join(&name), to) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    root.remove_file(DAMAGED)?;
    root.sync()
}

impl Recovery<'_> {
    /// The index, if it is the one that belongs to the segments; brought up to the witness.
    pub(super) async fn known(&self, record: Option<&Record>) -> Result<Option<Index>, OpenError> {
        let path = self.data.join(INDEX);
        let at_index = |e| OpenError::Index(self.data.to_owned(), e);
        if !path.exists() && self.streams()?.is_empty() {
            // Nothing was ever archived.
            return Index::open(&path).await.map_err(at_index);
        }
        if !path.exists() || self.data.join(DAMAGED).exists() {
            return Ok(None);
        }
        let mut index = match Index::open(&path).await {
            Ok(Some(index)) => index,
            Ok(None) => return Ok(None),
            Err(e) if e.is_damage() => return Ok(None),
            Err(e) => return Err(at_index(e)),
        };
        let fits = match Self::fits(&mut index, record).await {
            Ok(fits) => fits && !self.is_behind(&mut index).await?,
            Err(e) if e.is_damage() => false,
            Err(e) => return Err(at_index(e)),
        };
        if fits {
            return Ok(Some(index));
        }
        // SQLite removes the journal by its name when it closes: it must not be that of the file that takes this one's
        // place. What fails here is a file that is not used any more.
        let _ = index.close().await;
        Ok(None)
    }

    /// Whether the index can be read and agrees with the witness; brought up to it.
    async fn fits(index: &mut Index, record: Option<&Record>) -> Result<bool, IndexError> {
        if !index.check(false).await? {
            return Ok(false);
        }
        let State { window, .. } = index.state().await?;
        match record {
            Some(record) if record.window == window => {}
            Some(record) if record.window == window + 1 => {
                let Some(change) = &record.change else {
                    return Ok(false);
                };
                let stands = Some((record.window, record.at_ms));
                index.put(change, stands).await?;
            }
            None if window == 0 => {}
            _ => return Ok(false),
        }
        // What the start needs can be read.
        index.live().await?;
        index.ledgers().await?;
        Ok(true)
    }

    /// Makes the index again from ledgers and segments, beside the old one, which it replaces when it is whole.
    pub(super) async fn rebuild_all(
        &self,
        number: i64,
        recovered: &mut Vec<Recovered>,
    ) -> Result<Index, OpenError> {
        let at_index = |e| OpenError::Index(self.data.to_owned(), e);
        let io = |e| OpenError::Io(self.data.join(INDEX), e);
        let (path, new) = (self.data.join(INDEX), self.data.join(REBUILT));
        if path.exists() {
            recovered.push(Recovered::IndexRebuilt);
        }
        for suffix in ["", "-wal", "-shm"] {
            let left = self.data.join(format!("{REBUILT}{suffix}"));
            crate::segment::existing(std::fs::remove_file(left)).map_err(io)?;
        }
        let mut index = open_new(&new).await.map_err(at_index)?;
        for key in self.streams()? {
            self.rebuild(&mut index, &key).await?;
            recovered.push(Recovered::StreamRebuilt { key });
        }
        self.step()?;
        let window = Some((number, self.options.clock.now_ms()));
        index
            .put(&Change::default(), window)
            .await
            .map_err(at_index)?;
        index.close().await.map_err(at_index)?;
        self.step()?;
        put_aside(self.data, self.options.clock.now_ms()).map_err(io)?;
        self.step()?;
        std::fs::rename(&new, &path).map_err(io)?;
        Dir::root(self.data)
            .and_then(|data| data.sync())
            .map_err(io)?;
        open_new(&path).await.map_err(at_index)
    }
}

async fn open_new(path: &Path) -> Result<Index, IndexError> {
    let index = Index::open(path).await?;
    index.ok_or_else(|| IndexError::Value("user_version".to_owned()))
}

/// The index while it is made again.
const REBUILT: &str = "index-new.sqlite";
/// Says that the index is not to be used.
const DAMAGED: &str = "index.damaged";
