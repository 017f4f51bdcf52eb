//! How a connection comes to write an epoch: the hello, whose stream it is, what is held, and where to resume.

use super::action::furthest;
use super::*;

impl Receiver {
    /// The stream is this connection's.
    pub fn handle_claimed(&mut self) {
        if let State::Claiming(_) = &self.state
            && let State::Claiming(hello) = std::mem::replace(&mut self.state, State::Listed)
        {
            self.begin(hello);
        }
    }

    /// The stream's epochs, newest first; at most [`MAX_EPOCHS`] are told.
    pub fn handle_epochs(&mut self, mut held: Vec<Held>) {
        if matches!(self.state, State::Listing) {
            held.truncate(MAX_EPOCHS);
            self.actions
                .push_back(Action::Control(Control::Epochs(held)));
            self.state = State::Listed;
        }
    }

    /// Where the epoch of an [`Action::Open`] stands.
    pub fn handle_standing(&mut self, standing: Standing) {
        if !matches!(self.state, State::Opening { .. }) {
            return;
        }
        let State::Opening { first, epoch } = std::mem::replace(&mut self.state, State::Open)
        else {
            return;
        };
        let mut offset = standing.offset;
        if self.bugs.has(Bug::ResumeOffByOne) && offset > Offset::ZERO {
            offset = offset.advance(1).unwrap_or(offset);
        }
        self.epoch = Some(epoch);
        self.taken = offset;
        self.in_line = standing.in_line;
        self.sealed = standing.sealed;
        self.unmarked = 0;
        if self.committed.is_none() || first.is_some() {
            self.committed = Some(Ack {
                epoch,
                offset: standing.offset,
                ledger: standing.ledger,
            });
        }
        if let Some(hello) = first
            && let Some(to) = furthest(&hello.acked, &self.limits.siblings, self.archive)
            && to > self.taken
            && !standing.sealed
        {
            let (from, cause) = (self.taken, crate::control::GapCause::Elsewhere);
            self.actions.push_back(Action::Gap {
                epoch,
                from,
                to,
                cause,
            });
            (self.taken, self.in_line) = (to, false);
        }
        let resume = Resume {
            archive: self.archive,
            epoch,
            offset: self.taken,
            tail: standing.tail,
            max_frame: self.limits.max_frame,
            sealed: standing.sealed,
            features: Vec::new(),
        };
        self.actions
            .push_back(Action::Control(Control::Resume(resume)));
    }

    /// The answer to an [`Action::Prove`].
    pub fn handle_proof(&mut self, proof: Proof) {
        if !self.is_closed() {
            self.actions
                .push_back(Action::Control(Control::Proof(proof)));
        }
    }

    pub(super) fn greeted(&mut self, hello: Hello, now: Instant) {
        self.patience.arm("frames", self.limits.idle, now);
        if !is_stream_name(&hello.stream) {
            return self.handle_refused(Code::BadStream, "not a stream's name");
        }
        let stream = hello.stream.clone();
        self.stream.clone_from(&stream);
        self.actions.push_back(Action::Claim { stream });
        self.state = State::Claiming(Box::new(hello));
    }

    pub(super) fn begin(&mut self, hello: Box<Hello>) {
        let Some(epoch) = hello.epoch else {
            self.actions.push_back(Action::List);
            self.state = State::Listing;
            return;
        };
        self.actions.push_back(Action::Open(Opening {
            epoch,
            after: hello.after,
            of: hello.of,
            base: hello.base.unwrap_or_default(),
        }));
        self.state = State::Opening {
            first: Some(hello),
            epoch,
        };
    }

    /// Counts a question; whether there were not too many.
    pub(super) fn is_asked(&mut self) -> bool {
        self.questions += 1;
        if self.questions > self.limits.questions {
            self.close(Closing::Violation("too many questions"));
        }
        !self.is_closed()
    }
}
