//! The listener's end of one connection.

use std::collections::VecDeque;
use std::time::Instant;

use crate::bug::{Bug, Bugs};
use crate::control::{Ack, Code, Decoded, Held, Hello, MAX_EPOCHS, Proof, Refuse, Resume, Roll};
use crate::{ArchiveId, Control, EpochId, Hash, Offset, is_stream_name};

mod action;
mod greeting;
mod moving;
mod patience;
mod window;

pub use action::{Action, Append, Closing, Opening, ReceiverLimits, Standing};

use patience::Patience;

/// The listener's end of one connection whose peer is authenticated, a *session*: facts in by `handle_*`, actions out
/// by [`Receiver::poll_action`], which the driver drains before the next fact.
///
/// It counts positions and sees no line: one [`Receiver::handle_data`] a batch moves it. It acknowledges only what
/// [`Receiver::handle_committed`] told it, and is told that once a window, after the index stands.
#[derive(Debug)]
pub struct Receiver {
    limits: ReceiverLimits,
    archive: ArchiveId,
    state: State,
    actions: VecDeque<Action>,
    /// What the first hello named.
    stream: String,
    /// The epoch that is written, and everything of it that was taken.
    epoch: Option<EpochId>,
    taken: Offset,
    /// What was last committed, and the ledger's head then.
    committed: Option<Ack>,
    /// The next frame is a piece of a line.
    piece: bool,
    /// `taken` is inside a line.
    in_line: bool,
    sealed: bool,
    unmarked: u64,
    patience: Patience,
    /// When to repeat the last ack, while nothing can be committed.
    repeat_at: Option<Instant>,
    fenced: bool,
    questions: u32,
    unknown: u64,
    pub(crate) bugs: Bugs,
}

#[derive(Debug)]
enum State {
    /// The first frame.
    Greeting,
    /// The stream is being taken over.
    Claiming(Box<Hello>),
    /// The epochs of the stream are being looked up.
    Listing,
    /// They were told; another hello follows.
    Listed,
    /// The epoch is being opened.
    Opening {
        first: Option<Box<Hello>>,
        epoch: EpochId,
    },
    Open,
    Closed,
}

impl Receiver {
    /// A connection that was just made, to this archive.
    pub fn new(limits: ReceiverLimits, archive: ArchiveId, now: Instant) -> Self {
        let patience = Patience::new("hello", limits.hello, now);
        Self {
            limits,
            archive,
            state: State::Greeting,
            actions: VecDeque::new(),
            stream: String::new(),
            epoch: None,
            taken: Offset::ZERO,
            committed: None,
            piece: false,
            in_line: false,
            sealed: false,
            unmarked: 0,
            patience,
            repeat_at: None,
            fenced: false,
            questions: 0,
            unknown: 0,
            bugs: Bugs::default(),
        }
    }

