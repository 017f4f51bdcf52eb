//! Which of a listener's epochs a file is whose name was lost.

use super::*;
use crate::control::MAX_EPOCHS;

/// The epochs of a listener, compared one after the other with the file: the head first, then the tail. Either alone
/// may be what many files hold. A file that is shorter than a head is compared with as much of the epoch.
#[derive(Debug)]
pub(super) struct Adoption {
    held: VecDeque<Held>,
    asked: Asked,
    /// One whose long head agrees, but not its tail: the file shares its beginning, at least up to here.
    begins: Option<(EpochId, Offset)>,
    /// The longest of those that agree in everything, which is too little to be a proof, and up to where.
    weak: Option<(EpochId, Offset)>,
}

/// What is being compared of the first epoch.
#[derive(Debug, Clone, Copy)]
enum Asked {
    Head,
    Tail,
    /// All of the file: our hash, and the listener's.
    Whole(Option<Hash>, Option<Option<Hash>>),
}

impl Sender {
    /// Another epoch for this connection, after [`Action::Adopt`].
    ///
    /// # Errors
    /// [`Misuse`]: nothing was to be adopted.
    pub fn handle_source(&mut self, source: Source, now: Instant) -> Result<(), Misuse> {
        match self.state {
            State::Adopted => {
                self.source = source;
                // It is a question too.
                self.proofs += 1;
                self.greet(now);
                Ok(())
            }
            State::Ended => Ok(()),
            _ => Err(Misuse("no epoch was to be adopted")),
        }
    }

    /// Whether the questions of this connection are enough for another epoch whose name was lost; otherwise it takes a
    /// new connection.
    #[must_use]
    pub fn has_questions(&self) -> bool {
        // Its hello, and one about each epoch that can be listed.
        self.proofs + 1 + MAX_EPOCHS as u32 <= self.limits.proofs
    }

    pub(super) fn adopted(&mut self, adopted: Adopted) {
        self.actions.push_back(Action::Adopt(adopted));
        self.state = State::Adopted;
    }

    pub(super) fn listed(&mut self, mut held: Vec<Held>, now: Instant) {
        if !matches!(self.state, State::Greeting) || self.source.epoch.is_some() {
            return self.end(Why::Violation("epochs that were not asked for"));
        }
        self.answer_by = None;
        // The one that proves most is asked about first.
        held.sort_by_key(|held| std::cmp::Reverse(held.tail.end));
        let adoption = Adoption {
            held: held.into(),
            asked: Asked::Head,
            begins: None,
            weak: None,
        };
        self.adopt_next(adoption, now);
    }

    fn adopt_next(&mut self, mut adoption: Adoption, now: Instant) {
        let (from, size) = (self.source.from, self.source.size);
        while let Some(held) = adoption.held.front() {
            let (head, tail) = (held.head, held.tail);
            if matches!(adoption.asked, Asked::Head) && head.len == 0 {
                adoption.asked = Asked::Tail;
            }
            let print = match adoption.asked {
                Asked::Tail => tail,
                _ => head,
            };
            let begins = print.len > 0 && print.start() >= from;
            if begins && print.end <= size {
                return self.hash(adoption, print.start(), print.end);
            }
            if begins
                && matches!(adoption.asked, Asked::Head)
                && print.start() == Offset::ZERO
                && size > Offset::ZERO
                && self.proofs < self.limits.proofs
            {
                adoption.asked = Asked::Whole(None, None);
                self.proofs += 1;
                let (epoch, end) = (held.epoch, size);
                let len = end.since(print.start()) as u32;
                self.actions
                    .push_back(Action::Control(Control::Prove { epoch, end, len }));
                self.answer_by = Some(now + self.limits.answer);
                return self.hash(adoption, print.start(), size);
            }
            adoption.next(self.limits.head);
        }
        // Less than what is known to be common is no news.
        let common = self.source.common;
        let begins = adoption.begins.filter(|(_, end)| *end > common);
        match (begins, adoption.weak) {
            (Some((epoch, end)), weak) if weak.is_none_or(|(_, at)| at <= end) => {
                self.adopted(Adopted::Epoch(epoch));
            }
            (_, Some((of, at))) => {
                self.actions
                    .push_back(Action::LineStart { epoch: None, at });
                self.state = State::Branching(of);
            }
            (_, None) => self.adopted(Adopted::Unknown),
        }
    }

