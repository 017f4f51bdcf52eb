//! What moves a receiver's position besides data: pieces, empty lines, gaps, rolls; and what is asked meanwhile.

use super::*;

impl Receiver {
    /// A control message that belongs between data.
    pub(super) fn moved(&mut self, control: Control) {
        if self.fenced {
            return;
        }
        let Some(epoch) = self.epoch else {
            return;
        };
        let from = self.taken;
        match control {
            Control::Part {} => self.piece = true,
            Control::Blank { count } => {
                if self.move_on(u64::from(count)).is_some() {
                    self.in_line = false;
                    self.unmarked = self.unmarked.saturating_add(u64::from(count));
                    self.actions.push_back(Action::Blank { epoch, from, count });
                }
            }
            Control::Skip { to, cause } => {
                if to <= from || self.in_line {
                    return self.close(Closing::Violation("a skip inside a line, or backwards"));
                }
                if self.move_on(to.since(from)).is_some() {
                    self.actions.push_back(Action::Gap {
                        epoch,
                        from,
                        to,
                        cause,
                    });
                }
            }
            Control::Mark { offset } if offset == self.taken => self.unmarked = 0,
            Control::Mark { .. } => {
                self.close(Closing::Violation("a mark that we count otherwise"))
            }
            Control::Roll(roll) => self.rolled(epoch, roll),
            Control::Prove { epoch, end, len } => {
                self.asked(epoch, end, len);
            }
            _ => self.close(Closing::Violation(
                "a control message in the wrong direction",
            )),
        }
    }

    pub(super) fn asked(&mut self, epoch: EpochId, end: Offset, len: u32) {
        if self.is_asked() {
            self.actions.push_back(Action::Prove { epoch, end, len });
        }
    }

    pub(super) fn rolled(&mut self, epoch: EpochId, roll: Roll) {
        let Roll {
            end,
            epoch: next,
            cause,
            lost,
            of,
            base,
        } = roll;
        if end != self.taken || next == epoch {
            return self.close(Closing::Violation("a roll that we count otherwise"));
        }
        self.actions.push_back(Action::Roll {
            epoch,
            end,
            next,
            cause,
            lost,
        });
        self.actions.push_back(Action::Open(Opening {
            epoch: next,
            after: Some(epoch),
            of,
            base: base.unwrap_or_default(),
        }));
        self.state = State::Opening {
            first: None,
            epoch: next,
        };
    }

    /// The position moves, unless nothing may be written, or numbers end.
    pub(super) fn move_on(&mut self, by: u64) -> Option<Offset> {
        if self.fenced {
            return None;
        }
        if self.sealed {
            self.handle_refused(Code::BadStream, "the epoch is sealed");
            return None;
        }
        match self.taken.advance(by) {
            Ok(to) => {
                self.taken = to;
                Some(to)
            }
            Err(_) => {
                self.close(Closing::Violation("an offset over 2^53-1"));
                None
            }
        }
    }
}
