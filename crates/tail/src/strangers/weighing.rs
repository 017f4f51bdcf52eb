//! What becomes of files that wait, and all that is read of them for it: before the last look, since nothing is read once
//! they get their names.

use super::{Answer, Stranger};
use crate::checkpoint::{First, Skip};
use crate::entry::Entry;
use crate::epoch::{EpochId, Now};
use crate::error::TailError;
use crate::follower::Follower;
use crate::offer;
use crate::print::{PRINT, Print};
use crate::settle::is_beginning;
use crate::source::Source;
use crate::step::Cause;

/// What becomes of a file that waited.
pub(super) enum Fate {
    /// It is from before our time.
    Old,
    /// It is a copy of another one.
    Copy,
    Named(Seen),
}

/// What was read of a file that gets a name.
pub(super) struct Seen {
    pub(super) head: Vec<u8>,
    pub(super) answer: Answer,
    /// It holds what we know of the epoch that it is.
    pub(super) known: bool,
    /// The epoch of which it is another history, and what stands before the place where they part.
    pub(super) branch: Option<(Option<EpochId>, Print)>,
    /// What another program has forwarded of it.
    pub(super) skip: Option<Skip>,
}

impl Follower {
    /// What becomes of each of the files.
    pub(super) fn weigh(&mut self, answers: &[Answer], now: Now) -> Result<Vec<Fate>, TailError> {
        for stranger in self.strangers.iter_mut().flatten() {
            stranger.note()?;
        }
        (self.moment)();
        let mut answers = answers.to_vec();
        answers.resize(self.waiting(), Answer::New);
        self.drop_copies(&mut answers)?;
        (self.moment)();
        self.drop_unfinished(&mut answers, now)?;
        (self.moment)();
        let mut strangers = self.strangers.take().unwrap_or_default();
        let fates = self.fates(&mut strangers, &answers);
        self.strangers = Some(strangers);
        fates
    }

    fn fates(
        &self,
        strangers: &mut [Stranger],
        answers: &[Answer],
    ) -> Result<Vec<Fate>, TailError> {
        let lost = self.chain.is_empty();
        let proven = answers
            .iter()
            .position(|answer| matches!(answer, Answer::Is(_) | Answer::Branch { .. }));
        let ours = self.ours(strangers);
        let first = [proven, ours].into_iter().flatten().min();
        let mut fates = Vec::with_capacity(strangers.len());
        for (at, (stranger, &answer)) in strangers.iter_mut().zip(answers).enumerate() {
            let read = match first {
                _ if !lost => true,
                _ if answer == Answer::New && self.is_old(stranger) => false,
                Some(first) => at >= first,
                None => stranger.live,
            };
            fates.push(match answer {
                Answer::Copy => Fate::Copy,
                _ if !read => Fate::Old,
                _ => {
                    let begins = match &self.first {
                        Some(first) => ours == Some(at) && first.begins(&mut stranger.source),
                        None => stranger.live,
                    };
                    let import = self.import.filter(|_| begins && proven.is_none() && lost);
                    Fate::Named(self.seen(&mut stranger.source, answer, import)?)
                }
            });
        }
        Ok(fates)
    }

    fn seen(
        &self,
        source: &mut Source,
        answer: Answer,
        import: Option<u64>,
    ) -> Result<Seen, TailError> {
        let path = source.path.clone();
        let unreadable = |error| TailError::unreadable(&path)(error);
        let head = source.piece(0, PRINT).map_err(unreadable)?;
        let (mut known, mut branch) = (false, None);
        match answer {
            Answer::Is(epoch) => {
                let away = |entry: &&Entry| entry.id == epoch && entry.source.is_none();
                if let Some(entry) = self.chain.iter().find(away) {
                    known = entry.matches(source).map_err(unreadable)?;
                }
            }
            Answer::Branch { of, base } => {
                let before = offer::bytes(source, base, base.min(PRINT as u64) as u32)?;
                branch = before.map(|bytes| (of, Print::new(base, &bytes)));
            }
            Answer::New | Answer::Copy => {}
        }
        let skip = match import {
            Some(offset) => imported(source, offset)?,
            None => None,
        };
        Ok(Seen {
            head,
            answer,
            known,
            branch,
            skip,
        })
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
}

/// What another program has forwarded of a file up to `offset`, and the rest of the line there.
pub(crate) fn imported(source: &mut Source, offset: u64) -> Result<Option<Skip>, TailError> {
    if offset == 0 || source.ident.size < offset {
        return Ok(None);
    }
    let to = crate::reading::next_line(source, offset - 1)
        .map_err(TailError::unreadable(&source.path))?;
    // The rest of an unfinished line is passed over once its LF is there.
    Ok(Some(Skip {
        from: 0,
        to: to.unwrap_or(offset),
        cause: Cause::Imported,
    }))
}
