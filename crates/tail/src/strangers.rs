//! Files that may have had a name before: after a loss of the checkpoint, or with an old copy of it, a receiver knows
//! more than we do.
//!
//! With [`Options::ask`](crate::Options::ask) the files that the first look finds and no checkpoint explains are held
//! open and wait, until [`Follower::name`] says what a receiver recognised.

use crate::checkpoint::{First, Skip};
use crate::entry::{Entry, Stage};
use crate::epoch::{EpochId, Now};
use crate::error::TailError;
use crate::follower::Follower;
use crate::offer;
use crate::print::{PRINT, Print};
use crate::settle::{is_beginning, nameless, unread};
use crate::siblings;
use crate::source::{Kind, Source};
use crate::step::Cause;

/// Files that are asked about, at most, the newest: a receiver tells of so few epochs.
pub(crate) const MAX_STRANGERS: usize = 24;

/// What a receiver knows of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Nothing: it is new.
    New,
    /// It is this epoch.
    Is(EpochId),
    /// It begins like this epoch and goes on otherwise from `base`.
    Branch {
        /// The epoch.
        of: Option<EpochId>,
        /// Where the histories part.
        base: u64,
    },
    /// It is a copy of another one that waits: nothing has to be read of it.
    Copy,
}

/// One of the files.
#[derive(Debug)]
pub(crate) struct Stranger {
    pub(crate) source: Source,
    /// The epoch that stands behind it, if any is known.
    before: Option<EpochId>,
    /// Whether it is the live file.
    live: bool,
    /// It has no name any more.
    gone: bool,
    /// It was there at the first look of all, and not live: what is in it is from before our time.
    old: bool,
    /// What it began with when it was asked about.
    head: Option<Print>,
}

impl Follower {
    /// How many files wait to be named, oldest first, and behind them the one of an epoch that is
    /// [contested](Follower::contest). While any do, [`Follower::next`] hands out nothing of them.
    pub fn strangers(&self) -> usize {
        self.waiting() + usize::from(self.contested.is_some())
    }

    /// How many that nothing explains.
    pub(crate) fn waiting(&self) -> usize {
        self.strangers.as_ref().map_or(0, Vec::len)
    }

    /// Counts the changes of the list of files that wait: answers are about one list only.
    pub fn strangers_round(&self) -> u64 {
        self.round
    }

    /// The length of a file that waits; 0 if there are more than a receiver can be asked about, and it is one of the
    /// oldest.
    ///
    /// # Errors
    /// It can't be read now.
    pub fn stranger_size(&mut self, at: usize) -> Result<u64, TailError> {
        if let Some(stranger) = self.stranger(at)
            && stranger.head.is_none()
        {
            let source = &mut stranger.source;
            let head = source
                .piece(0, PRINT)
                .map_err(TailError::unreadable(&source.path))?;
            stranger.head = Some(Print::new(head.len() as u64, &head));
        }
        match at < self.waiting().saturating_sub(MAX_STRANGERS) {
            true => Ok(0),
            false => self.length(at),
        }
    }

    fn length(&mut self, at: usize) -> Result<u64, TailError> {
        match self.asked(at) {
            Some(source) => source.length().map_err(TailError::unreadable(&source.path)),
            None => Ok(0),
        }
    }

    /// As [`Follower::bytes`], of a file that waits.
    ///
    /// # Errors
    /// It can't be read now.
    pub fn stranger_bytes(
        &mut self,
        at: usize,
        end: u64,
        len: u32,
    ) -> Result<Option<Vec<u8>>, TailError> {
        match self.asked(at) {
            Some(source) => offer::bytes(source, end, len),
            None => Ok(None),
        }
    }

    /// As [`Follower::line_start`], of a file that waits.
    ///
    /// # Errors
    /// It can't be read now.
    pub fn stranger_line_start(&mut self, at: usize, end: u64) -> Result<Option<u64>, TailError> {
        match self.asked(at) {
            Some(source) => offer::line_start(source, end).map(Some),
            None => Ok(None),
        }
    }

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

