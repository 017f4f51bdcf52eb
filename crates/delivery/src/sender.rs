//! The forwarder's end of one connection.

use std::collections::VecDeque;
use std::time::Instant;

use crate::bug::{Bug, Bugs};
use crate::control::{Ack, Decoded, Held, Hello, Refuse, Resume, Roll};
use crate::{ArchiveId, Control, EpochId, Hash, Offset, Print};

mod action;
mod adoption;
mod answers;
mod doubts;
mod identity;
mod search;
mod sending;

pub use action::{Action, Adopted, Misuse, Outcome, SenderLimits, Source, Step, Why};
pub use doubts::Doubts;

use adoption::Adoption;
use identity::Comparison;

/// The forwarder's end of one connection, a *session*: facts in by `handle_*`, actions out by [`Sender::poll_action`],
/// which the driver drains before the next fact.
///
/// It never sees a line: one [`Action::Read`] and one [`Step`] a batch move it. It keeps positions of at most
/// [`SenderLimits::rolls`] epochs; the file is the buffer. The driver stores a new epoch durably before it names it
/// here, and makes bytes durable in their file before it hands them over as a step, so that no archive is ahead of the
/// worker's own disk.
#[derive(Debug)]
pub struct Sender {
    limits: SenderLimits,
    agent: String,
    source: Source,
    state: State,
    actions: VecDeque<Action>,
    archive: Option<ArchiveId>,
    max_line: u32,
    /// Nothing may be appended to the epoch that is sent.
    sealed: bool,
    /// Its tail could not be compared: nothing may be read of it, should it be there again.
    unproved: bool,
    /// The epoch that is sent.
    epoch: Option<EpochId>,
    /// Everything of it below is sent.
    sent: Offset,
    /// Everything of it below is durable.
    acked: Offset,
    /// Whether `sent` is inside a line.
    in_line: bool,
    /// Bytes since the last mark.
    unmarked: u64,
    /// The epoch of the last ack, which a listener that can't commit repeats.
    last_ack: Option<EpochId>,
    /// Epochs of this connection that are over, with their end, the oldest that is not durable first.
    over: VecDeque<(EpochId, Offset)>,
    reading: Reading,
    finish: Option<Why>,
    /// Until when the peer has to answer, or to acknowledge something.
    answer_by: Option<Instant>,
    ack_by: Option<Instant>,
    finish_by: Option<Instant>,
    beat_at: Instant,
    proofs: u32,
    unknown: u64,
    progress: bool,
    doubts: Doubts,
    pub(crate) bugs: Bugs,
}

/// What the peer has to say next.
#[derive(Debug)]
enum State {
    /// `resume`, or `epochs`.
    Greeting,
    /// Nothing: our own hashes are compared with its epochs.
    Adopting(Adoption),
    /// Nothing: the start of a line is awaited, for a branch of this epoch.
    Branching(EpochId),
    /// Nothing: the driver decides on what was adopted.
    Adopted,
    /// Nothing: our own hash is compared with its tail.
    Checking(Resume),
    /// `proof`, unless our own hash is awaited.
    Comparing(Comparison),
    /// Anything but these.
    Flowing,
    /// `resume` for this epoch.
    Rolling(EpochId),
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// To be asked for.
    Due,
    /// Asked for.
    Asked,
    /// Nothing to read.
    Idle,
}

impl Sender {
    /// A connection that was just made; `agent` is the program and its version.
    pub fn new(limits: SenderLimits, agent: &str, source: Source, now: Instant) -> Self {
        let beat_at = now + limits.beat;
        let mut sender = Self {
            limits,
            agent: agent.to_owned(),
            source,
            state: State::Greeting,
            actions: VecDeque::new(),
            archive: None,
            max_line: 0,
            sealed: false,
            unproved: false,
            epoch: None,
            sent: Offset::ZERO,
            acked: Offset::ZERO,
            in_line: false,
            unmarked: 0,
            last_ack: None,
            over: VecDeque::new(),
            reading: Reading::Idle,
            finish: None,
            answer_by: None,
            ack_by: None,
            finish_by: None,
            beat_at,
            proofs: 0,
            unknown: 0,
            progress: false,
            doubts: Doubts::default(),
            bugs: Bugs::default(),
        };
        sender.greet(now);
        sender
    }

    /// What earlier connections of the stream told, the last [`Why::Unproved`] of them.
    #[must_use]
    pub fn with_doubts(mut self, doubts: Doubts) -> Self {
        self.doubts = doubts;
        self
    }

