//! What is stored of a container, and under which keys: its cursor and its books in one value, so
//! that both become true with the lines they speak of.

use offsets::{Change, Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::{books::Books, source::Cursor};

/// The stored state of one container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Checkpoint {
    /// The container's last known name.
    pub name: String,
    /// Stands after the last line in the log.
    pub cursor: Option<Cursor>,
    /// Counts up to there.
    pub books: Books,
}

/// What an earlier process left.
#[derive(Debug, Default)]
pub struct Left {
    /// Container id and state.
    pub checkpoints: Vec<(String, Checkpoint)>,
    /// Container id and the start of the run that was drained, in Unix nanoseconds.
    pub drained: Vec<(String, i64)>,
    /// Container id and the time it was found gone, in Unix seconds.
    pub gone: Vec<(String, u64)>,
    /// Gaps that are announced and may be missing in the ledger: key and value.
    pub gaps: Vec<(String, Vec<u8>)>,
}

impl Checkpoint {
    /// The change that stores it.
    #[must_use]
    pub fn put(&self, id: &str) -> Change {
        let value = serde_json::to_vec(self).expect("a checkpoint has only string keys");
        Change::Put {
            key: format!("{CONTAINER}{id}"),
            value,
        }
    }
}

/// The change that notes that a container's run was drained.
#[must_use]
pub fn drained(id: &str, started_ns: i64) -> Change {
    Change::Put {
        key: format!("{DRAINED}{id}"),
        value: started_ns.to_string().into_bytes(),
    }
}

/// The change that notes when a container was found gone.
#[must_use]
pub fn gone(id: &str, unix_s: u64) -> Change {
    Change::Put {
        key: format!("{GONE}{id}"),
        value: unix_s.to_string().into_bytes(),
    }
}

/// The change that notes that it is there again.
#[must_use]
pub fn returned(id: &str) -> Change {
    Change::Delete {
        key: format!("{GONE}{id}"),
    }
}

/// The changes that forget a container.
#[must_use]
pub fn forget(id: &str) -> Vec<Change> {
    [CONTAINER, DRAINED, GONE]
        .map(|prefix| Change::Delete {
            key: format!("{prefix}{id}"),
        })
        .to_vec()
}

/// The change that announces a gap, and its key. `number` counts the container's gaps from 1.
#[must_use]
pub fn gap(id: &str, number: u64, value: Vec<u8>) -> (String, Change) {
    let key = format!("{GAP}{id}/{number:020}");
    (key.clone(), Change::Put { key, value })
}

/// Reads what an earlier process left. A value that can't be read is damage: guessing a cursor would
/// repeat or lose lines.
///
/// # Errors
/// The store's, and values of another form.
pub async fn load(store: &Store) -> Result<Left, LoadError> {
    let mut left = Left::default();
    for (key, value) in store.list(CONTAINER).await? {
        let checkpoint = serde_json::from_slice(&value).map_err(|source| LoadError::Value {
            key: key.clone(),
            source,
        })?;
        left.checkpoints
            .push((key[CONTAINER.len()..].to_owned(), checkpoint));
    }
    for (key, value) in store.list(DRAINED).await? {
        left.drained
            .push((key[DRAINED.len()..].to_owned(), number(&value)));
    }
    for (key, value) in store.list(GONE).await? {
        left.gone
            .push((key[GONE.len()..].to_owned(), number(&value)));
    }
    left.gaps = store.list(GAP).await?;
    Ok(left)
}

/// Why the stored state could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A value is not what this program writes.
    #[error("stored value {key} can't be read")]
    Value {
        /// Its key.
        key: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// These only save work: a wrong one is harmless.
fn number<T: std::str::FromStr + Default>(value: &[u8]) -> T {
    std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

const CONTAINER: &str = "container/";
const DRAINED: &str = "drained/";
const GONE: &str = "gone/";
const GAP: &str = "gap/";
