//! The forwarder's program around a [`Sender`]: a follower that believes content, a durable state, a connection.

use std::time::{Duration, Instant};

use framing::{Decoder, Frame};

use super::net::{End, Net};
use super::source::{File, Source};
use super::{BATCH, Chance, MARK, PROOF, met, trace};
use crate::bug::Bug;
use crate::control::Beat;
use crate::sender::{self, Action, Adopted, Doubts, Outcome, Sender, SenderLimits, Step, Why};
use crate::{
    Acked, Code, Control, EpochId, Failover, GapCause, Hash, Offset, Pause, Print, RollCause,
};

/// What is stored of an epoch.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) epoch: EpochId,
    ino: u64,
    /// Its first bytes, at most [`PROOF`].
    head: Vec<u8>,
    /// What is confirmed, by the bytes before it.
    tail: Print,
    of: Option<EpochId>,
    base: Offset,
    acked: Vec<Acked>,
    /// Rolled, and confirmed to its end.
    over: bool,
    /// Its file was cut: there is another one in its place.
    cut: bool,
}

/// The program; what is not in `state` a crash forgets.
#[derive(Debug)]
pub(super) struct Forwarder {
    /// Durable.
    pub(super) state: Vec<Known>,
    /// The end of each epoch that was rolled on this connection.
    rolled: Vec<(EpochId, Offset)>,
    /// What was read of each epoch, by the bytes before it.
    read: Vec<(EpochId, Print)>,
    /// The first look after the start: what is not known may have been delivered.
    fresh: bool,
    unnamed: Option<Unnamed>,
    /// Epochs that changed their file, once.
    stolen: Vec<EpochId>,
    failover: Failover,
    pub(super) session: Option<Session>,
    pub(super) retry_at: Instant,
    wait: Duration,
    batch: Batch,
    doubts: Doubts,
    pub(super) bug: Option<Bug>,
    pub(super) lag_caps: bool,
}

/// A file whose name is being asked for.
#[derive(Debug, Clone)]
struct Unnamed {
    ino: u64,
    /// What it held then: a program has it open, and so can't take another file with this inode for it.
    bytes: Vec<u8>,
    /// The epoch that it turned out not to be. It keeps this name until it has another.
    not: Option<EpochId>,
    /// How many masters were asked.
    asked: usize,
    /// The longest of the epochs that may be its, but need not.
    weak: Option<(EpochId, Offset)>,
    /// What it is known to have in common with the epoch that it is not.
    common: Offset,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) sender: Sender,
    pub(super) link: u64,
    buf: Vec<u8>,
}

#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    piece: bool,
}

/// What the rest of the world lends.
pub(super) struct World<'a> {
    pub(super) source: &'a mut Source,
    pub(super) net: &'a mut Net,
    pub(super) chance: &'a mut Chance,
    pub(super) now: Instant,
    /// Which masters can be reached.
    pub(super) up: &'a [bool],
}

impl Forwarder {
    pub(super) fn new(masters: usize, now: Instant, bug: Option<Bug>) -> Self {
        Self {
            state: Vec::new(),
            rolled: Vec::new(),
            read: Vec::new(),
            fresh: true,
            unnamed: None,
            stolen: Vec::new(),
            failover: Failover::new(masters),
            session: None,
            retry_at: now,
            wait: Duration::from_secs(1),
            batch: Batch::default(),
            doubts: Doubts::default(),
            bug,
            lag_caps: false,
        }
    }

    /// A new process on what is stored.
    pub(super) fn restart(&mut self, masters: usize, now: Instant) {
        let mut state = std::mem::take(&mut self.state);
        if masters > 1 {
            // If the state is an older copy, another master may hold more of such an epoch than its head has.
            state.retain(|known| known.head.len() >= PROOF);
        }
        let lag_caps = self.lag_caps;
        *self = Self {
            state,
            lag_caps,
            ..Self::new(masters, now, self.bug)
        };
    }

    /// One turn: reads what came, then does what is to be done.
    pub(super) fn turn(&mut self, world: &mut World<'_>) -> Result<(), String> {
        if self.session.is_none() {
            self.connect(world);
        }
        let Some(mut session) = self.session.take() else {
            return Ok(());
        };
        session.listen(world);
        session.sender.handle_timeout(world.now);
        if self.news(world.source) {
            session.sender.handle_more();
        }
        let mut end = None;
        for _ in 0..200 {
            if !world.net.has_room(session.link, End::Forwarder) {
                break;
            }
            let Some(action) = session.sender.poll_action() else {
                break;
            };
            trace(|| format!("  forwarder {}: {action:?}", session.link));
            if let Action::End(outcome) = action {
                end = Some(outcome);
                break;
            }
            self.act(&mut session, action, world)?;
        }
        match end {
            Some(outcome) => self.ended(session, outcome, world)?,
            None => self.session = Some(session),
        }
        Ok(())
    }