    /// What to do next; none: wait for a fact, at the latest until [`Sender::poll_timeout`].
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.actions.pop_front();
        if action.is_some() {
            return action;
        }
        if let Some(action) = self.read_on() {
            return Some(action);
        }
        let settled = matches!(self.state, State::Flowing) && self.is_acknowledged();
        if settled
            && self.reading != Reading::Asked
            && let Some(why) = self.finish.take()
        {
            self.end(why);
        }
        self.actions.pop_front()
    }

    /// When [`Sender::handle_timeout`] has to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if matches!(self.state, State::Ended) {
            return None;
        }
        [self.answer_by, self.ack_by, self.finish_by]
            .into_iter()
            .flatten()
            .chain([self.beat_at])
            .min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let over = |by: Option<Instant>| by.is_some_and(|by| now >= by);
        if matches!(self.state, State::Ended) {
        } else if over(self.answer_by) {
            self.end(Why::Late("answer"));
        } else if over(self.ack_by) {
            self.end(Why::Late("ack"));
        } else if over(self.finish_by) {
            // Another epoch is next once everything is acknowledged, which it is not.
            let finish = self.finish.take().filter(|why| *why != Why::Elsewhere);
            self.end(finish.unwrap_or(Why::Drained));
        } else if now >= self.beat_at {
            self.beat_at = now + self.limits.beat;
            self.actions.push_back(Action::Beat);
        }
    }

    /// A control frame came. Anything else that comes is a [`Sender::handle_garbage`].
    pub fn handle_control(&mut self, json: &[u8], now: Instant) {
        if matches!(self.state, State::Ended) {
            return;
        }
        let control = match Control::decode(json) {
            Ok(Decoded::Known(control)) => control,
            Ok(Decoded::Unknown) => {
                self.unknown += 1;
                return;
            }
            Err(_) => return self.end(Why::Violation("a malformed control message")),
        };
        match control {
            Control::Resume(resume) => self.resumed(resume, now),
            Control::Epochs(held) => self.listed(held, now),
            Control::Ack(ack) => self.acknowledged(ack, now),
            Control::Proof(proof) => self.proved(proof, now),
            Control::Refuse(refuse) => self.refused(refuse),
            Control::Drain { after_ms } => {
                let after = std::time::Duration::from_millis(after_ms.min(MAX_DRAIN_MS));
                self.finish_with(Why::Drained, Some(now + after));
            }
            // The certificates are their driver's business.
            Control::Certificate { .. } => {}
            _ => self.end(Why::Violation("a control message in the wrong direction")),
        }
    }

    /// A data frame came, or something that is no frame.
    pub fn handle_garbage(&mut self) {
        self.end(Why::Violation("data from the listener"));
    }

    /// The connection broke, or the peer closed it.
    pub fn handle_closed(&mut self) {
        self.end(Why::Broken);
    }

    /// The program stops: what was sent is marked and waited for, nothing more is read. The driver bounds the wait.
    pub fn handle_stop(&mut self) {
        self.finish_with(Why::Finished, None);
    }

    /// There may be something to read again.
    pub fn handle_more(&mut self) {
        if self.reading == Reading::Idle {
            self.reading = Reading::Due;
        }
    }

    /// Control messages that this version did not know and ignored.
    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    /// The epoch that is sent, and the position behind what was.
    pub fn position(&self) -> Option<(EpochId, Offset)> {
        self.epoch.map(|epoch| (epoch, self.sent))
    }

    /// The epoch that this connection is about now; none as long as that is being asked.
    pub fn epoch(&self) -> Option<EpochId> {
        self.epoch.or(self.source.epoch)
    }

    fn greet(&mut self, now: Instant) {
        let source = &self.source;
        let hello = Hello {
            stream: source.stream.clone(),
            epoch: source.epoch,
            after: source.after,
            from: source.from,
            size: source.size,
            acked: source.acked.clone(),
            agent: self.agent.clone(),
            features: Vec::new(),
            of: source.of,
            base: source.base,
        };
        self.actions
            .push_back(Action::Control(Control::Hello(hello)));
        self.answer_by = Some(now + self.limits.answer);
        self.state = State::Greeting;
    }

    fn is_acknowledged(&self) -> bool {
        self.over.is_empty() && (self.epoch.is_none() || self.acked >= self.sent)
    }

    fn finish_with(&mut self, why: Why, by: Option<Instant>) {
        if matches!(self.state, State::Ended) {
            return;
        }
        if !matches!(self.state, State::Flowing | State::Rolling(_)) {
            return self.end(why);
        }
        if self.finish.is_none() {
            self.finish = Some(why);
        }
        self.finish_by = self.finish_by.or(by);
        if matches!(self.state, State::Flowing) {
            self.mark();
        }
    }

    fn refused(&mut self, refuse: Refuse) {
        self.end(Why::Refused(refuse));
    }

    fn end(&mut self, why: Why) {
        if matches!(self.state, State::Ended) {
            return;
        }
        self.state = State::Ended;
        // Two hosts with one identity must not take turns quickly, so that superseded is no success.
        let superseded = matches!(
            &why,
            Why::Refused(Refuse {
                code: crate::Code::Superseded,
                ..
            })
        );
        let reset = self.progress && !superseded;
        self.actions.push_back(Action::End(Outcome { why, reset }));
    }
}

/// Longest drain that a listener can ask for.
const MAX_DRAIN_MS: u64 = 600_000;

#[cfg(test)]
mod tests;
