//! Between the connections and the archive: what they bring in a bounded queue, fair between connections, and what
//! the archive's owner answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use delivery::{ConnectionId, EpochId, GapCause, Offset, RollCause, receiver::Opening};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::workers::Worker;

mod mailbox;
mod seat;

pub(crate) use mailbox::{Mailbox, News};
pub(crate) use seat::{Seat, Sending};

/// What the archive's owner takes from the queue.
#[derive(Debug)]
pub(crate) enum Item {
    /// Whole frames of a plain connection.
    Frames(Batch),
    /// What an acknowledged connection does, in its order.
    Said(ConnectionId, Said),
}

/// Whole frames of one connection, as they came.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Who sent them.
    pub(crate) worker: Arc<Worker>,
    /// Whole frames.
    pub(crate) bytes: Bytes,
    /// Held until the bytes are in a segment.
    pub(crate) room: Room,
}

/// What an acknowledged connection asks and writes.
#[derive(Debug)]
pub(crate) enum Said {
    /// It is there. The first of all.
    Enter {
        /// Whose it is.
        worker: Arc<Worker>,
        /// The worker has as many connections as it may: another one has to make room.
        full: bool,
        /// Where it is answered.
        mailbox: Arc<Mailbox>,
    },
    /// It wants a stream: [`News::Claimed`] or [`News::Refused`].
    Claim(String),
    /// What is there of its stream: [`News::Epochs`].
    List,
    /// It goes on with an epoch, or begins it: [`News::Standing`] or [`News::Refused`].
    Open(Opening),
    /// The hash of bytes of its stream: [`News::Proof`].
    Prove {
        /// The epoch.
        epoch: EpochId,
        /// Behind them.
        end: Offset,
        /// How many.
        len: u32,
    },
    /// Lines of the epoch it opened last, as they stand in the file.
    Lines {
        /// Where they go.
        from: Offset,
        /// They.
        bytes: Bytes,
        /// Held until the bytes are in a segment.
        room: Option<Room>,
    },
    /// Bytes that will never come.
    Gap {
        /// Behind them.
        to: Offset,
        /// Why.
        cause: GapCause,
    },
    /// The epoch is over.
    Roll {
        /// The next one.
        next: EpochId,
        /// How it ended.
        cause: RollCause,
        /// Bytes known to be lost; none: unknown.
        lost: Option<u64>,
    },
    /// Make stand what it wrote, now: [`News::Committed`] or [`News::Void`].
    Commit,
    /// It is over. The last of all.
    Over,
}

impl Said {
    /// Bytes that it needs room for.
    fn len(&self) -> usize {
        match self {
            Said::Lines { bytes, .. } => bytes.len(),
            _ => 0,
        }
    }
}

/// Room for a batch's bytes, of its connection and of all together.
#[derive(Debug)]
pub(crate) struct Room {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
    bytes: i64,
    queued: Gauge,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.queued.dec_by(self.bytes);
    }
}

/// The sessions' end of the queue.
#[derive(Debug, Clone)]
pub(crate) struct Intake {
    items: mpsc::Sender<Item>,
    all: Arc<Semaphore>,
    queued: Gauge,
    connections: Arc<AtomicU64>,
}

/// The archive is gone; the program is ending.
#[derive(Debug)]
pub(crate) struct Closed;

impl Intake {
    /// A queue for at most so many connections, and the end that the archive's owner takes from.
    pub(crate) fn new(connections: usize, queued: Gauge) -> (Intake, mpsc::Receiver<Item>) {
        // Each acknowledged connection keeps a place for its last word.
        let (items, receiver) = mpsc::channel(MAX_ITEMS + connections);
        (
            Intake {
                items,
                all: Arc::new(Semaphore::new(MAX_BYTES)),
                queued,
                connections: Arc::default(),
            },
            receiver,
        )
    }

    /// A connection's own share.
    pub(crate) fn share() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(MAX_OWN_BYTES))
    }

    /// Queues whole frames; waits while this connection, or all together, have as much on the way as they may. Those
    /// who wait are served in their order.
    pub(crate) async fn send(
        &self,
        own: &Arc<Semaphore>,
        worker: &Arc<Worker>,
        bytes: Bytes,
    ) -> Result<(), Closed> {
        let room = self.room(own, bytes.len()).await?;
        let batch = Batch {
            worker: Arc::clone(worker),
            bytes,
            room,
        };
        self.items
            .send(Item::Frames(batch))
            .await
            .map_err(|_| Closed)
    }

    async fn room(&self, own: &Arc<Semaphore>, len: usize) -> Result<Room, Closed> {
        let (own_permits, all_permits) = permits(len);
        let own = Arc::clone(own).acquire_many_owned(own_permits);
        let own = own.await.map_err(|_| Closed)?;
        let all = Arc::clone(&self.all).acquire_many_owned(all_permits);
        let all = all.await.map_err(|_| Closed)?;
        Ok(self.taken(own, all, len))
    }

    /// The same, if nobody has to wait.
    fn room_now(&self, own: &Arc<Semaphore>, len: usize) -> Option<Room> {
        let (own_permits, all_permits) = permits(len);
        let own = Arc::clone(own).try_acquire_many_owned(own_permits).ok()?;
        let all = Arc::clone(&self.all)
            .try_acquire_many_owned(all_permits)
            .ok()?;
        Some(self.taken(own, all, len))
    }

    fn taken(&self, own: OwnedSemaphorePermit, all: OwnedSemaphorePermit, len: usize) -> Room {
        let bytes = i64::try_from(len).unwrap_or(i64::MAX);
        self.queued.inc_by(bytes);
        Room {
            _own: own,
            _all: all,
            bytes,
            queued: self.queued.clone(),
        }
    }

    fn next_connection(&self) -> ConnectionId {
        ConnectionId(self.connections.fetch_add(1, Ordering::Relaxed))
    }
}

/// One frame may be larger than a share: then it takes all of it.
fn permits(len: usize) -> (u32, u32) {
    let permits = |most: usize| u32::try_from(len.min(most)).unwrap_or(u32::MAX);
    (permits(MAX_OWN_BYTES), permits(MAX_BYTES))
}

/// Most bytes on the way from one connection to a segment.
const MAX_OWN_BYTES: usize = 1 << 20;
/// Most bytes on the way from all connections.
const MAX_BYTES: usize = 4 << 20;
/// Most items on the way; most are a read of a connection.
const MAX_ITEMS: usize = 1024;