    fn name_strangers(&mut self, answers: &[Answer], now: Now) -> Result<bool, TailError> {
        if let Some(seen) = &self.listing
            && *seen != siblings::listing(&self.options.path)?
        {
            // A copy that was made meanwhile may be what was asked about.
            self.ask_again();
            return Ok(false);
        }
        if self.has_changed()? {
            self.ask_again();
            return Ok(false);
        }
        let mut answers = answers.to_vec();
        answers.resize(self.waiting(), Answer::New);
        self.drop_copies(&mut answers)?;
        self.drop_unfinished(&mut answers, now)?;
        let mut strangers = self.strangers.take().unwrap_or_default();
        self.strangers = self.unasked.then(Vec::new);
        self.listing = None;
        self.changes += 1;
        // Before anything is read: more files than wait at a time may stand before those that were named.
        self.unsettled = true;
        self.look_at = None;
        let lost = self.chain.is_empty();
        let proven = answers
            .iter()
            .position(|answer| matches!(answer, Answer::Is(_) | Answer::Branch { .. }));
        let ours = self.ours(&mut strangers);
        let first = [proven, ours].into_iter().flatten().min();
        for (at, mut stranger) in strangers.into_iter().enumerate() {
            let answer = answers.get(at).copied().unwrap_or(Answer::New);
            if answer == Answer::Copy {
                self.seal_unread(&stranger.source);
                continue;
            }
            let read = match first {
                _ if !lost => true,
                _ if answer == Answer::New && self.is_old(&mut stranger) => false,
                Some(first) => at >= first,
                None => stranger.live,
            };
            if read {
                let begins = match &self.first {
                    Some(first) => ours == Some(at) && first.begins(&mut stranger.source),
                    None => stranger.live,
                };
                let import = self.import.filter(|_| begins && proven.is_none() && lost);
                // Those that were not named are found, and asked about, again.
                self.introduce(stranger, answer, import, now)?;
            }
        }
        self.first = None;
        self.import = None;
        Ok(true)
    }

