//! Between the connections and the archive: batches of whole frames in a bounded queue, fair between connections.

use std::sync::Arc;

use bytes::Bytes;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::workers::Worker;

/// Whole frames of one connection, as they came.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Who sent them.
    pub(crate) worker: Arc<Worker>,
    /// Whole frames.
    pub(crate) bytes: Bytes,
    /// Held until the bytes are in a segment.
    pub(crate) room: Option<Room>,
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
    batches: mpsc::Sender<Batch>,
    all: Arc<Semaphore>,
    queued: Gauge,
}

/// The archive is gone; the program is ending.
#[derive(Debug)]
pub(crate) struct Closed;

impl Intake {
    /// A queue, and the end that the archive's owner takes from.
    pub(crate) fn new(queued: Gauge) -> (Intake, mpsc::Receiver<Batch>) {
        let (batches, receiver) = mpsc::channel(MAX_BATCHES);
        (
            Intake {
                batches,
                all: Arc::new(Semaphore::new(MAX_BYTES)),
                queued,
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
        // One frame may be larger than a share: then it takes all of it.
        let permits = |most: usize| u32::try_from(bytes.len().min(most)).unwrap_or(u32::MAX);
        let (own_permits, all_permits) = (permits(MAX_OWN_BYTES), permits(MAX_BYTES));
        let own = Arc::clone(own)
            .acquire_many_owned(own_permits)
            .await
            .map_err(|_| Closed)?;
        let all = Arc::clone(&self.all)
            .acquire_many_owned(all_permits)
            .await
            .map_err(|_| Closed)?;
        let len = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        self.queued.inc_by(len);
        let room = Room {
            _own: own,
            _all: all,
            bytes: len,
            queued: self.queued.clone(),
        };
        let batch = Batch {
            worker: Arc::clone(worker),
            bytes,
            room: Some(room),
        };
        self.batches.send(batch).await.map_err(|_| Closed)
    }
}

/// Most bytes on the way from one connection to a segment.
const MAX_OWN_BYTES: usize = 1 << 20;
/// Most bytes on the way from all connections.
const MAX_BYTES: usize = 4 << 20;
/// Most batches on the way; each is a read of a connection.
const MAX_BATCHES: usize = 1024;
