//! How far each epoch is in the merged files, as it is stored with their lines.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context as _;
use archive::{EpochId, StreamKey};
use offsets::{Change, Store};
use serde::{Deserialize, Serialize};

use crate::merge::feed::Source;

/// Offsets by stream (`WORKER/STREAM`) and epoch.
pub(super) type Places = HashMap<(String, String), u64>;

/// A place in a stream, as it is stored under `merged/WORKER/STREAM/EPOCH`.
#[derive(Debug, Serialize, Deserialize)]
struct Place {
    offset: u64,
}

/// The change that moves a place.
pub(super) fn change((source, offset): (Arc<Source>, u64)) -> anyhow::Result<Change> {
    let key = format!("{PREFIX}{}/{}", source.key, source.epoch);
    let value =
        serde_json::to_vec(&Place { offset }).context("write a place of the merged outputs")?;
    Ok(Change::Put { key, value })
}

/// The stored places, by stream and epoch.
pub(super) async fn stored(store: &Store) -> anyhow::Result<Places> {
    let mut places = Places::new();
    for (key, value) in store
        .list(PREFIX)
        .await
        .context("read the places of the merged outputs")?
    {
        let read = || {
            let (stream, epoch) = key.strip_prefix(PREFIX)?.rsplit_once('/')?;
            let (worker, name) = stream.split_once('/')?;
            let key = StreamKey::new(worker, name).ok()?;
            let place: Place = serde_json::from_slice(&value).ok()?;
            Some((
                (key.to_string(), EpochId::parse(epoch).ok()?.to_string()),
                place.offset,
            ))
        };
        let (key, at) =
            read().with_context(|| format!("place {key:?} of the merged outputs is damaged"))?;
        places.insert(key, at);
    }
    Ok(places)
}

/// Where places are stored.
const PREFIX: &str = "merged/";