    /// Whether one of the files is not what was asked about any more.
    fn has_changed(&mut self) -> Result<bool, TailError> {
        for stranger in self.strangers.iter_mut().flatten() {
            let source = &mut stranger.source;
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
        self.listing = None;
        for stranger in self.strangers.iter_mut().flatten() {
            stranger.head = None;
        }
    }

    /// Whether it is from before our time, as far as that can be told by the file that was live at the first look of all.
    fn is_old(&self, stranger: &mut Stranger) -> bool {
        let source = &mut stranger.source;
        let older = |first: &First| {
            !stranger.live
                && source.ident.modified_ns < first.ident.modified_ns
                && !first.is(source)
        };
        stranger.old || self.first.as_ref().is_some_and(older)
    }

    /// The oldest of the files that are not from before our time: the one that was live at the first look of all, or what
    /// changed later.
    fn ours(&self, strangers: &mut [Stranger]) -> Option<usize> {
        let first = self.first.as_ref()?;
        strangers.iter_mut().position(|stranger| {
            let source = &mut stranger.source;
            !stranger.old && first.precedes(source) || first.is(source)
        })
    }

    /// Of two files that are the same epoch one is a copy: the shorter one, if the other goes on as it ends. And what was
    /// packed since is in the file that has no name any more.
    fn drop_copies(&mut self, answers: &mut [Answer]) -> Result<(), TailError> {
        for one in 0..answers.len() {
            for other in one + 1..answers.len() {
                let gone = self.stranger(one).is_some_and(|stranger| stranger.gone);
                let is = matches!(answers[one], Answer::Is(_));
                if answers[one] != answers[other] || !is && !gone {
                    continue;
                }
                let (one_size, other_size) = (self.length(one)?, self.length(other)?);
                let end = one_size.min(other_size);
                let len = end.min(PRINT as u64) as u32;
                let mut same = |end, len| -> Result<bool, TailError> {
                    let one = self.stranger_bytes(one, end, len)?;
                    Ok(one == self.stranger_bytes(other, end, len)?)
                };
                let copy = match is {
                    true if one_size <= other_size => one,
                    true => other,
                    false if one_size == other_size && end > 0 && same(len.into(), len)? => other,
                    false => continue,
                };
                if same(end, len)? {
                    answers[copy] = Answer::Copy;
                }
            }
        }
        Ok(())
    }

    /// What is being copied from the live file is in the live file.
    fn drop_unfinished(&mut self, answers: &mut [Answer], now: Now) -> Result<(), TailError> {
        let strangers = self.strangers.get_or_insert_default();
        let Some(at) = strangers.iter().position(|stranger| stranger.live) else {
            return Ok(());
        };
        let mut live = strangers.remove(at);
        let mut result = Ok(());
        for (index, stranger) in strangers.iter_mut().enumerate() {
            let answer = &mut answers[if index < at { index } else { index + 1 }];
            match is_beginning(&mut stranger.source, &mut live.source, now) {
                Ok(true) => *answer = Answer::Copy,
                Ok(false) => {}
                Err(error) => result = Err(TailError::unreadable(&stranger.source.path)(error)),
            }
        }
        strangers.insert(at, live);
        result
    }

    fn introduce(
        &mut self,
        stranger: Stranger,
        answer: Answer,
        import: Option<u64>,
        now: Now,
    ) -> Result<(), TailError> {
        let Stranger {
            mut source, before, ..
        } = stranger;
        let path = source.path.clone();
        let unreadable = |error| TailError::unreadable(&path)(error);
        let mut id = None;
        if let Answer::Is(epoch) = answer {
            match self.chain.iter_mut().find(|entry| entry.id == epoch) {
                // We knew it, and could not recognise it: it was put back from a copy.
                Some(known) if known.source.is_none() && !known.sealed => {
                    if !known.matches(&mut source).map_err(unreadable)? {
                        known.doubt();
                    }
                    return known.attach(source, now).map_err(unreadable);
                }
                // What two files have in common proves neither.
                Some(_) => {}
                None => id = Some(epoch),
            }
        }
        let skip = match import {
            Some(offset) => self.imported(&source, offset)?,
            None => None,
        };
        let behind = before.and_then(|before| self.place(before));
        let at = match self.nameless_slot(&source, behind) {
            Some(slot) => {
                let entry = &mut self.chain[slot];
                if entry.roll != Stage::Done {
                    (entry.cause, entry.gap) = (None, Stage::Due);
                }
                entry.attach(source, now).map_err(unreadable)?;
                slot
            }
            None => {
                let new = (self.ids)();
                let entry = Entry::new(new, source, now).map_err(unreadable)?;
                let at = behind.unwrap_or(self.chain.len());
                self.chain.insert(at, entry);
                at
            }
        };
        let entry = &mut self.chain[at];
        (entry.id, entry.skip) = (id.unwrap_or(entry.id), skip);
        if let Answer::Branch { of, base } = answer {
            (entry.of, entry.base) = (of, base);
            let id = entry.id;
            self.seek(id, base)?;
        }
        Ok(())
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

    /// What another program has forwarded of a file up to `offset`, and the rest of the line there.
    pub(crate) fn imported(&self, source: &Source, offset: u64) -> Result<Option<Skip>, TailError> {
        if offset == 0 || source.ident.size < offset {
            return Ok(None);
        }
        let mut source = Source::open(&source.path, crate::source::Packing::Plain)
            .map_err(TailError::unreadable(&source.path))?;
        let to = crate::reading::next_line(&mut source, offset - 1)
            .map_err(TailError::unreadable(&source.path))?;
        // The rest of an unfinished line is passed over once its LF is there.
        Ok(Some(Skip {
            from: 0,
            to: to.unwrap_or(offset),
            cause: Cause::Imported,
        }))
    }

    /// Takes up the files that a look found and nothing explains; those that waited already stay.
    pub(crate) fn meet(
        &mut self,
        files: &mut [Option<Source>],
        places: &[Option<usize>],
        newer: &[usize],
        live: Option<usize>,
    ) -> Result<(), TailError> {
        let mut gone = self.strangers.take().unwrap_or_default();
        let count = gone.len();
        let mut there = Vec::new();
        let first_look = self.chain.is_empty() && self.first.is_none();
        let mut from = newer.len().saturating_sub(MAX_STRANGERS);
        if let Some(first) = self.first.filter(|_| from > 0 && self.chain.is_empty()) {
            // They are ours, asked about or not.
            let ours = newer.iter().position(|&at| {
                let file = files[at].as_mut();
                file.is_some_and(|file| first.precedes(file) || first.is(file))
            });
            from = from.min(ours.unwrap_or(from));
        }
        let blind = |at: &usize| matches!(&files[*at], Some(file) if file.is_shut());
        self.unasked = from > 0 || newer.iter().any(blind);
        for &at in &newer[from..] {
            // One that can't be opened has nothing to be asked about: it is named when it can be.
            let Some(source) = files[at].take_if(|file| !matches!(file.kind, Kind::Alien(_)))
            else {
                continue;
            };
            let live = live == Some(at);
            let same = gone
                .iter()
                .position(|known| known.source.ident.same_inode(&source.ident));
            if let Some(same) = same {
                let mut known = gone.remove(same);
                (known.source.path, known.live, known.gone) = (source.path, live, false);
                there.push(known);
                continue;
            }
            let behind = places
                .iter()
                .position(|place| place.is_some_and(|place| place > at));
            there.push(Stranger {
                source,
                before: behind.map(|behind| self.chain[behind].id),
                live,
                gone: false,
                old: first_look && !live,
                head: None,
            });
        }
        for stranger in &mut gone {
            (stranger.live, stranger.gone) = (false, true);
        }
        // What has no name any more is older than what has one.
        gone.append(&mut there);
        // Answers are told by place: with another list all have to be asked again.
        self.round += u64::from(gone.len() != count || !gone.is_empty());
        self.strangers = Some(gone);
        self.note_first()
    }

    /// Remembers which file was live at the first look of all, and more of it as long as it is short.
    fn note_first(&mut self) -> Result<(), TailError> {
        if !self.chain.is_empty() {
            return Ok(());
        }
        let first = self.first;
        let mut waiting = self.strangers.take().unwrap_or_default();
        let ours = self.ours(&mut waiting);
        let mut strangers = self.strangers.insert(waiting).iter_mut();
        let found = match first {
            Some(first) if first.head.len as usize >= PRINT => None,
            // If anything older is ours as well, what its inode holds now may be another file.
            Some(first) => ours
                .and_then(|at| strangers.nth(at))
                .filter(|stranger| stranger.source.ident.same_birth(&first.ident)),
            None => strangers.find(|stranger| stranger.live),
        };
        let Some(stranger) = found else {
            return Ok(());
        };
        let source = &mut stranger.source;
        let head = source
            .piece(0, PRINT)
            .map_err(TailError::unreadable(&source.path))?;
        let grown = first.is_none_or(|first| head.len() > first.head.len as usize);
        // Only what goes on as it began is the same file.
        let same = match &first {
            Some(first) => source
                .holds(&first.head)
                .map_err(TailError::unreadable(&source.path))?,
            None => true,
        };
        if grown && same {
            self.first = Some(First {
                ident: source.ident,
                head: Print::new(head.len() as u64, &head),
            });
            self.changes += 1;
        }
        Ok(())
    }

    fn stranger(&mut self, at: usize) -> Option<&mut Stranger> {
        self.strangers.as_mut()?.get_mut(at)
    }

    /// The file number `at` of those that are asked about.
    fn asked(&mut self, at: usize) -> Option<&mut Source> {
        if at >= self.waiting() {
            return self.contested_source();
        }
        self.stranger(at).map(|stranger| &mut stranger.source)
    }
}

impl First {
    /// Whether this is the file.
    fn is(&self, source: &mut Source) -> bool {
        let near = source.ident.same_birth(&self.ident)
            || source.ident.modified_ns >= self.ident.modified_ns;
        (self.head.len as usize >= PRINT || near) && self.begins(source)
    }

    /// Whether this file begins as it did.
    fn begins(&self, source: &mut Source) -> bool {
        source.holds(&self.head).unwrap_or(false)
    }

    /// Whether this file changed after it was seen.
    fn precedes(&self, source: &Source) -> bool {
        source.ident.modified_ns > self.ident.modified_ns
    }
}
