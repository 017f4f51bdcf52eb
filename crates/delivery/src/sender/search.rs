//! The last position up to which a listener's epoch and a file are the same, by halves.

use crate::Offset;
use crate::control::MAX_PROVE;

/// A search between what is known to be common and what is known to differ.
///
/// Where the listener holds nothing, it can't answer. Such a place is taken as common for the time being, so that what
/// is above it is compared; if nothing above it is common, the search goes on below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Search {
    /// Where the search began: nothing is known of what is below.
    floor: Offset,
    /// Everything from the floor to here is common, or taken as such.
    common: Offset,
    /// Something before here differs; nothing known: the end of what both have.
    differs: Offset,
    /// The first question is about the very end.
    first: bool,
    /// What was known to be common, and the lowest place that was taken as common.
    taken: Option<(Offset, Offset)>,
    /// What can't be answered counts as different from now on.
    down: bool,
    /// Most bytes of the next question: fewer, when the last one could not be answered.
    most: u32,
    /// Bytes that were found common above what was taken as such, and how many prove that it is.
    above: u32,
    proof: u32,
    /// That many bytes are asked about, now that too few were compared on the way; once.
    verify: Verify,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verify {
    NotYet,
    Now,
    Done,
}

/// A question: are these bytes the same?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) end: Offset,
    pub(super) len: u32,
}

impl Search {
    pub(super) fn new(floor: Offset, end: Offset, proof: u32) -> Self {
        Self {
            floor,
            common: floor.min(end),
            differs: end,
            first: true,
            taken: None,
            down: false,
            most: MAX_PROVE,
            above: 0,
            proof,
            verify: Verify::NotYet,
        }
    }

    /// What to ask next; none: [`Search::found`] is the answer.
    pub(super) fn question(&self) -> Option<Question> {
        if self.verify == Verify::Now {
            let (end, most) = (self.common, self.common.get());
            let len = most.min(u64::from(self.proof)) as u32;
            return Some(Question { end, len });
        }
        let left = self.differs.since(self.common);
        let end = match (self.first, left) {
            (_, 0) => return None,
            (true, _) => self.differs,
            (false, 1) => return None,
            (false, _) => self.differs.back(left.div_ceil(2)),
        };
        let len = end.since(self.common).min(u64::from(self.most)) as u32;
        Some(Question { end, len })
    }

    /// The answer to the last question.
    pub(super) fn answer(&mut self, same: bool) {
        let Some(Question { end, len }) = self.question() else {
            return;
        };
        if self.verify == Verify::Now {
            self.verify = Verify::Done;
            if same {
                self.taken = None;
            }
            return self.turn();
        }
        (self.first, self.most) = (false, MAX_PROVE);
        if same {
            self.common = end;
            self.above = self.above.saturating_add(len);
            // A few bytes are alike in many files.
            if self.above >= self.proof {
                self.taken = None;
            }
        } else {
            self.differs = end;
        }
        self.turn();
    }

    /// The listener does not hold all of what the last question was about: there is a gap, or the beginning was
    /// removed. Fewer bytes may do.
    pub(super) fn unanswered(&mut self) {
        match self.question() {
            Some(_) if self.verify == Verify::Now => self.answer(false),
            Some(question) if question.len > 1 => self.most = question.len.div_ceil(64),
            // It can only repeat something, never lose it.
            Some(_) if self.down || self.first => self.answer(false),
            Some(Question { end, .. }) => {
                self.taken.get_or_insert((self.common, end));
                (self.above, self.verify) = (0, Verify::NotYet);
                (self.common, self.first, self.most) = (end, false, MAX_PROVE);
                self.turn();
            }
            None => {}
        }
    }

    /// If nothing is common above what was taken as common, goes on below it.
    fn turn(&mut self) {
        if self.question().is_some() || self.taken.is_none() {
            return;
        }
        if self.above > 0 && self.verify == Verify::NotYet {
            self.verify = Verify::Now;
        } else if let Some((common, lowest)) = self.taken.take() {
            (self.common, self.differs, self.down) = (common, lowest, true);
        }
    }

    /// Everything up to here is common, as far as is known.
    pub(super) fn found(&self) -> Offset {
        self.taken.map_or(self.common, |(common, _)| common)
    }

    /// Whether anything was found to be common, or nothing is below.
    pub(super) fn is_proved(&self) -> bool {
        self.found() > self.floor || self.floor == Offset::ZERO
    }
}

#[cfg(test)]
mod tests;
