//! What is stored of a stream: how far it is delivered.

use anyhow::Context as _;
use offsets::{Change, Store};
use serde::{Deserialize, Serialize};
use tail::Checkpoint;

use crate::books::{Books, Sums};

/// The store's file in the state directory.
pub(crate) const STORE: &str = "offsets.sqlite";
/// The ledger's file in the state directory.
pub(crate) const LEDGER: &str = "ledger.jsonl";

/// A stream's stored state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    /// Where a follower goes on.
    pub(crate) checkpoint: Checkpoint,
    /// What each archive has acknowledged; nothing in plain mode, in which a receiver acknowledges nothing.
    #[serde(default)]
    pub(crate) acked: Vec<Acked>,
    /// What became of all octets.
    #[serde(default)]
    pub(crate) books: Books,
}

/// One archive's word (docs/wire.md, `acked`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Acked {
    /// The archive's identity.
    pub(crate) archive: String,
    /// The epoch.
    pub(crate) epoch: tail::EpochId,
    /// Everything below is durable there.
    pub(crate) offset: u64,
}

/// Archives that are remembered of one epoch, at most, the latest heard of.
const MAX_ARCHIVES: usize = 16;

impl Stored {
    /// An archive has everything of `epoch` below `offset`.
    pub(crate) fn acknowledged(&mut self, archive: String, epoch: tail::EpochId, offset: u64) {
        let known = |acked: &&mut Acked| acked.epoch == epoch && acked.archive == archive;
        match self.acked.iter_mut().find(known) {
            Some(acked) => acked.offset = acked.offset.max(offset),
            None => {
                let of_epoch = |acked: &Acked| acked.epoch == epoch;
                if self.acked.iter().filter(|acked| of_epoch(acked)).count() >= MAX_ARCHIVES
                    && let Some(oldest) = self.acked.iter().position(of_epoch)
                {
                    self.acked.remove(oldest);
                }
                self.acked.push(Acked {
                    archive,
                    epoch,
                    offset,
                });
            }
        }
    }

    /// What archives have of `epoch`.
    pub(crate) fn of(&self, epoch: tail::EpochId) -> impl Iterator<Item = &Acked> {
        self.acked.iter().filter(move |acked| acked.epoch == epoch)
    }

    /// Takes up a newer checkpoint; of epochs that are forgotten only the sums stay.
    pub(crate) fn turn(&mut self, checkpoint: Checkpoint) {
        let acked = std::mem::take(&mut self.acked);
        let most = |epoch| most(&acked, epoch);
        self.books.turn(&self.checkpoint, &checkpoint, most);
        self.checkpoint = checkpoint;
        let epochs = &self.checkpoint.epochs;
        self.acked = acked;
        self.acked
            .retain(|acked| epochs.iter().any(|known| known.epoch == acked.epoch));
    }

    /// What became of all octets, where the follower stands at `checkpoint`.
    pub(crate) fn sums(&self, checkpoint: &Checkpoint) -> Sums {
        self.books
            .sums(checkpoint, |epoch| most(&self.acked, epoch))
    }
}

/// What the furthest archive has of `epoch`.
fn most(acked: &[Acked], epoch: tail::EpochId) -> u64 {
    let of = acked.iter().filter(|acked| acked.epoch == epoch);
    of.map(|acked| acked.offset).max().unwrap_or(0)
}

/// Reads a stream's state; nothing before the first start.
pub(crate) async fn load(store: &Store, stream: &str) -> anyhow::Result<Option<Stored>> {
    let Some(bytes) = store.get(&key(stream)).await? else {
        return Ok(None);
    };
    let stored = serde_json::from_slice(&bytes).with_context(|| {
        format!(
            "{}: the state of stream `{stream}` is damaged",
            store.path().display()
        )
    })?;
    Ok(Some(stored))
}

/// Makes a stream's state durable.
pub(crate) async fn save(store: &Store, stream: &str, stored: &Stored) -> anyhow::Result<()> {
    let value = serde_json::to_vec(stored).context("write a checkpoint as JSON")?;
    let put = Change::Put {
        key: key(stream),
        value,
    };
    store.commit(&[put]).await.context("store an offset")
}

fn key(stream: &str) -> String {
    format!("stream/{stream}")
}
