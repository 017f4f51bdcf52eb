//! The forwarder's program around a [`Sender`]: a follower that believes content, a durable state, a connection.

use std::time::{Duration, Instant};

use framing::{Decoder, Frame};

use super::net::{End, Net};
use super::source::{File, Source};
use super::{BATCH, Chance, MARK, PROOF, trace};
use crate::bug::Bug;
use crate::control::Beat;
use crate::sender::{self, Action, Adopted, Outcome, Sender, SenderLimits, Step, Why};
use crate::{Acked, Control, EpochId, Failover, GapCause, Hash, Offset, Pause, Print, RollCause};

/// What is stored of an epoch.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) epoch: EpochId,
    ino: u64,
    head: Print,
    /// What is confirmed, by the bytes before it.
    tail: Print,
    of: Option<EpochId>,
    base: Offset,
    acked: Vec<Acked>,
    /// Rolled, and confirmed to its end.
    over: bool,
}

/// The program; what is not in `state` a crash forgets.
#[derive(Debug)]
pub(super) struct Forwarder {
    /// Durable.
    pub(super) state: Vec<Known>,
    /// The end of each epoch that was rolled.
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
    pub(super) bug: Option<Bug>,
    pub(super) lag_caps: bool,
}

/// A file whose name is being asked for.
#[derive(Debug, Clone, Copy)]
struct Unnamed {
    ino: u64,
    /// How many masters were asked.
    asked: usize,
    /// The longest of the epochs that may be its, but need not.
    weak: Option<(EpochId, Offset)>,
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
            bug,
            lag_caps: false,
        }
    }

    /// A new process on what is stored.
    pub(super) fn restart(&mut self, masters: usize, now: Instant) {
        let state = std::mem::take(&mut self.state);
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
                    None => self.unnamed.and_then(|it| world.source.by_ino(it.ino)),
                };
                let bytes = file.and_then(|f| f.bytes.get(from.get() as usize..to.get() as usize));
                session.sender.handle_hash(bytes.map(Hash::of), now);
            }
            Action::LineStart {
                epoch,
                at: position,
            } => {
                let file = match epoch {
                    Some(epoch) => self.file(epoch, world.source),
                    None => self.unnamed.and_then(|it| world.source.by_ino(it.ino)),
                };
                let start = file
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
        if let Why::Violation(what) = outcome.why {
            return Err(format!("the listener broke the protocol: {what}"));
        }
        if let Why::Branch { of, base } = outcome.why
            && let Some(epoch) = session.sender_epoch(self)
        {
            self.branch(epoch, of, base, world);
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
        let asked = self.unnamed.map(|it| it.asked);
        let master = asked.unwrap_or(self.failover.master());
        if !world.up[master] {
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
        let mut sender = Sender::new(limits, "sim", source, world.now);
        sender.bugs.bug = self.bug;
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
        };
        if let Some(Unnamed { ino, .. }) = self.unnamed {
            hello.size = at(source.by_ino(ino)?.bytes.len());
            return Some(hello);
        }
        let due = self.due(source).unwrap_or(self.state.len().checked_sub(1)?);
        let known = &self.state[due];
        (hello.from, hello.size) = self.extent(known.epoch, source);
        hello.epoch = Some(known.epoch);
        hello.after = due.checked_sub(1).map(|before| self.state[before].epoch);
        hello.acked.clone_from(&known.acked);
        hello.of = known.of;
        hello.base = Some(known.base);
        Some(hello)
    }

    fn extent(&self, epoch: EpochId, source: &Source) -> (Offset, Offset) {
        match self.file(epoch, source) {
            Some(file) => (Offset::ZERO, at(file.bytes.len())),
            None => {
                let end = self
                    .known(epoch)
                    .map_or(Offset::ZERO, |known| known.tail.end);
                (end, end)
            }
        }
    }

    /// The first epoch that has something to send or to say.
    fn due(&self, source: &Source) -> Option<usize> {
        self.state.iter().position(|known| {
            let grown = self
                .file(known.epoch, source)
                .is_some_and(|file| at(file.bytes.len()) > known.tail.end);
            !known.over || grown
        })
    }

    fn known(&self, epoch: EpochId) -> Option<&Known> {
        self.state.iter().find(|known| known.epoch == epoch)
    }

    /// The file of an epoch, if its content says so.
    fn file<'s>(&self, epoch: EpochId, source: &'s Source) -> Option<&'s File> {
        let known = self.known(epoch)?;
        source.by_ino(known.ino).filter(|file| self.is(known, file))
    }

    fn is(&self, known: &Known, file: &File) -> bool {
        let read = self.read.iter().find(|(epoch, _)| *epoch == known.epoch);
        let holds = |print: &Print| {
            let bytes = file
                .bytes
                .get(print.start().get() as usize..print.end.get() as usize);
            bytes.is_some_and(|bytes| print.len == 0 || Hash::of(bytes) == print.blake3)
        };
        holds(&known.head) && holds(&known.tail) && read.is_none_or(|(_, print)| holds(print))
    }

    fn news(&mut self, source: &Source) -> bool {
        let Some((epoch, sent)) = self.session.as_ref().and_then(|s| s.sender.position()) else {
            return true;
        };
        self.file(epoch, source)
            .is_none_or(|file| at(file.bytes.len()) > sent)
            || source.files.len() > 1
    }

    /// Which file is which epoch; those that are none get a name, after asking if they may have had one.
    fn look(&mut self, world: &mut World<'_>) {
        let mut free: Vec<usize> = (0..self.state.len()).collect();
        let mut strangers = Vec::new();
        for file in world.source.files.iter().rev() {
            let is = |at: &usize| self.is(&self.state[*at], file);
            let same = |at: &usize| is(at) && self.state[*at].ino == file.ino;
            let found = free.iter().position(same);
            let found = found.or_else(|| free.iter().position(is));
            match found {
                Some(found) => {
                    // Its head is stored as long as it is by now: after a copy and a cut it is all that tells.
                    let known = &mut self.state[free.remove(found)];
                    known.ino = file.ino;
                    let head = &file.bytes[..file.bytes.len().min(PROOF)];
                    known.head = Print::of(at(head.len()), head);
                }
                None if !file.bytes.is_empty() => strangers.push(file.ino),
                None => {}
            }
        }
        // An epoch without a file has none, also when another one has its inode now.
        for at in free {
            self.state[at].ino = 0;
        }
        self.unnamed = self.unnamed.filter(|it| strangers.contains(&it.ino));
        if self.fresh {
            if let Some(ino) = strangers.first() {
                self.unnamed = self.unnamed.or(Some(Unnamed {
                    ino: *ino,
                    asked: 0,
                    weak: None,
                }));
                return;
            }
            self.fresh = false;
        }
        for ino in strangers {
            let epoch = EpochId::from_bytes(world.chance.id());
            self.name(epoch, ino, (None, Offset::ZERO), world.source);
        }
        let last = self.state.len().saturating_sub(1);
        let keep: Vec<bool> = (0..self.state.len())
            .map(|at| at == last || !self.state[at].over || self.state[at].ino != 0)
            .collect();
        let mut keep = keep.into_iter();
        self.state.retain(|_| keep.next().unwrap_or(true));
    }

    fn name(
        &mut self,
        epoch: EpochId,
        ino: u64,
        (of, base): (Option<EpochId>, Offset),
        source: &Source,
    ) {
        let Some(file) = source.by_ino(ino) else {
            return;
        };
        let head = &file.bytes[..file.bytes.len().min(PROOF)];
        self.state.push(Known {
            epoch,
            ino,
            head: Print::of(at(head.len()), head),
            tail: print(file, base),
            of,
            base,
            acked: Vec::new(),
            over: false,
        });
        // Files are older than those that were there when they were rotated.
        let age = |ino| source.files.iter().position(|file| file.ino == ino);
        let newer = |known: &Known| age(known.ino).is_some_and(|at| Some(at) < age(ino));
        if let Some(at) = self.state.iter().position(newer)
            && let Some(known) = self.state.pop()
        {
            self.state.insert(at, known);
        }
    }

    fn adopt(&mut self, found: Adopted, world: &mut World<'_>) {
        let Some(mut unnamed) = self.unnamed.take() else {
            return;
        };
        let ino = unnamed.ino;
        let epoch = match found {
            Adopted::Epoch(epoch) => Some(epoch),
            Adopted::Branch { of, base } => {
                if unnamed.weak.is_none_or(|(_, known)| base > known) {
                    unnamed.weak = Some((of, base));
                }
                None
            }
            Adopted::Unknown => None,
        };
        let proved =
            epoch.and_then(|epoch| self.state.iter().position(|known| known.epoch == epoch));
        if let Some(known) = proved.map(|at| &mut self.state[at])
            && (known.tail.end == known.base || known.ino == 0)
            && !self.stolen.contains(&known.epoch)
            && let Some(file) = world.source.by_ino(ino)
        {
            // We knew the epoch by a short head only, and another file looked the same; or this is what is left of it.
            self.stolen.push(known.epoch);
            let head = &file.bytes[..file.bytes.len().min(PROOF)];
            known.head = Print::of(at(head.len()), head);
            known.tail = Print::of(known.base, b"");
            (known.ino, known.over) = (ino, false);
            return;
        }
        let epoch = epoch.filter(|epoch| self.known(*epoch).is_none());
        unnamed.asked += 1;
        match epoch {
            Some(epoch) => self.name(epoch, ino, (None, Offset::ZERO), world.source),
            None if unnamed.asked < world.up.len() => self.unnamed = Some(unnamed),
            None => {
                let epoch = EpochId::from_bytes(world.chance.id());
                let (of, base) = unnamed
                    .weak
                    .map_or((None, Offset::ZERO), |(of, base)| (Some(of), base));
                self.name(epoch, ino, (of, base), world.source);
            }
        }
    }

    fn branch(&mut self, epoch: EpochId, of: Option<EpochId>, base: Offset, world: &mut World<'_>) {
        let Some(at) = self.state.iter().position(|known| known.epoch == epoch) else {
            return;
        };
        let old = self.state.remove(at);
        let new = EpochId::from_bytes(world.chance.id());
        self.name(new, old.ino, (of, base), world.source);
        // It takes the place of the old one in the order.
        if let Some(known) = self.state.pop_if(|known| known.epoch == new) {
            self.state.insert(at.min(self.state.len()), known);
        }
    }

    fn confirm(
        &mut self,
        archive: crate::ArchiveId,
        epoch: EpochId,
        offset: Offset,
        source: &Source,
    ) {
        let tail = match self.file(epoch, source) {
            Some(file) if at(file.bytes.len()) >= offset => print(file, offset),
            _ => Print::of(offset, b""),
        };
        let end = self
            .rolled
            .iter()
            .rfind(|(rolled, _)| *rolled == epoch)
            .map(|(_, end)| *end);
        let Some(known) = self.state.iter_mut().find(|known| known.epoch == epoch) else {
            return;
        };
        if offset > known.tail.end {
            known.tail = tail;
        }
        known.over |= end.is_some_and(|end| offset >= end);
        match known
            .acked
            .iter_mut()
            .find(|acked| acked.archive == archive)
        {
            Some(acked) => acked.offset = acked.offset.max(offset),
            None => known.acked.push(Acked { archive, offset }),
        }
    }
}

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
