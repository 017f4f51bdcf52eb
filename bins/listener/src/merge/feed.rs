//! What the archive's owner tells the merger: how far each epoch stands, and its newest bytes while there is room;
//! and what the merger tells back: how far the merged files are.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use archive::{Committed, EpochId, Form, Handle, StreamKey};
use bytes::Bytes;
use rfc5424::Timestamp;
use tokio::sync::Notify;

use crate::merge::ledger;

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
    /// Epochs that can still be appended to, and those that the merger is not done with.
    epochs: HashMap<Arc<Source>, Told>,
    /// Epochs of which the merger does not know the newest.
    news: Vec<Arc<Source>>,
    /// The head of each stream's ledger, and how often it was seen to change.
    ledgers: HashMap<StreamKey, ([u8; 32], u64)>,
    /// The length of each stream's ledger when the archive was opened, once it was.
    opened: Option<HashMap<StreamKey, u64>>,
    merged: HashMap<StreamKey, Merged>,
    /// The owner is gone: what is known now is all there will be.
    over: bool,
}

/// What the owner told of an epoch.
#[derive(Debug)]
struct Told {
    base: u64,
    end: u64,
    /// Where it stood when the archive was opened, until the merger knows.
    stood: Option<u64>,
    sealed: bool,
    is_news: bool,
}

/// How far a stream is in the merged files.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    /// Every epoch of the stream is known, so that one that is not listed is merged to its end.
    pub(crate) whole: bool,
    /// Offsets below which nothing is needed.
    pub(crate) epochs: HashMap<EpochId, u64>,
}

/// An epoch that is merged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    pub(crate) key: StreamKey,
    pub(crate) epoch: EpochId,
    pub(crate) form: Form,
}

/// What a commit window did to an epoch, in the order in which it did.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Appended bytes, as they are in the archive.
    Bytes(Bytes),
    /// Appended so many bytes, which only the archive has now.
    Archived(u64),
    /// Recorded a gap, up to this offset.
    Gap(u64),
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

/// Where an epoch stands, as the merger is told.
#[derive(Debug, Clone)]
pub(crate) struct News {
    pub(crate) source: Arc<Source>,
    /// Its first offset, as far as the owner told.
    pub(crate) base: u64,
    pub(crate) end: u64,
    /// Where it stood when the archive was opened; told once.
    pub(crate) stood: Option<u64>,
    /// Nothing will be appended to it.
    pub(crate) sealed: bool,
    /// The change of its stream's ledger that this is not older than.
    pub(crate) turn: u64,
}

/// The merger's end.
#[derive(Debug, Clone)]
pub(crate) struct Inbox(Arc<Shared>);

/// What the merger finds in its inbox.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    /// Where epochs stand of which something changed.
    pub(crate) news: Vec<News>,
    /// The oldest queued piece.
    pub(crate) piece: Option<Piece>,
}

impl Feed {
    /// A feed and its inbox.
    pub(crate) fn new() -> (Feed, Inbox) {
        let shared = Arc::<Shared>::default();
        (Feed(Some(Arc::clone(&shared))), Inbox(shared))
    }

    /// Whether anybody listens.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Tells where the epochs stand that are not over, when the archive of a data directory was opened and before
    /// anything was appended.
    pub(crate) fn standing(&self, data: &Path, epochs: impl Iterator<Item = Committed>) {
        let Some(shared) = &self.0 else { return };
        let opened = ledger::lengths(data);
        let mut state = shared.state();
        state.opened = Some(opened);
        // One that is sealed is over.
        for epoch in epochs.filter(|epoch| !epoch.sealed) {
            let source = state.told(&epoch);
            if let Some(told) = state.epochs.get_mut(&source) {
                told.stood = Some(epoch.to);
            }
        }
        drop(state);
        shared.wake.notify_one();
    }

    /// Tells what a commit window did: every report, also those without bytes, and its steps in order, which are
    /// counted from the reports' beginnings.
    pub(crate) fn committed(
        &self,
        reports: &[Committed],
        steps: impl Iterator<Item = (Handle, Step)>,
    ) {
        let Some(shared) = &self.0 else { return };
        let at = super::merger::now();
        let mut state = shared.state();
        let mut places: HashMap<Handle, (Arc<Source>, u64)> = reports
            .iter()
            .map(|report| (report.handle, (state.told(report), report.from)))
            .collect();
        let mut pieces = Vec::new();
        for (handle, step) in steps {
            let Some((source, from)) = places.get_mut(&handle) else {
                continue;
            };
            let bytes = match step {
                Step::Bytes(bytes) => bytes,
                Step::Archived(len) => {
                    *from += len;
                    continue;
                }
                Step::Gap(to) => {
                    *from = to;
                    continue;
                }
            };
            let piece = Piece {
                source: Arc::clone(source),
                from: *from,
                bytes,
                at,
            };
            *from = piece.to();
            pieces.push((handle, piece));
        }
        // Steps that do not add up have no places: what they say is in the archive.
        for report in reports {
            if let Some((source, to)) = places.get(&report.handle)
                && *to != report.to
                && *to != report.from
            {
                tracing::error!(stream = %source.key, offset = to, to = report.to, "steps of a window do not add up");
                pieces.retain(|(handle, _)| *handle != report.handle);
            }
        }
        for (_, piece) in pieces {
            if state.bytes + piece.bytes.len() <= MAX_QUEUE {
                state.bytes += piece.bytes.len();
                state.queue.push_back(piece);
            }
        }
        drop(state);
        shared.wake.notify_one();
    }