    fn act(
        &mut self,
        session: &mut Session,
        action: Action,
        world: &mut World<'_>,
    ) -> Result<(), String> {
        let now = world.now;
        let link = session.link;
        match action {
            Action::Control(control) => world.control(link, &control),
            Action::Beat => {
                let beat = Beat {
                    backlog_bytes: 0,
                    oldest_ms: 0,
                    clock_ms: 0,
                };
                world.control(link, &Control::Beat(beat));
            }
            Action::Data { .. } => world.data(link, &self.batch),
            Action::Read {
                epoch,
                from,
                max,
                max_line,
            } => {
                let step = self.step(epoch, from.get() as usize, (max, max_line), world);
                session
                    .sender
                    .handle_step(step, now)
                    .map_err(|e| format!("{e}: {step:?}"))?;
            }
            Action::Hash { epoch, from, to } => {
                let file = match epoch {
                    Some(epoch) => self.file(epoch, world.source),
                    None => self.asked_file(world.source),
                };
                let bytes = file
                    .filter(|file| !file.broken)
                    .and_then(|f| f.bytes.get(from.get() as usize..to.get() as usize));
                session.sender.handle_hash(bytes.map(Hash::of), now);
            }
            Action::LineStart {
                epoch,
                at: position,
            } => {
                let file = match epoch {
                    Some(epoch) => self.file(epoch, world.source),
                    None => self.asked_file(world.source),
                };
                let start = file
                    .filter(|file| !file.broken)
                    .and_then(|f| f.bytes.get(..position.get() as usize))
                    .map(|bytes| {
                        at(bytes
                            .iter()
                            .rposition(|b| *b == b'\n')
                            .map_or(0, |lf| lf + 1))
                    });
                session.sender.handle_line_start(start);
            }
            Action::Confirm {
                archive,
                epoch,
                offset,
                ..
            } => self.confirm(archive, epoch, offset, world.source),
            Action::Adopt(found) => {
                self.adopt(found, world);
                // The next hello is a new connection's.
                session.sender.handle_stop();
            }
            Action::End(_) => {}
        }
        Ok(())
    }

    fn ended(
        &mut self,
        session: Session,
        outcome: Outcome,
        world: &mut World<'_>,
    ) -> Result<(), String> {
        world.net.close(session.link, End::Forwarder);
        match &outcome.why {
            Why::Violation(what) => return Err(format!("the listener broke the protocol: {what}")),
            Why::Drained => met("drained"),
            Why::Elsewhere => met("an earlier epoch grew"),
            Why::Unreadable => met("own file unreadable"),
            Why::Unproved(doubts) => {
                met("another master has to tell");
                self.doubts = doubts.clone();
            }
            Why::Late(_) => met("listener too late"),
            Why::Broken => met("connection broken"),
            Why::Refused(refuse) => met(match refuse.code {
                Code::Superseded => "superseded",
                Code::Draining => "refused by one that drains",
                _ => "refused",
            }),
            Why::Branch { of: Some(_), .. } => met("branch"),
            Why::Branch { of: None, .. } => met("branch of nothing"),
            Why::Finished => {}
        }
        if let Why::Branch { of, base } = outcome.why
            && let Some(epoch) = session.sender_epoch(self)
        {
            self.branch(epoch, of, base, (world.source, world.chance));
        }
        let pause = match outcome.why {
            Why::Finished => Pause::None,
            _ => self.failover.ended(&outcome),
        };
        self.pause(pause, world.now);
        Ok(())
    }

    fn pause(&mut self, pause: Pause, now: Instant) {
        if pause == Pause::Reset {
            self.wait = Duration::from_secs(1);
        }
        if pause != Pause::None {
            self.retry_at = now + self.wait;
            self.wait = (self.wait * 2).min(Duration::from_secs(30));
        }
    }

    fn connect(&mut self, world: &mut World<'_>) {
        if world.now < self.retry_at {
            return;
        }
        self.look(world);
        let Some(source) = self.hello(world.source) else {
            return;
        };
        let asked = self.unnamed.as_ref().map(|it| it.asked);
        let master = asked.unwrap_or(self.failover.master());
        if !world.up[master] {
            met("master not reached");
            let pause = if asked.is_some() {
                Pause::Wait
            } else {
                self.failover.failed()
            };
            return self.pause(pause, world.now);
        }
        let limits = SenderLimits {
            batch: BATCH,
            mark: MARK,
            head: PROOF as u32,
            ..SenderLimits::default()
        };
        let sender = Sender::new(limits, "sim", source, world.now);
        let mut sender = sender.with_doubts(self.doubts.clone());
        sender.bugs.bug = self.bug;
        // What was told on another connection may not have come.
        self.rolled.clear();
        let link = world.net.connect(master);
        self.session = Some(Session {
            sender,
            link,
            buf: Vec::new(),
        });
    }

    /// What the next connection begins with.
    fn hello(&self, source: &Source) -> Option<sender::Source> {
        let mut hello = sender::Source {
            stream: "decky".to_owned(),
            epoch: None,
            after: None,
            from: Offset::ZERO,
            size: Offset::ZERO,
            acked: Vec::new(),
            of: None,
            base: None,
            common: Offset::ZERO,
        };
        if let Some(unnamed) = &self.unnamed {
            hello.size = at(self.asked_file(source)?.bytes.len());
            hello.common = unnamed.common;
            return Some(hello);
        }
        let due = self.due(source);
        let due = due.unwrap_or(self.state.len().checked_sub(1)?);
        let known = &self.state[due];
        (hello.from, hello.size) = self.extent(known.epoch, source);
        hello.epoch = Some(known.epoch);
        hello.after = due.checked_sub(1).map(|before| self.state[before].epoch);
        hello.acked.clone_from(&known.acked);
        hello.of = known.of;
        hello.base = Some(known.base);
        Some(hello)
    }
}

mod follow;
mod io;

fn at(n: usize) -> Offset {
    Offset::new(n as u64).expect("a run is short")
}

fn print(file: &File, end: Offset) -> Print {
    let end_at = (end.get() as usize).min(file.bytes.len());
    Print::of(
        at(end_at),
        &file.bytes[end_at.saturating_sub(PROOF)..end_at],
    )
}
