//! What a listener answers: where to resume, and what is durable.

use super::*;

impl Sender {
    pub(super) fn resumed(&mut self, resume: Resume, now: Instant) {
        let wanted = match &self.state {
            State::Greeting => self.source.epoch,
            State::Rolling(epoch) => Some(*epoch),
            State::Flowing if self.bugs.has(Bug::EarlyEpoch) => return,
            _ => None,
        };
        if wanted != Some(resume.epoch) {
            return self.end(Why::Violation("a resume that was not asked for"));
        }
        if resume.tail.end > resume.offset
            || self.archive.is_some_and(|known| known != resume.archive)
        {
            return self.end(Why::Violation("a resume that contradicts itself"));
        }
        self.answer_by = None;
        self.archive = Some(resume.archive);
        self.max_line = resume.max_frame;
        self.source.epoch = Some(resume.epoch);
        self.check(resume, now);
    }

    /// The epoch is the one that the listener holds: go on behind what it has.
    pub(super) fn begin(&mut self, epoch: EpochId, at: Offset) {
        self.state = State::Flowing;
        self.answer_by = None;
        self.epoch = Some(epoch);
        (self.sent, self.acked) = (at, at);
        self.reading = Reading::Due;
        self.in_line = false;
    }

    pub(super) fn accept(&mut self, resume: &Resume) {
        self.begin(resume.epoch, resume.offset);
        (self.sealed, self.unproved) = (resume.sealed, false);
        // What is behind a gap may be another archive's, not this one's.
        if resume.tail.end == resume.offset {
            self.actions.push_back(Action::Confirm {
                archive: resume.archive,
                epoch: resume.epoch,
                offset: resume.offset,
                ledger: None,
            });
        }
    }

    pub(super) fn acknowledged(&mut self, ack: Ack, now: Instant) {
        let Some(archive) = self.archive else {
            return self.end(Why::Violation("an ack before the resume"));
        };
        let before = self.over.iter().position(|(epoch, _)| *epoch == ack.epoch);
        let (done, limit) = match before {
            Some(at) => (at, self.over[at].1),
            None if self.epoch == Some(ack.epoch) => (self.over.len(), self.sent),
            // Its resume is still being compared, or the roll's resume awaited: nothing of it was sent.
            None if self.source.epoch == Some(ack.epoch) && self.epoch.is_none() => {
                (self.over.len(), ack.offset)
            }
            None if self.last_ack == Some(ack.epoch) => (0, ack.offset),
            None => return self.end(Why::Violation("an ack of an epoch that was not sent")),
        };
        if ack.offset > limit {
            return self.end(Why::Violation("an ack of what was not sent"));
        }
        self.progress = true;
        self.last_ack = Some(ack.epoch);
        let confirm = |epoch, offset| Action::Confirm {
            archive,
            epoch,
            offset,
            ledger: Some(ack.ledger),
        };
        for (epoch, end) in self.over.drain(..done) {
            self.actions.push_back(confirm(epoch, end));
        }
        match before {
            Some(_) => {
                self.actions.push_back(confirm(ack.epoch, ack.offset));
                if ack.offset >= limit {
                    self.over.pop_front();
                }
            }
            None if self.epoch == Some(ack.epoch) && ack.offset > self.acked => {
                self.acked = ack.offset;
                self.actions.push_back(confirm(ack.epoch, ack.offset));
            }
            None => {}
        }
        self.ack_by = (!self.is_acknowledged()).then(|| now + self.limits.ack);
        // A listener that says so can't commit now, and so can't answer.
        if self.answer_by.is_some() {
            self.answer_by = Some(now + self.limits.answer);
        }
    }
}
