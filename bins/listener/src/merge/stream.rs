//! One stream on its way into the merged files: its epochs in order, how far each is, and what comes next. Knows no
//! files; pure bookkeeping.

use std::sync::Arc;

use archive::{EpochId, Form, PLAIN_STREAM, StreamKey};
use offsets::Change;

use crate::merge::feed::{Merged, News, Source};
use crate::merge::ledger::{Fact, Page};
use crate::merge::places::{self, Place, Stored};

/// A stream.
#[derive(Debug)]
pub(super) struct Stream {
    key: StreamKey,
    /// The length of its ledger when the archive was opened: an epoch that is older, and that nobody tells of, is over.
    opened: u64,
    /// Octets of its ledger that were taken.
    ledger: u64,
    ledger_moved: bool,
    /// Whether something changed since [`Stream::publish`].
    is_news: bool,
    /// Whether the ledger was read to its end, as of the last change told.
    whole: bool,
    turn: u64,
    /// It could not be read, and waits for the next try.
    parked: bool,
    /// In the order in which they were opened; those that are over and merged are not kept.
    epochs: Vec<Epoch>,
}

/// An epoch that is not over, or not merged to its end.
#[derive(Debug)]
pub(super) struct Epoch {
    pub(super) source: Arc<Source>,
    pub(super) place: Place,
    /// There is no LF between the place and here.
    pub(super) seen: u64,
    /// The committed end, once its owner told.
    end: Option<u64>,
    /// Where the last gap ends that the ledger told of.
    gap: u64,
    /// Nothing will be appended to it.
    sealed: bool,
    /// It is over, and everything that is held of it is merged.
    finished: bool,
    /// Its base is what the first window said, until the ledger says it.
    is_guess: bool,
    moved: bool,
}

/// What to do next for a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Nothing,
    /// Read the ledger on.
    Ledger,
    /// Read this epoch on.
    Epoch(usize),
}

impl Epoch {
    /// The committed end; of an epoch that is over, which is read as far as it goes, the greatest.
    pub(super) fn end(&self) -> u64 {
        self.end.unwrap_or(u64::MAX)
    }

    /// Where the last gap ends that the ledger told of, if that is behind this offset.
    pub(super) fn gap_behind(&self, offset: u64) -> Option<u64> {
        Some(self.gap).filter(|gap| *gap > offset)
    }

    /// Whether it is over, and how far it goes is for its segments to say.
    pub(super) fn is_over(&self) -> bool {
        self.end.is_none()
    }

    /// Whether a line that is not complete at the committed end will stay so.
    pub(super) fn is_ended(&self) -> bool {
        // A roll further on is one of a window that does not stand yet.
        let is_rolled = self.place.rolled == Some(self.end());
        self.is_over() || self.sealed || is_rolled
    }

    fn has_work(&self) -> bool {
        !self.finished
            && (self.end() > self.seen || (self.is_ended() && self.end() > self.place.at))
    }

    fn is_done(&self) -> bool {
        self.finished || (self.sealed && self.place.at >= self.end())
    }

    /// Everything that is held of an epoch that is over is merged.
    pub(super) fn finish(&mut self) {
        self.finished = true;
    }

    /// Everything below `at` is in the files; `line` is where the line starts that is being cut there.
    pub(super) fn advance(&mut self, at: u64, line: Option<u64>) {
        self.moved |= (self.place.at, self.place.line) != (at, line);
        (self.place.at, self.place.line) = (at, line);
        self.is_guess = false;
        self.seen = self.seen.max(at);
    }

    fn set(&mut self, change: impl FnOnce(&mut Place)) {
        let before = self.place;
        change(&mut self.place);
        self.moved |= self.place != before;
    }
}

impl Stream {
    /// A stream as it is stored.
    pub(super) fn new(key: StreamKey, stored: Stored) -> Stream {
        let mut stream = Stream {
            key,
            opened: 0,
            ledger: stored.ledger,
            ledger_moved: false,
            is_news: true,
            whole: false,
            turn: 0,
            parked: false,
            epochs: Vec::new(),
        };
        for (epoch, place) in stored.places {
            stream.insert(epoch, place, false);
        }
        stream.sort();
        stream
    }

