//! A listener's program around its [`Receiver`]s: connections, the archive's window, and who may write.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use framing::{Decoder, Frame};

use super::net::{End, Net};
use super::store::{Stage, Store};
use super::{Chance, MARK, MAX_FRAME, WINDOW, met, trace};
use crate::bug::Bug;
use crate::receiver::{Action, Append, Closing, Receiver, ReceiverLimits};
use crate::{
    Admission, AdmissionLimits, ArchiveId, Claimed, ConnectionId, Control, EpochId, GapCause,
    RollCause,
};

const WORKER: &str = "web-1";
const DRAIN: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Listener {
    pub(super) archive: ArchiveId,
    siblings: Vec<ArchiveId>,
    pub(super) store: Store,
    admission: Admission,
    pub(super) connections: BTreeMap<u64, Connection>,
    pub(super) up: bool,
    /// It goes away, at this time at the latest.
    drain: Option<Instant>,
    /// What was acknowledged, ever. For the checks.
    pub(super) promised: BTreeMap<EpochId, u64>,
    bug: Option<Bug>,
}

/// Few takeovers are a conflict, and few connections too many, so that some are.
fn limits() -> AdmissionLimits {
    AdmissionLimits {
        connections: 3,
        takeovers: 2,
        ..AdmissionLimits::default()
    }
}

#[derive(Debug)]
pub(super) struct Connection {
    receiver: Receiver,
    buf: Vec<u8>,
    /// When something was heard of it, or nothing was read.
    heard: Instant,
    /// It is over, and only its window is waited for.
    over: bool,
}

impl Listener {
    pub(super) fn new(archive: ArchiveId, siblings: Vec<ArchiveId>, bug: Option<Bug>) -> Self {
        Self {
            archive,
            siblings,
            store: Store::new(bug),
            admission: Admission::new(limits()),
            connections: BTreeMap::new(),
            up: true,
            drain: None,
            promised: BTreeMap::new(),
            bug,
        }
    }

    pub(super) fn crash(&mut self, power: bool, chance: &mut Chance, net: &mut Net) {
        for link in self.connections.keys() {
            net.cut(*link, chance);
        }
        self.connections.clear();
        (self.up, self.drain) = (false, None);
        if power {
            met("master lost power");
            self.store.lose_power(chance);
        } else {
            met("listener killed");
        }
    }

    /// Goes away in order: it says so, takes nobody new, and is gone a little later.
    pub(super) fn drain(&mut self, now: Instant) {
        met("drain");
        self.drain = Some(now + DRAIN);
        for connection in self.connections.values_mut().filter(|c| !c.over) {
            connection.receiver.handle_drain(DRAIN.as_millis() as u64);
        }
    }

    /// Whether the time for a drain is over.
    pub(super) fn is_drained(&self, now: Instant) -> bool {
        self.drain.is_some_and(|end| now >= end)
    }

    pub(super) fn start(&mut self) {
        self.store.recover();
        self.admission = Admission::new(limits());
        self.admission.bugs.bug = self.bug;
        self.up = true;
    }

    pub(super) fn accept(&mut self, link: u64, now: Instant) {
        let limits = ReceiverLimits {
            max_frame: MAX_FRAME,
            unmarked: MARK,
            siblings: self.siblings.clone(),
            ..ReceiverLimits::default()
        };
        let mut receiver = Receiver::new(limits, self.archive, now);
        receiver.bugs.bug = self.bug;
        if self.drain.is_some() {
            receiver.handle_refused(crate::Code::Draining, "later");
        }
        let silent = |id: ConnectionId| match self.connections.get(&id.0) {
            Some(known) => now.saturating_duration_since(known.heard),
            None => Duration::ZERO,
        };
        match self
            .admission
            .connect(WORKER, ConnectionId(link), false, silent)
        {
            Ok(None) => {}
            Ok(Some(displaced)) => {
                met("silent connection displaced");
                if let Some(older) = self.connections.get_mut(&displaced.0) {
                    older.receiver.handle_superseded();
                }
            }
            Err(code) => {
                met("too many connections");
                receiver.handle_refused(code, "connections");
            }
        }
        self.connections.insert(
            link,
            Connection {
                receiver,
                buf: Vec::new(),
                heard: now,
                over: false,
            },
        );
    }

    /// One turn of one connection.
    pub(super) fn turn(
        &mut self,
        link: u64,
        now: Instant,
        chance: &mut Chance,
        net: &mut Net,
    ) -> Result<(), String> {
        let Some(mut connection) = self.connections.remove(&link) else {
            return Ok(());
        };
        if connection.over {
            // Nothing is written any more; the stream is free when the window is.
            self.connections.insert(link, connection);
            if self.store.uncommitted() == 0 {
                self.release(link, now, chance, net)?;
            }
            return Ok(());
        }
        let receiver = &mut connection.receiver;
        receiver.handle_blocked(self.store.full, now);
        receiver.handle_reading(!self.store.full, now);
        receiver.handle_timeout(now);
        let mut ended = false;
        if self.store.full {
            connection.heard = now;
        } else {
            let before = connection.buf.len();
            ended = net.read(
                link,
                End::Listener,
                1 + chance.below(300),
                &mut connection.buf,
            );
            if connection.buf.len() > before {
                connection.heard = now;
            }
        }
        self.take(&mut connection, link, now, chance, net)?;
        if ended {
            net.close(link, End::Listener);
            connection.over = true;
        }
        self.connections.insert(link, connection);
        Ok(())
    }

