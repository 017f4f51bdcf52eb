//! Names for files that waited.

use super::weighing::{Fate, Seen};
use super::{Answer, Stranger};
use crate::entry::{Entry, Stage};
use crate::epoch::{EpochId, Now};
use crate::error::TailError;
use crate::follower::Follower;
use crate::settle::{nameless, unread};
use crate::siblings;
use crate::source::Source;

impl Follower {
    /// Names the files that waited, in order; those without an answer are new. False: one of them is not what was
    /// asked about any more, and all wait again.
    ///
    /// Without a checkpoint, what is older than the first file that was recognised, and than the one that was live at
    /// the first look of all, was before our time.
    ///
    /// # Errors
    /// Something can't be read now; what was not named waits again.
    pub fn name(&mut self, answers: &[Answer], now: Now) -> Result<bool, TailError> {
        let waiting = self.waiting();
        let contested = answers.get(waiting).copied().unwrap_or(Answer::New);
        if waiting > 0 && !self.name_strangers(&answers[..waiting.min(answers.len())], now)? {
            return Ok(false);
        }
        self.rename(contested, now)?;
        Ok(true)
    }

    /// First all is read that the names take; then one look says whether it is still so. What follows reads nothing, and
    /// looks for nothing: a look that finds files while they get their names would take them for new ones.
    fn name_strangers(&mut self, answers: &[Answer], now: Now) -> Result<bool, TailError> {
        let fates = self.weigh(answers, now)?;
        if !self.stands(answers, now)? {
            self.ask_again();
            return Ok(false);
        }
        let strangers = self.strangers.take().unwrap_or_default();
        self.strangers = self.unasked.then(Vec::new);
        self.listing = None;
        self.changes += 1;
        // More files than wait at a time may stand before those that were named.
        self.unsettled = true;
        self.look_at = None;
        for (stranger, fate) in strangers.into_iter().zip(fates) {
            (self.moment)();
            match fate {
                // Those that were not named are found, and asked about, again.
                Fate::Old => {}
                Fate::Copy => self.seal_unread(&stranger.source),
                Fate::Named(seen) => self.introduce(stranger, seen, now),
            }
        }
        self.first = None;
        self.import = None;
        Ok(true)
    }

    /// Whether all is what it was when it was read: the files that wait, those of the epochs that they are, or may be
    /// copies of, and the names. The only look at all of that, and the last one before names are given.
    fn stands(&mut self, answers: &[Answer], now: Now) -> Result<bool, TailError> {
        (self.moment)();
        if self.has_changed()? {
            return Ok(false);
        }
        (self.moment)();
        let told = answers.iter().filter_map(|answer| match answer {
            Answer::Is(epoch) => Some(*epoch),
            _ => None,
        });
        // What waits may be a copy of the live file.
        let last = self.chain.back().map(|last| last.id);
        let known = |epoch: &EpochId| self.place(*epoch).is_some();
        let epochs: Vec<EpochId> = told.chain(last).filter(known).collect();
        for epoch in epochs {
            // The files still wait: what this finds is taken from among them, or waits with them.
            if !self.verify(epoch, now)? {
                return Ok(false);
            }
        }
        (self.moment)();
        // A copy that was made meanwhile may be what was asked about.
        let there = siblings::listing(&self.options.path)?;
        Ok(self.listing.as_ref() == Some(&there))
    }

    /// Whether one of the files is not what was asked about any more.
    fn has_changed(&mut self) -> Result<bool, TailError> {
        for stranger in self.strangers.iter_mut().flatten() {
            let source = &mut stranger.source;
            // A copy that has grown proves more than it did.
            if let Some(size) = stranger.size.filter(|_| !stranger.live)
                && source
                    .length()
                    .map_err(TailError::unreadable(&source.path))?
                    != size
            {
                return Ok(true);
            }
            if let Some(head) = &stranger.head
                && !source
                    .holds(head)
                    .map_err(TailError::unreadable(&source.path))?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The same files and what else there is; those that have no name any more are kept.
    fn ask_again(&mut self) {
        // Not before the directory was looked at.
        self.listing = None;
        self.unsettled = true;
        for stranger in self.strangers.iter_mut().flatten() {
            (stranger.head, stranger.size) = (None, None);
        }
    }

    /// Gives a file its name, by what was read of it.
    fn introduce(&mut self, stranger: Stranger, seen: Seen, now: Now) {
        let Stranger { source, before, .. } = stranger;
        // Under another name (a hard link).
        if self.holds(&source) {
            return;
        }
        let mut id = None;
        if let Answer::Is(epoch) = seen.answer {
            match self.chain.iter_mut().find(|entry| entry.id == epoch) {
                // We knew it, and could not recognise it: it was put back from a copy.
                Some(known) if known.source.is_none() && !known.sealed => {
                    if !seen.known {
                        known.doubt();
                    }
                    known.attach_read(source, seen.head, now);
                    return;
                }
                // What two files have in common proves neither.
                Some(_) => {}
                None => id = Some(epoch),
            }
        }
        let behind = before.and_then(|before| self.place(before));
        let at = match self.nameless_slot(&source, behind) {
            Some(slot) => {
                let entry = &mut self.chain[slot];
                if entry.roll != Stage::Done {
                    (entry.cause, entry.gap) = (None, Stage::Due);
                }
                slot
            }
            None => {
                let entry = Entry::unseen((self.ids)(), source.ident, now);
                let at = behind.unwrap_or(self.chain.len());
                self.chain.insert(at, entry);
                at
            }
        };
        let entry = &mut self.chain[at];
        entry.attach_read(source, seen.head, now);
        (entry.id, entry.skip) = (id.unwrap_or(entry.id), seen.skip);
        if let Some((of, print)) = seen.branch {
            (entry.of, entry.base) = (of, print.end);
            entry.go_to(print);
            let id = entry.id;
            self.forget(id);
        }
    }

    /// An epoch that was named before anything of its file was seen, and whose file this is: by its inode, or because
    /// it is the next one that is new.
    fn nameless_slot(&self, source: &Source, behind: Option<usize>) -> Option<usize> {
        let born = |entry: &Entry| {
            (nameless(entry) || unread(entry)) && source.ident.same_birth(&entry.ident)
        };
        let waiting = || {
            let named = self.chain.iter().rposition(|entry| !nameless(entry));
            let next = named.map_or(0, |last| last + 1);
            (behind.is_none() && next < self.chain.len()).then_some(next)
        };
        self.chain.iter().position(born).or_else(waiting)
    }

    /// A copy of another file needs not be read.
    fn seal_unread(&mut self, source: &Source) {
        let is = |entry: &&mut Entry| unread(entry) && source.ident.same_birth(&entry.ident);
        if let Some(entry) = self.chain.iter_mut().find(is) {
            entry.sealed = true;
        }
    }
}
