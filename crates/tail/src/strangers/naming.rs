//! Names for files that waited.

use super::{Answer, Stranger};
use crate::checkpoint::{First, Skip};
use crate::entry::{Entry, Stage};
use crate::epoch::Now;
use crate::error::TailError;
use crate::follower::Follower;
use crate::print::PRINT;
use crate::settle::{is_beginning, nameless, unread};
use crate::siblings;
use crate::source::Source;
use crate::step::Cause;

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

    fn name_strangers(&mut self, answers: &[Answer], now: Now) -> Result<bool, TailError> {
        if let Some(seen) = &self.listing
            && *seen != siblings::listing(&self.options.path)?
        {
            // A copy that was made meanwhile may be what was asked about.
            self.ask_again();
            return Ok(false);
        }
        if self.has_changed()? || self.was_cut(now)? {
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

    /// Whether the live file was cut since it was found: what waits may be its copy, and is compared with it before it
    /// gets a name.
    fn was_cut(&mut self, now: Now) -> Result<bool, TailError> {
        let Some(last) = self.chain.back().filter(|last| last.source.is_some()) else {
            return Ok(false);
        };
        let epoch = last.id;
        Ok(!self.verify(epoch, now)?)
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
        self.listing = None;
        for stranger in self.strangers.iter_mut().flatten() {
            (stranger.head, stranger.size) = (None, None);
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
    pub(super) fn ours(&self, strangers: &mut [Stranger]) -> Option<usize> {
        let first = self.first.as_ref()?;
        strangers.iter_mut().position(|stranger| {
            let source = &mut stranger.source;
            !stranger.old && first.precedes(source) || first.is(source)
        })
    }

    /// Of two files that are the same epoch one is a copy: the shorter one, if the other goes on as it ends. And what
    /// has no name any more may be in another one.
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
                    true if one_size > other_size => other,
                    true => one,
                    // Somebody replaced it, or packed it.
                    false if one_size <= other_size && end > 0 => one,
                    false => continue,
                };
                if !is && !same(len.into(), len)? {
                    continue;
                }
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
            let held = self.chain.back_mut().and_then(|last| last.source.as_mut());
            let Some(live) = held.filter(|source| source.is_plain()) else {
                return Ok(());
            };
            for (stranger, answer) in strangers.iter_mut().zip(answers) {
                let source = &mut stranger.source;
                let path = source.path.clone();
                if is_beginning(source, live, now).map_err(TailError::unreadable(path))? {
                    *answer = Answer::Copy;
                }
            }
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
            // Its file may have been copied, and cut since: then this is where it is found.
            self.verify(epoch, now)?;
            let held = |entry: &Entry| {
                let held = entry.source.as_ref();
                held.is_some_and(|held| held.ident.same_inode(&source.ident))
            };
            if self.chain.iter().any(held) {
                return Ok(());
            }
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
}
