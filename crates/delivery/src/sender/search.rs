//! The last position up to which a listener's epoch and a file are the same, by halves.

use crate::Offset;
use crate::control::{MAX_PROVE, Missing};

/// A search between what is known to be common and what is known to differ.
///
/// Where the listener holds nothing, it says from where to where. Right above such a place as many bytes are compared as
/// prove what is below them; fewer would be alike in many files. If they differ, or are not there, what is above the place
/// counts as different: that can only repeat something, never lose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Search {
    /// Where the search began: nothing is known of what is below.
    floor: Offset,
    /// Everything from the floor to here is common, as far as the listener holds it.
    common: Offset,
    /// Something before here differs, or proves nothing.
    differs: Offset,
    /// Nothing below `differs` is known to differ: it is asked about first.
    fresh: bool,
    /// What is being passed over.
    over: Option<Over>,
    /// Above here the listener does not hold enough.
    gap: Option<Offset>,
    /// So many bytes in a row prove what is below them.
    proof: u32,
}

/// A place of which the listener does not hold all: a gap, or several with too little between them to prove anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Over {
    from: Offset,
    to: Offset,
    /// Of so many.
    gaps: u32,
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
            fresh: true,
            over: None,
            gap: None,
            proof,
        }
    }

    /// The same where the listener holds nothing behind the end.
    pub(super) fn below_gap(mut self) -> Self {
        self.gap = Some(self.differs);
        self
    }

    /// What to ask next; none: [`Search::found`] is the answer.
    pub(super) fn question(&self) -> Option<Question> {
        if let Some(over) = self.over {
            let len = self.proof;
            let end = over.to.advance(len.into()).unwrap_or(Offset::MAX);
            return Some(Question { end, len });
        }
        let end = match (self.fresh, self.differs.since(self.common)) {
            (_, 0) => return None,
            (true, _) => self.differs,
            (false, 1) => return None,
            (false, left) => self.differs.back(left.div_ceil(2)),
        };
        let len = end.since(self.common).min(u64::from(MAX_PROVE)) as u32;
        Some(Question { end, len })
    }

    /// The answer to the last question.
    pub(super) fn answer(&mut self, same: bool) {
        let Some(Question { end, .. }) = self.question() else {
            return;
        };
        match self.over.take() {
            Some(over) if !same => self.go_below(over.from),
            _ if same => self.common = end,
            _ => (self.differs, self.fresh) = (end, false),
        }
    }

    /// The listener does not hold all of what the last question was about: there is a gap, or the beginning was
    /// removed. It says which, if it can: the highest place that is missing.
    pub(super) fn unanswered(&mut self, missing: Option<Missing>) {
        let Some(Question { end, len }) = self.question() else {
            return;
        };
        let from = end.back(u64::from(len));
        let Some(missing) = missing.filter(|it| it.from < end && it.to > from) else {
            return self.answer(false);
        };
        let over = match self.over {
            Some(over) => Over {
                to: missing.to,
                gaps: over.gaps + 1,
                ..over
            },
            None => Over {
                from: missing.from,
                to: missing.to,
                gaps: 1,
            },
        };
        let room = self.differs.get().checked_sub(over.to.get());
        self.over = Some(over).filter(|_| room >= Some(self.proof.into()) && over.gaps <= GAPS);
        if self.over.is_none() {
            self.go_below(over.from);
        }
    }

    /// Nothing above here is proved.
    fn go_below(&mut self, from: Offset) {
        (self.differs, self.fresh) = (from.max(self.common), true);
        self.gap = Some(self.differs);
    }

    /// Everything up to here is common, as far as is known.
    pub(super) fn found(&self) -> Offset {
        self.common
    }

    /// Whether more could be common, if the listener held it.
    pub(super) fn is_at_gap(&self) -> bool {
        self.gap == Some(self.common)
    }

    /// Whether anything was found to be common, or nothing is below.
    pub(super) fn is_proved(&self) -> bool {
        self.found() > self.floor || self.floor == Offset::ZERO
    }
}

/// So many gaps with too little between them are passed over as one.
const GAPS: u32 = 8;

#[cfg(test)]
mod tests;