    fn insert(&mut self, epoch: EpochId, place: Place, moved: bool) -> &mut Epoch {
        // The plain stream's name is its own.
        let form = if self.key.stream() == PLAIN_STREAM {
            Form::Frames
        } else {
            Form::Log
        };
        let key = self.key.clone();
        self.epochs.push(Epoch {
            source: Arc::new(Source { key, epoch, form }),
            place,
            seen: place.at,
            end: None,
            gap: 0,
            sealed: false,
            finished: false,
            is_guess: false,
            moved,
        });
        self.epochs.last_mut().expect("one was pushed")
    }

    /// Those whose opening was not found in the ledger yet are the newest.
    fn sort(&mut self) {
        self.epochs
            .sort_by_key(|epoch| epoch.place.order.unwrap_or(u64::MAX));
    }

    fn position(&self, epoch: EpochId) -> Option<usize> {
        self.epochs.iter().position(|e| e.source.epoch == epoch)
    }

    /// The epoch at this position.
    pub(super) fn epoch(&mut self, at: usize) -> &mut Epoch {
        &mut self.epochs[at]
    }

    /// Its position, of an epoch that was told of.
    pub(super) fn find(&self, source: &Source) -> Option<usize> {
        self.position(source.epoch)
    }

    /// Takes down how long the ledger was when the archive was opened.
    pub(super) fn opened(&mut self, ledger: u64) {
        self.opened = ledger;
    }

    /// Takes down where an epoch stands.
    pub(super) fn told(&mut self, news: &News) {
        if news.turn > self.turn {
            self.turn = news.turn;
            self.whole = false;
        }
        let base = Place {
            at: news.base,
            ..Place::default()
        };
        let at = match self.position(news.source.epoch) {
            Some(at) => at,
            None => {
                self.insert(news.source.epoch, base, true).is_guess = true;
                self.epochs.len() - 1
            }
        };
        let epoch = &mut self.epochs[at];
        epoch.source = Arc::clone(&news.source);
        epoch.end = Some(news.end.max(epoch.end.unwrap_or(0)));
        epoch.sealed |= news.sealed;
        if let Some(stood) = news.stood {
            epoch.end = Some(news.end);
            if epoch.place.at > stood {
                let key = &self.key;
                tracing::error!(stream = %key, offset = stood, to = epoch.place.at, "merged lines are gone from the archive");
                epoch.advance(stood, None);
                epoch.seen = stood;
            }
        }
    }

    /// Whether the ledger was read as far as it is known to go.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Where the ledger is read on.
    pub(super) fn ledger(&self) -> u64 {
        self.ledger
    }

    /// Takes down what the ledger says.
    pub(super) fn take(&mut self, page: Page) {
        for (position, fact) in page.facts {
            self.fact(position, fact);
        }
        self.ledger_moved |= self.ledger != page.to;
        self.ledger = page.to;
        self.whole = page.whole;
        self.is_news = true;
        self.sort();
    }

    fn fact(&mut self, position: u64, fact: Fact) {
        let (Fact::Opened { epoch: id, .. }
        | Fact::Rolled { epoch: id, .. }
        | Fact::Recovered { epoch: id, .. }
        | Fact::Gap { epoch: id, .. }) = fact;
        let at = self.position(id);
        match (fact, at) {
            (Fact::Opened { base, .. }, Some(at)) => {
                let epoch = &mut self.epochs[at];
                if epoch.is_guess {
                    epoch.advance(base, None);
                    epoch.seen = base;
                }
                epoch.set(|place| {
                    place.order.get_or_insert(position);
                });
            }
            (Fact::Opened { base, .. }, None) => {
                let place = Place {
                    at: base,
                    order: Some(position),
                    ..Place::default()
                };
                self.insert(id, place, true);
            }
            (Fact::Rolled { end, .. }, Some(at)) => {
                self.epochs[at].set(|place| place.rolled = Some(end));
            }
            (Fact::Recovered { end, rolled, .. }, Some(at)) => {
                let epoch = &mut self.epochs[at];
                let stands = |at: &u64| *at < end || (*at == end && rolled);
                epoch.set(|place| place.rolled = place.rolled.filter(stands));
                epoch.gap = epoch.gap.min(end);
            }
            (Fact::Gap { end, .. }, Some(at)) => self.epochs[at].gap = end,
            // Merged before, and dropped.
            (_, None) => {}
        }
    }