    /// Tells that an epoch ends here, although it stood further on: its files are gone.
    pub(crate) fn lost(&self, key: &StreamKey, epoch: EpochId, end: u64) {
        let Some(shared) = &self.0 else { return };
        let mut state = shared.state();
        let State {
            queue,
            bytes,
            epochs,
            news,
            ..
        } = &mut *state;
        let is_it = |source: &Source| source.key == *key && source.epoch == epoch;
        queue.retain(|piece| {
            let stays = !is_it(&piece.source) || piece.to() <= end;
            *bytes -= if stays { 0 } else { piece.bytes.len() };
            stays
        });
        for (source, told) in epochs.iter_mut().filter(|(source, _)| is_it(source)) {
            (told.end, told.stood) = (end, Some(end));
            if !std::mem::replace(&mut told.is_news, true) {
                news.push(Arc::clone(source));
            }
        }
        drop(state);
        shared.wake.notify_one();
    }

    /// The lowest offset of an epoch that the merged files still need; `None` when they need nothing of it.
    pub(crate) fn needed(&self, key: &StreamKey, epoch: EpochId) -> Option<u64> {
        let state = self.0.as_ref()?.state();
        let Some(merged) = state.merged.get(key) else {
            return Some(0);
        };
        if let Some(&at) = merged.epochs.get(&epoch) {
            return Some(at);
        }
        // One that was just told of is not in the merger's list yet.
        let is_told = [Form::Log, Form::Frames].into_iter().any(|form| {
            let key = key.clone();
            state.epochs.contains_key(&Source { key, epoch, form })
        });
        (is_told || !merged.whole).then_some(0)
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
    /// Takes a report down.
    fn told(&mut self, report: &Committed) -> Arc<Source> {
        let source = Source {
            key: report.key.clone(),
            epoch: report.epoch,
            form: report.form,
        };
        let known = self.epochs.get_key_value(&source);
        let (head, turn) = self.ledgers.entry(report.key.clone()).or_default();
        if known.is_none() || *head != report.ledger {
            *head = report.ledger;
            *turn += 1;
        }
        let source = known.map_or_else(|| Arc::new(source), |(source, _)| Arc::clone(source));
        let told = self
            .epochs
            .entry(Arc::clone(&source))
            .or_insert_with(|| Told {
                // Of a standing epoch that is its first offset, of a new one its first window's.
                base: report.from,
                end: report.to,
                stood: None,
                sealed: false,
                is_news: false,
            });
        told.end = told.end.max(report.to);
        told.sealed |= report.sealed;
        if !std::mem::replace(&mut told.is_news, true) {
            self.news.push(Arc::clone(&source));
        }
        source
    }

    fn take_news(&mut self) -> Vec<News> {
        let mut all = Vec::with_capacity(self.news.len());
        for source in std::mem::take(&mut self.news) {
            let Some(told) = self.epochs.get_mut(&source) else {
                continue;
            };
            told.is_news = false;
            all.push(News {
                base: told.base,
                end: told.end,
                stood: told.stood.take(),
                sealed: told.sealed,
                turn: self.ledgers.get(&source.key).map_or(0, |(_, turn)| *turn),
                source,
            });
        }
        all
    }
}

impl Inbox {
    /// What changed.
    pub(crate) fn news(&self) -> Vec<News> {
        self.0.state().take_news()
    }

    /// What changed, and the next piece.
    pub(crate) fn take(&self) -> Mail {
        let mut state = self.0.state();
        let news = state.take_news();
        let piece = state.queue.pop_front();
        if let Some(piece) = &piece {
            state.bytes -= piece.bytes.len();
        }
        Mail { news, piece }
    }

    /// Makes everything news again, for a merger that starts anew; gives each stream that had a ledger when the archive
    /// was opened, with its length. `None` when that is still to come.
    pub(crate) fn again(&self) -> Option<HashMap<StreamKey, u64>> {
        let mut state = self.0.state();
        let State {
            epochs,
            news,
            opened,
            ..
        } = &mut *state;
        for (source, told) in epochs {
            if !std::mem::replace(&mut told.is_news, true) {
                news.push(Arc::clone(source));
            }
        }
        opened.clone()
    }

    /// Puts a piece back that has to wait for what comes before it.
    pub(crate) fn put_back(&self, piece: Piece) {
        let mut state = self.0.state();
        state.bytes += piece.bytes.len();
        state.queue.push_front(piece);
    }

    /// Forgets an epoch that is over and merged.
    pub(crate) fn forget(&self, source: &Source) {
        self.0.state().epochs.remove(source);
    }

    /// Tells how far a stream is in the merged files.
    pub(crate) fn publish(&self, key: &StreamKey, merged: Merged) {
        self.0.state().merged.insert(key.clone(), merged);
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
pub(crate) const MAX_QUEUE: usize = 512 << 10;

#[cfg(test)]
mod tests;