    /// Hands the whole frames that are there to the receiver, data in batches.
    fn take(
        &mut self,
        connection: &mut Connection,
        link: u64,
        now: Instant,
        chance: &mut Chance,
        net: &mut Net,
    ) -> Result<(), String> {
        let buf = std::mem::take(&mut connection.buf);
        let decoder = Decoder::new(64 << 10).with_controls();
        let mut done = 0;
        let mut batch = Batch::default();
        self.obey(connection, link, now, chance, net)?;
        while !connection.over
            && let Ok(Some((frame, used))) = decoder.decode(&buf[done..])
        {
            done += used;
            match frame {
                Frame::Message(message) => batch.push(message),
                Frame::Control(json) => {
                    self.append(connection, &mut batch, chance, net);
                    connection.receiver.handle_control(json, now);
                }
            }
            if batch.frames > 3 {
                self.append(connection, &mut batch, chance, net);
            }
            self.obey(connection, link, now, chance, net)?;
        }
        self.append(connection, &mut batch, chance, net);
        self.obey(connection, link, now, chance, net)?;
        connection.buf = buf[done..].to_vec();
        if done > 0 {
            connection
                .receiver
                .handle_progress(!connection.buf.is_empty(), now);
        }
        Ok(())
    }

    fn append(
        &mut self,
        connection: &mut Connection,
        batch: &mut Batch,
        chance: &mut Chance,
        net: &mut Net,
    ) {
        let Batch {
            bytes,
            ends,
            frames,
        } = std::mem::take(batch);
        let octets = bytes.len() as u64;
        // Before the receiver counts them: an ack is about what stands.
        if self.store.uncommitted() + bytes.len() + ends.len() > WINDOW {
            self.commit_with(Some(connection), chance, net);
        }
        let Some(Append { epoch, piece, .. }) = connection.receiver.handle_data(frames, octets)
        else {
            return;
        };
        let mut lines = Vec::with_capacity(bytes.len() + ends.len());
        let mut start = 0;
        for (at, end) in ends.iter().enumerate() {
            lines.extend_from_slice(&bytes[start..*end]);
            if at > 0 || !piece {
                lines.push(b'\n');
            }
            start = *end;
        }
        self.store.append(epoch, &lines);
    }

    /// Does what a receiver wants.
    fn obey(
        &mut self,
        connection: &mut Connection,
        link: u64,
        now: Instant,
        chance: &mut Chance,
        net: &mut Net,
    ) -> Result<(), String> {
        while let Some(action) = connection.receiver.poll_action() {
            trace(|| format!("  listener {link}: {action:?}"));
            let receiver = &mut connection.receiver;
            match action {
                Action::Control(control) => {
                    if let Control::Ack(ack) = &control {
                        let promised = self.promised.entry(ack.epoch).or_insert(0);
                        *promised = ack.offset.get().max(*promised);
                    }
                    let mut wire = Vec::new();
                    framing::encode_control(&control.encode().expect("short"), &mut wire);
                    net.write(link, End::Listener, &wire);
                }
                Action::Claim { stream } => {
                    self.claim(receiver, &stream, link, now, chance, net)?
                }
                Action::Roll { epoch, cause, .. } => {
                    self.store.roll(epoch, cause == RollCause::Gone);
                }
                Action::List => receiver.handle_epochs(self.store.held()),
                Action::Open(opening) => receiver.handle_standing(self.store.open(&opening)),
                Action::Blank { epoch, count, .. } => {
                    self.store.append(epoch, &vec![b'\n'; count as usize]);
                }
                Action::Gap {
                    epoch,
                    from,
                    to,
                    cause,
                    ..
                } => {
                    if cause == GapCause::Elsewhere {
                        met("gap that a sibling holds");
                    }
                    self.store.gap(epoch, from.get(), to.get());
                }
                Action::Prove { epoch, end, len } => {
                    receiver.handle_proof(self.store.proof(epoch, end.get(), len.into()));
                }
                Action::Commit => {
                    if !self.store.full {
                        self.commit_with(Some(connection), chance, net);
                    }
                }
                Action::Close(why) => {
                    net.close(link, End::Listener);
                    connection.over = true;
                    if let Closing::Violation(what) = why {
                        return Err(format!("the forwarder broke the protocol: {what}"));
                    }
                }
                Action::Beat(_) => met("beat"),
                Action::Renew { .. } => {}
            }
        }
        Ok(())
    }
}

mod stream;

#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    frames: u64,
}

impl Batch {
    fn push(&mut self, message: &[u8]) {
        self.bytes.extend_from_slice(message);
        self.ends.push(self.bytes.len());
        self.frames += 1;
    }
}
