//! What the archive's owner tells the merger: how far each stream stands, and its newest batches while there is room.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use archive::{Committed, EpochId, Form, Handle, StreamKey};
use bytes::Bytes;
use rfc5424::Timestamp;
use tokio::sync::Notify;

/// The owner's end; never waits. Without merged outputs it does nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Feed(Option<Arc<Shared>>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Piece>,
    bytes: usize,
    streams: HashMap<Handle, Stream>,
    /// The owner is gone: what is known now is all there will be.
    over: bool,
}

#[derive(Debug)]
struct Stream {
    source: Arc<Source>,
    end: u64,
}

/// An epoch that is merged.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    pub(crate) key: StreamKey,
    pub(crate) epoch: EpochId,
    pub(crate) form: Form,
    /// Its first offset.
    pub(crate) base: u64,
    /// Where it stood when it was first told of.
    pub(crate) stood: u64,
}

/// Committed bytes of an epoch.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) source: Arc<Source>,
    pub(crate) from: u64,
    pub(crate) bytes: Bytes,
    /// When they were committed.
    pub(crate) at: Timestamp,
}

impl Piece {
    pub(crate) fn to(&self) -> u64 {
        self.from + self.bytes.len() as u64
    }
}

/// The merger's end.
#[derive(Debug, Clone)]
pub(crate) struct Inbox(Arc<Shared>);

/// What the merger finds in its inbox.
#[derive(Debug)]
pub(crate) enum Mail {
    /// The oldest queued piece.
    Piece(Piece),
    /// Nothing is queued; every epoch, and where it stands.
    Ends(Vec<(Arc<Source>, u64)>),
}

impl Feed {
    /// A feed and its inbox.
    pub(crate) fn new() -> (Feed, Inbox) {
        let shared = Arc::<Shared>::default();
        (Feed(Some(Arc::clone(&shared))), Inbox(shared))
    }

    /// Tells where an epoch stands at start.
    pub(crate) fn stands(&self, epoch: &Committed) {
        let Some(shared) = &self.0 else { return };
        shared.state().advance(epoch, epoch.to);
        shared.wake.notify_one();
    }

    /// Tells what a commit window added, and its batches in order.
    pub(crate) fn committed(
        &self,
        reports: &[Committed],
        batches: impl Iterator<Item = (Handle, Bytes)>,
    ) {
        let Some(shared) = &self.0 else { return };
        let at = super::merger::now();
        let mut state = shared.state();
        let mut places = HashMap::with_capacity(reports.len());
        for report in reports {
            places.insert(report.handle, report.from);
            state.advance(report, report.from);
        }
        for (handle, bytes) in batches {
            let (Some(from), Some(stream)) = (places.get_mut(&handle), state.streams.get(&handle))
            else {
                continue;
            };
            let piece = Piece {
                source: Arc::clone(&stream.source),
                from: *from,
                bytes,
                at,
            };
            *from = piece.to();
            if state.bytes + piece.bytes.len() <= MAX_QUEUE {
                state.bytes += piece.bytes.len();
                state.queue.push_back(piece);
            }
        }
        drop(state);
        shared.wake.notify_one();
    }

    /// The owner is done: what was told is all there will be.
    pub(crate) fn finish(&self) {
        if let Some(shared) = &self.0 {
            shared.state().over = true;
            shared.wake.notify_one();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn advance(&mut self, report: &Committed, stood: u64) {
        let stream = self.streams.entry(report.handle).or_insert_with(|| Stream {
            source: Arc::new(Source {
                key: report.key.clone(),
                epoch: report.epoch,
                form: report.form,
                // Of a standing epoch that is its first offset, of a new one its first window's.
                base: report.from,
                stood,
            }),
            end: report.to,
        });
        stream.end = stream.end.max(report.to);
    }

    fn ends(&self) -> Vec<(Arc<Source>, u64)> {
        self.streams
            .values()
            .map(|stream| (Arc::clone(&stream.source), stream.end))
            .collect()
    }
}

impl Inbox {
    /// The next piece, or where everything stands.
    pub(crate) fn next(&self) -> Mail {
        let mut state = self.0.state();
        match state.queue.pop_front() {
            Some(piece) => {
                state.bytes -= piece.bytes.len();
                Mail::Piece(piece)
            }
            None => Mail::Ends(state.ends()),
        }
    }

    /// Puts a piece back that has to wait for what comes before it.
    pub(crate) fn put_back(&self, piece: Piece) {
        let mut state = self.0.state();
        state.bytes += piece.bytes.len();
        state.queue.push_front(piece);
    }

    /// Where every epoch stands.
    pub(crate) fn ends(&self) -> Vec<(Arc<Source>, u64)> {
        self.0.state().ends()
    }

    /// Waits until something is told.
    pub(crate) async fn wait(&self) {
        self.0.wake.notified().await;
    }

    /// Whether nothing more will come.
    pub(crate) fn is_over(&self) -> bool {
        self.0.state().over
    }
}

/// Most bytes of committed batches kept for the merger; what is beyond it is read from the archive again.
pub(crate) const MAX_QUEUE: usize = 2 << 20;