    /// Lets the stream wait, or go on.
    pub(super) fn park(&mut self, parked: bool) {
        self.parked = parked;
    }

    /// Whether the stream waits, though there may be something to do.
    pub(super) fn is_parked(&self) -> bool {
        self.parked
    }

    /// What comes next: the oldest epoch that has something; before one of which the ledger has more to say, that.
    pub(super) fn next(&self) -> Next {
        if self.parked {
            return Next::Nothing;
        }
        self.next_below(self.epochs.len())
    }

    /// The same for the epochs before one.
    pub(super) fn next_below(&self, below: usize) -> Next {
        for (at, epoch) in self.epochs[..below].iter().enumerate() {
            let Some(order) = epoch.place.order.or(self.whole.then_some(0)) else {
                return Next::Ledger;
            };
            // One that is newer than the archive's opening will be told of, if it ever stands.
            let is_known = !epoch.is_over() || order < self.opened;
            if is_known && epoch.has_work() {
                return Next::Epoch(at);
            }
        }
        if self.whole {
            Next::Nothing
        } else {
            Next::Ledger
        }
    }

    /// Whether what comes next is of an epoch that is over, or unknown: [`Stream::lag`] says nothing of it.
    pub(super) fn is_over(&self, next: Next) -> bool {
        match next {
            Next::Nothing => false,
            Next::Ledger => true,
            Next::Epoch(at) => self.epochs[at].is_over(),
        }
    }

    /// Octets that are known to be committed and not in the files.
    pub(super) fn lag(&self) -> u64 {
        let told = self.epochs.iter().filter(|epoch| !epoch.is_over());
        told.map(|epoch| epoch.end().saturating_sub(epoch.place.at))
            .sum()
    }

    /// What is to be stored, taken as stored from now on; epochs that are over and merged are dropped, and given to
    /// `dropped`.
    pub(super) fn store(
        &mut self,
        changes: &mut Vec<Change>,
        dropped: &mut Vec<Arc<Source>>,
    ) -> anyhow::Result<()> {
        if std::mem::take(&mut self.ledger_moved) {
            changes.push(places::ledger(&self.key, self.ledger));
        }
        let settled = if self.whole {
            u64::MAX
        } else {
            self.ledger.saturating_sub(SETTLED)
        };
        let is_dropped =
            |epoch: &Epoch| epoch.is_done() && epoch.place.order.unwrap_or(0) < settled;
        for epoch in &mut self.epochs {
            let is_dropped = is_dropped(epoch);
            if std::mem::take(&mut epoch.moved) | is_dropped {
                self.is_news = true;
                let place = (!is_dropped).then_some(epoch.place);
                changes.push(places::epoch(&self.key, epoch.source.epoch, place)?);
            }
        }
        for epoch in self.epochs.extract_if(.., |epoch| is_dropped(epoch)) {
            tracing::debug!(stream = %self.key, epoch = %epoch.source.epoch, "epoch is merged to its end");
            dropped.push(epoch.source);
        }
        Ok(())
    }

    /// How far the stream is, for whoever asks what may be removed; `None` when that was said before.
    pub(super) fn publish(&mut self) -> Option<Merged> {
        let epochs = self.epochs.iter();
        std::mem::take(&mut self.is_news).then(|| Merged {
            whole: self.whole,
            epochs: epochs
                .map(|epoch| (epoch.source.epoch, epoch.place.at))
                .collect(),
        })
    }
}

/// An epoch is dropped when the ledger was read so many octets beyond its opening, or to its end: after a void window
/// the ledger tells an opening twice, with no more between than the rest of that window.
const SETTLED: u64 = 512 << 10;

#[cfg(test)]
mod tests;
