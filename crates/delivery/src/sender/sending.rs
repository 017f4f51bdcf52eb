//! What is sent of an epoch: lines, pieces, gaps and its end, with a mark now and then.

use super::*;

impl Sender {
    /// The answer to an [`Action::Read`].
    ///
    /// # Errors
    /// [`Misuse`]: it was not asked for, or does not lie behind what was sent. The step is not taken.
    pub fn handle_step(&mut self, step: Step, now: Instant) -> Result<(), Misuse> {
        let (Some(epoch), Reading::Asked, State::Flowing) = (self.epoch, self.reading, &self.state)
        else {
            if matches!(self.state, State::Ended) {
                return Ok(());
            }
            return Err(Misuse("nobody asked for a step"));
        };
        if let Step::Lines { to } | Step::Piece { to } | Step::Gap { to, .. } = step
            && to <= self.sent
        {
            return Err(Misuse("a step has to move the position"));
        }
        if self.sealed
            && matches!(
                step,
                Step::Lines { .. } | Step::Piece { .. } | Step::Gap { .. }
            )
        {
            let (of, base) = (Some(epoch), self.sent);
            self.end(Why::Branch { of, base });
            return Ok(());
        }
        if self.unproved && matches!(step, Step::Lines { .. } | Step::Piece { .. }) {
            // The file came back: the next connection compares it.
            self.end(Why::Unreadable);
            return Ok(());
        }
        match step {
            Step::Lines { to } => self.send(epoch, to, false),
            Step::Piece { to } => self.send(epoch, to, true),
            Step::Gap { .. } if self.in_line => return Err(Misuse("no gap inside a line")),
            Step::Gap { to, cause } => {
                self.actions
                    .push_back(Action::Control(Control::Skip { to, cause }));
                self.sent = to;
            }
            Step::Roll {
                next,
                from,
                size,
                of,
                base,
                cause,
                lost,
            } => {
                self.source.after = Some(epoch);
                (self.source.from, self.source.size) = (from, size);
                (self.source.of, self.source.base) = (of, base);
                let roll = Roll {
                    end: self.sent,
                    epoch: next,
                    cause,
                    lost,
                    of,
                    base,
                };
                self.roll(epoch, roll, now);
            }
            Step::Idle => self.mark(),
            Step::Elsewhere => self.finish_with(Why::Elsewhere, None),
        }
        self.reading = match step {
            Step::Idle | Step::Elsewhere | Step::Roll { .. } => Reading::Idle,
            _ => Reading::Due,
        };
        if self.finish.is_some() {
            self.mark();
        }
        if !self.is_acknowledged() && self.ack_by.is_none() {
            self.ack_by = Some(now + self.limits.ack);
        }
        Ok(())
    }

    pub(super) fn read_on(&mut self) -> Option<Action> {
        if !matches!(self.state, State::Flowing)
            || self.reading != Reading::Due
            || self.finish.is_some()
            || self.over.len() > self.limits.rolls
        {
            return None;
        }
        self.reading = Reading::Asked;
        let room = self.limits.mark.saturating_sub(self.unmarked).max(1);
        Some(Action::Read {
            epoch: self.epoch?,
            from: self.sent,
            max: self.limits.batch.min(room),
            max_line: self.max_line,
        })
    }

    fn send(&mut self, epoch: EpochId, to: Offset, piece: bool) {
        let moved = to.since(self.sent);
        if self.unmarked > 0 && self.unmarked + moved > self.limits.mark {
            self.mark();
        }
        if piece {
            self.actions.push_back(Action::Control(Control::Part {}));
        }
        let from = self.sent;
        self.actions.push_back(Action::Data { epoch, from, to });
        self.sent = to;
        self.in_line = piece;
        self.unmarked += moved;
        if self.unmarked >= self.limits.mark {
            self.mark();
        }
    }

    pub(super) fn mark(&mut self) {
        if self.unmarked > 0 {
            self.unmarked = 0;
            let offset = self.sent;
            self.actions
                .push_back(Action::Control(Control::Mark { offset }));
        }
    }

    fn roll(&mut self, epoch: EpochId, roll: Roll, now: Instant) {
        let (end, next) = (roll.end, roll.epoch);
        self.actions.push_back(Action::Control(Control::Roll(roll)));
        self.over.push_back((epoch, end));
        self.unmarked = 0;
        self.in_line = false;
        self.answer_by = Some(now + self.limits.answer);
        self.epoch = None;
        self.state = State::Rolling(next);
        if self.bugs.has(Bug::EarlyEpoch) {
            self.begin(next, Offset::ZERO);
            self.reading = Reading::Due;
        }
    }
}