    fn hash(&mut self, adoption: Adoption, from: Offset, to: Offset) {
        let epoch = None;
        self.actions.push_back(Action::Hash { epoch, from, to });
        self.state = State::Adopting(adoption);
    }

    /// Our own hash is there.
    pub(super) fn adopt(&mut self, mut adoption: Adoption, hash: Option<Hash>, now: Instant) {
        let Some(hash) = hash else {
            self.state = State::Flowing;
            return self.end(Why::Unreadable);
        };
        let Some(held) = adoption.held.front() else {
            return self.adopt_next(adoption, now);
        };
        let long = self.limits.head;
        match adoption.asked {
            Asked::Whole(..) => return self.adopt_whole(adoption, Some(hash), None, now),
            Asked::Head if hash == held.head.blake3 => adoption.asked = Asked::Tail,
            Asked::Tail if hash == held.tail.blake3 => {
                // One that ends there is what the file was already found to have branched off.
                if held.tail.end <= self.source.common {
                    adoption.shares(None);
                    return self.adopt_next(adoption, now);
                }
                if held.head.len.max(held.tail.len) >= long {
                    return self.adopted(Adopted::Epoch(held.epoch));
                }
                let shared = proved(held, self.source.common);
                adoption.shares(shared);
            }
            _ => adoption.next(long),
        }
        self.adopt_next(adoption, now);
    }

    /// One of the hashes of the whole file is there.
    pub(super) fn adopt_whole(
        &mut self,
        mut adoption: Adoption,
        ours: Option<Hash>,
        theirs: Option<Option<Hash>>,
        now: Instant,
    ) {
        if let Asked::Whole(known_ours, known_theirs) = &mut adoption.asked {
            *known_ours = known_ours.or(ours);
            *known_theirs = known_theirs.or(theirs);
        }
        match adoption.asked {
            Asked::Whole(Some(ours), Some(theirs)) => {
                if theirs == Some(ours) {
                    adoption.shares(Some(self.source.size));
                } else {
                    adoption.next(self.limits.head);
                }
                self.adopt_next(adoption, now);
            }
            _ => self.state = State::Adopting(adoption),
        }
    }
}

impl Adoption {
    pub(super) fn awaits_proof(&self) -> bool {
        matches!(self.asked, Asked::Whole(_, None))
    }

    /// The first one has all of the file up to `to`, and no more to prove it.
    fn shares(&mut self, to: Option<Offset>) {
        if let Some(held) = self.held.pop_front()
            && let Some(to) = to
            && self.weak.is_none_or(|(_, known)| to > known)
        {
            self.weak = Some((held.epoch, to));
        }
        self.asked = Asked::Head;
    }

    /// The first one is not the file's epoch; whether it begins like it is remembered.
    fn next(&mut self, long: u32) {
        if let Some(held) = self.held.pop_front()
            && matches!(self.asked, Asked::Tail)
            && held.head.len >= long
        {
            self.begins = self.begins.or(Some((held.epoch, held.head.end)));
        }
        self.asked = Asked::Head;
    }
}

/// Up to where short prints of head and tail speak of every byte from the first on, or from what is known to be common:
/// what is in a gap, or below one, is nobody's to share.
fn proved(held: &Held, common: Offset) -> Option<Offset> {
    if held.head.start() > common {
        None
    } else if held.tail.start() <= held.head.end {
        Some(held.tail.end)
    } else {
        Some(held.head.end)
    }
}