    /// What to do next; none: wait for a fact, at the latest until [`Receiver::poll_timeout`].
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Receiver::handle_timeout`] has to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.is_closed() {
            return None;
        }
        let patience = if self.waits_for_us() {
            None
        } else {
            self.patience.end()
        };
        [patience, self.repeat_at].into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.is_closed() {
            return;
        }
        if let Some(what) = self.patience.late(now)
            && !self.waits_for_us()
        {
            return self.close(Closing::Late(what));
        }
        if self.repeat_at.is_some_and(|at| now >= at) {
            self.repeat_at = Some(now + self.limits.repeat);
            self.repeat();
        }
    }

    /// Bytes came, and were handed over as far as they were whole frames. `partial`: the beginning of another frame
    /// is left. One call a read.
    pub fn handle_progress(&mut self, partial: bool, now: Instant) {
        match self.state {
            State::Greeting => {}
            _ if partial => self.patience.arm("frame", self.limits.frame, now),
            _ => self.patience.arm("frames", self.limits.idle, now),
        }
    }

    /// The driver stops reading (`false`), or goes on: the time between does not count.
    pub fn handle_reading(&mut self, reading: bool, now: Instant) {
        if reading {
            self.patience.go_on(now);
        } else {
            self.patience.pause(now);
        }
    }

    /// So many data frames came, with so many octets in their messages. The bytes to append, unless the connection is
    /// over. With [`Append::piece`] the first of them is not followed by an LF.
    pub fn handle_data(&mut self, frames: u64, octets: u64) -> Option<Append> {
        if self.is_closed() || frames == 0 {
            return None;
        }
        let (State::Open, Some(epoch)) = (&self.state, self.epoch) else {
            self.close(Closing::Violation("data before a resume"));
            return None;
        };
        let piece = std::mem::take(&mut self.piece);
        let moved = octets.saturating_add(frames - u64::from(piece));
        let from = self.taken;
        let to = self.move_on(moved)?;
        self.in_line = piece && frames == 1;
        self.unmarked = self.unmarked.saturating_add(moved);
        let slack = u64::from(self.limits.max_frame) + 1;
        // One mark and what follows it may come in one read.
        if self.unmarked > self.limits.unmarked.saturating_add(slack) {
            self.close(Closing::Violation("no mark for too long"));
            return None;
        }
        if self.bugs.has(Bug::AckBeforeFsync) {
            let ledger = self.committed.map_or(Hash::of(b""), |last| last.ledger);
            let ack = Ack {
                epoch,
                offset: to,
                ledger,
            };
            self.actions.push_back(Action::Control(Control::Ack(ack)));
        }
        Some(Append {
            epoch,
            from,
            to,
            piece,
        })
    }

    /// A control frame came.
    pub fn handle_control(&mut self, json: &[u8], now: Instant) {
        if self.is_closed() {
            return;
        }
        if self.piece {
            return self.close(Closing::Violation("a control message instead of a piece"));
        }
        let control = match Control::decode(json) {
            Ok(Decoded::Known(control)) => control,
            Ok(Decoded::Unknown) if matches!(self.state, State::Greeting) => {
                return self.close(Closing::Violation("no hello"));
            }
            Ok(Decoded::Unknown) => {
                self.unknown += 1;
                return;
            }
            Err(_) => return self.close(Closing::Violation("a malformed control message")),
        };
        match (&self.state, control) {
            (State::Greeting, Control::Hello(hello)) => self.greeted(hello, now),
            (State::Greeting, _) => self.close(Closing::Violation("no hello")),
            (State::Listed, Control::Hello(hello)) if hello.stream != self.stream => {
                self.close(Closing::Violation("a hello for another stream"));
            }
            (State::Listed, Control::Hello(hello)) => {
                if self.is_asked() {
                    self.begin(Box::new(hello));
                }
            }
            (State::Listed, Control::Prove { epoch, end, len }) => self.asked(epoch, end, len),
            (_, Control::Beat(beat)) => self.actions.push_back(Action::Beat(beat)),
            (_, Control::Renew { csr }) => self.actions.push_back(Action::Renew { csr }),
            (State::Open, control) => self.moved(control),
            _ => self.close(Closing::Violation("a control message out of order")),
        }
    }

    /// What can't be a frame came.
    pub fn handle_garbage(&mut self) {
        self.close(Closing::Violation("broken framing"));
    }

    /// No. Also for what is found out later: a revoked certificate, a stream over its limit.
    pub fn handle_refused(&mut self, code: Code, detail: &str) {
        if self.is_closed() {
            return;
        }
        let refuse = Refuse {
            code,
            detail: detail.chars().take(MAX_DETAIL).collect(),
        };
        self.actions
            .push_back(Action::Control(Control::Refuse(refuse)));
        self.close(Closing::Refused(code));
    }

    /// The listener goes away in `after_ms`: the peer finishes and closes.
    pub fn handle_drain(&mut self, after_ms: u64) {
        if !self.is_closed() && !matches!(self.state, State::Greeting) {
            self.actions
                .push_back(Action::Control(Control::Drain { after_ms }));
        }
    }

    /// Control messages that this version did not know and ignored.
    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    /// The epoch that is written, and the position behind what was taken.
    pub fn position(&self) -> Option<(EpochId, Offset)> {
        self.epoch.map(|epoch| (epoch, self.taken))
    }

    fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether the next thing to happen is the driver's.
    fn waits_for_us(&self) -> bool {
        matches!(
            self.state,
            State::Claiming(_) | State::Listing | State::Opening { .. }
        ) || self.fenced
    }

    fn close(&mut self, why: Closing) {
        if !self.is_closed() {
            self.state = State::Closed;
            self.actions.push_back(Action::Close(why));
        }
    }
}

/// Most characters of a refusal's detail.
const MAX_DETAIL: usize = 200;

#[cfg(test)]
mod tests;
