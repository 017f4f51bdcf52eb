//! Whether the file and the listener's epoch are one: the tail proof, and the search in another file.

use super::*;
use crate::Acked;
use crate::control::Proof;
use crate::sender::search::{Question, Search};

/// The search for the last common position.
#[derive(Debug)]
pub(super) struct Comparison {
    of: EpochId,
    search: Search,
    ours: Option<Hash>,
    theirs: Option<Proof>,
    /// The search is over, and the start of the line is awaited.
    line: bool,
}

impl Sender {
    /// The answer to an [`Action::Hash`]; none: the bytes could not be read, which proves nothing.
    pub fn handle_hash(&mut self, hash: Option<Hash>, now: Instant) {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Checking(resume) => {
                self.state = State::Flowing;
                match hash {
                    None => self.end(Why::Unreadable),
                    Some(hash) if hash == resume.tail.blake3 => self.accept(&resume),
                    Some(_) => self.compare(&resume, now),
                }
            }
            State::Comparing(mut comparison) => match hash {
                None => {
                    self.state = State::Flowing;
                    self.end(Why::Unreadable);
                }
                ours => {
                    comparison.ours = ours;
                    self.answered(comparison, now);
                }
            },
            State::Adopting(adoption) => self.adopt(adoption, hash, now),
            other => self.state = other,
        }
    }

    /// The answer to an [`Action::LineStart`]; none: it could not be read.
    pub fn handle_line_start(&mut self, at: Option<Offset>) {
        match (&self.state, at) {
            (State::Comparing(_) | State::Branching(_), None) => self.end(Why::Unreadable),
            (State::Comparing(comparison), Some(base)) => {
                let of = comparison.search.is_proved().then_some(comparison.of);
                self.end(Why::Branch { of, base });
            }
            (State::Branching(of), Some(base)) => {
                let of = *of;
                self.adopted(Adopted::Branch { of, base });
            }
            _ => {}
        }
    }

    /// Compares the tail of a resume, as far as it can be read.
    pub(super) fn check(&mut self, resume: Resume, now: Instant) {
        let Print { end, len, .. } = resume.tail;
        let from = resume.tail.start();
        if self.bugs.has(Bug::NoTailProof) || len == 0 && resume.offset <= self.source.size {
            return self.accept(&resume);
        }
        if resume.offset > self.source.size && self.source.from < self.source.size {
            // The listener holds more than the file: no need to look.
            return self.compare(&resume, now);
        }
        if len == 0 || from < self.source.from || end > self.source.size {
            // What can't be read disproves nothing. A file that is not there now may be another one when it is.
            self.accept(&resume);
            self.unproved = self.source.from >= self.source.size;
            return;
        }
        let epoch = Some(resume.epoch);
        self.actions.push_back(Action::Hash {
            epoch,
            from,
            to: end,
        });
        self.state = State::Checking(resume);
    }

    fn compare(&mut self, resume: &Resume, now: Instant) {
        let floor = self.source.from.max(self.source.base.unwrap_or_default());
        let held = resume.tail.end;
        let end = held.min(self.source.size);
        let mut search = Search::new(floor, end, self.limits.head / 2);
        if held < self.source.size.min(resume.offset) {
            search = search.below_gap();
        }
        let comparison = Comparison {
            of: resume.epoch,
            search,
            ours: None,
            theirs: None,
            line: false,
        };
        self.ask(comparison, now);
    }

    /// What to tell if another master has what this one lacks to go on comparing.
    fn doubt(&self, comparison: &Comparison) -> Option<Doubts> {
        let Comparison { of, search, .. } = comparison;
        let told = Acked {
            archive: self.archive?,
            offset: search.found(),
        };
        let better = search.is_at_gap() && self.doubts.is_better(told, &self.source.acked, *of);
        better.then(|| self.doubts.with(told, *of))
    }

    fn ask(&mut self, mut comparison: Comparison, now: Instant) {
        (comparison.ours, comparison.theirs) = (None, None);
        let epoch = comparison.of;
        match comparison.search.question() {
            Some(Question { end, len }) if self.proofs < self.limits.proofs => {
                self.proofs += 1;
                let from = end.back(u64::from(len));
                self.actions
                    .push_back(Action::Control(Control::Prove { epoch, end, len }));
                self.actions.push_back(Action::Hash {
                    epoch: Some(epoch),
                    from,
                    to: end,
                });
                self.answer_by = Some(now + self.limits.answer);
            }
            _ => {
                if let Some(doubts) = self.doubt(&comparison) {
                    self.state = State::Flowing;
                    return self.end(Why::Unproved(doubts));
                }
                comparison.line = true;
                self.answer_by = None;
                let at = comparison.search.found();
                let epoch = Some(epoch);
                self.actions.push_back(Action::LineStart { epoch, at });
            }
        }
        self.state = State::Comparing(comparison);
    }

    pub(super) fn proved(&mut self, theirs: Proof, now: Instant) {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Comparing(mut comparison) if comparison.theirs.is_none() && !comparison.line => {
                comparison.theirs = Some(theirs);
                self.answer_by = None;
                self.answered(comparison, now);
            }
            State::Adopting(adoption) if adoption.awaits_proof() => {
                self.answer_by = None;
                self.adopt_whole(adoption, None, Some(theirs.blake3), now);
            }
            other => {
                self.state = other;
                self.end(Why::Violation("a proof that was not asked for"));
            }
        }
    }

    fn answered(&mut self, mut comparison: Comparison, now: Instant) {
        match (comparison.ours, comparison.theirs) {
            (Some(ours), Some(theirs)) => {
                match theirs.blake3 {
                    Some(theirs) => comparison.search.answer(ours == theirs),
                    None => comparison.search.unanswered(theirs.missing),
                }
                self.ask(comparison, now);
            }
            _ => self.state = State::Comparing(comparison),
        }
    }
}
