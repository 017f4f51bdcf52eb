//! The last position up to which a listener's epoch and a file are the same, by halves.

use crate::Offset;
use crate::control::MAX_PROVE;

/// A search between what is known to be common and what is known to differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Search {
    /// Where the search began: nothing is known of what is below.
    floor: Offset,
    /// Everything from the floor to here is common.
    common: Offset,
    /// Something before here differs; nothing known: the end of what both have.
    differs: Offset,
    /// The first question is about the very end.
    first: bool,
    /// The last question could not be answered: the same again about fewer bytes.
    short: bool,
    /// So few bytes still prove something.
    proof: u32,
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
            short: false,
            proof,
        }
    }

    /// What to ask next; none: [`Search::found`] is the answer.
    pub(super) fn question(&self) -> Option<Question> {
        let left = self.differs.since(self.common);
        let end = match (self.first, left) {
            (_, 0) => return None,
            (true, _) => self.differs,
            (false, 1) => return None,
            (false, _) => self.differs.back(left.div_ceil(2)),
        };
        let most = if self.short { self.proof } else { MAX_PROVE };
        let len = end.since(self.common).min(u64::from(most)) as u32;
        Some(Question { end, len })
    }

    /// The answer to the last question.
    pub(super) fn answer(&mut self, same: bool) {
        let Some(Question { end, .. }) = self.question() else {
            return;
        };
        (self.first, self.short) = (false, false);
        if same {
            self.common = end;
        } else {
            self.differs = end;
        }
    }

    /// The listener does not hold all of what the last question was about: there is a gap, or the beginning was
    /// removed. Fewer bytes may do; if not, they count as different, which can only repeat something, never lose it.
    pub(super) fn unanswered(&mut self) {
        if self
            .question()
            .is_some_and(|question| question.len > self.proof)
        {
            self.short = true;
        } else {
            self.answer(false);
        }
    }

    /// Everything up to here is common, as far as is known.
    pub(super) fn found(&self) -> Offset {
        self.common
    }

    /// Whether anything was found to be common, or nothing is below.
    pub(super) fn is_proved(&self) -> bool {
        self.common > self.floor || self.floor == Offset::ZERO
    }
}

#[cfg(test)]
mod tests;
