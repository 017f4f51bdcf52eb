//! How far each epoch is in the merged files, as it is stored with their lines.

use std::collections::HashMap;

use anyhow::Context as _;
use archive::{EpochId, StreamKey};
use offsets::{Change, Store};
use serde::{Deserialize, Serialize};

/// A place in an epoch, as it is stored under `merged/WORKER/STREAM/EPOCH`. Forgotten when the epoch is over and merged
/// to its end; the stream's place in its ledger says then that it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Place {
    /// Everything below is in the files.
    #[serde(rename = "offset")]
    pub(super) at: u64,
    /// Where the line starts that is being cut into parts; `at` is inside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) line: Option<u64>,
    /// Where the epoch's opening stands in the stream's ledger: epochs are merged in this order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) order: Option<u64>,
    /// Where it was last rolled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rolled: Option<u64>,
}

/// What is stored of a stream.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// Octets of its ledger that were taken.
    pub(super) ledger: u64,
    pub(super) places: Vec<(EpochId, Place)>,
}

/// Stores an epoch's place, or forgets it.
pub(super) fn epoch(
    key: &StreamKey,
    epoch: EpochId,
    place: Option<Place>,
) -> anyhow::Result<Change> {
    let key = format!("{EPOCHS}{key}/{epoch}");
    Ok(match place {
        None => Change::Delete { key },
        Some(place) => Change::Put {
            key,
            value: serde_json::to_vec(&place).context("write a place of the merged outputs")?,
        },
    })
}

/// Stores how much of a stream's ledger was taken.
pub(super) fn ledger(key: &StreamKey, octets: u64) -> Change {
    Change::Put {
        key: format!("{LEDGERS}{key}"),
        value: octets.to_string().into_bytes(),
    }
}

/// Everything that is stored, by stream.
pub(super) async fn stored(store: &Store) -> anyhow::Result<HashMap<StreamKey, Stored>> {
    let mut streams = HashMap::<StreamKey, Stored>::new();
    let list = async |prefix| {
        let listed = store.list(prefix).await;
        listed.context("read the places of the merged outputs")
    };
    for (key, value) in list(EPOCHS).await? {
        let read = || {
            let (stream, epoch) = key.strip_prefix(EPOCHS)?.rsplit_once('/')?;
            let place: Place = serde_json::from_slice(&value).ok()?;
            Some((stream_key(stream)?, EpochId::parse(epoch).ok()?, place))
        };
        let (stream, epoch, place) = read().with_context(|| damaged(&key))?;
        streams
            .entry(stream)
            .or_default()
            .places
            .push((epoch, place));
    }
    for (key, value) in list(LEDGERS).await? {
        let read = || {
            let octets = std::str::from_utf8(&value).ok()?.parse().ok()?;
            Some((stream_key(key.strip_prefix(LEDGERS)?)?, octets))
        };
        let (stream, octets) = read().with_context(|| damaged(&key))?;
        streams.entry(stream).or_default().ledger = octets;
    }
    Ok(streams)
}

fn stream_key(text: &str) -> Option<StreamKey> {
    let (worker, stream) = text.split_once('/')?;
    StreamKey::new(worker, stream).ok()
}

fn damaged(key: &str) -> String {
    format!("place {key:?} of the merged outputs is damaged")
}

/// Where places in epochs are stored.
const EPOCHS: &str = "merged/";
/// Where places in ledgers are stored.
const LEDGERS: &str = "ledger/";
