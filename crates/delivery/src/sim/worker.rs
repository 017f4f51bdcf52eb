//! A worker: its disk, its forwarder, and what somebody may put back from a copy.

use std::time::Instant;

use super::forwarder::{self, Forwarder, Known};
use super::net::Net;
use super::source::{Source, Truths};
use super::{Chance, met, trace};

pub(super) struct Worker {
    pub(super) source: Source,
    pub(super) forwarder: Forwarder,
    pub(super) up: bool,
    masters: usize,
    /// Copies of the forwarder's state, and of the worker's whole disk.
    old_state: Option<Vec<Known>>,
    snapshot: Option<(Source, Vec<Known>)>,
}

impl Worker {
    pub(super) fn new(source: Source, forwarder: Forwarder, masters: usize) -> Self {
        Self {
            source,
            forwarder,
            up: true,
            masters,
            old_state: None,
            snapshot: None,
        }
    }

    /// Another host with the same disk, and so with the same identity and state.
    pub(super) fn twin(&self, truths: &mut Truths, now: Instant) -> Self {
        met("twin");
        let source = self.source.copy(truths);
        let mut forwarder = Forwarder::new(self.masters, now, self.forwarder.bug);
        forwarder.state.clone_from(&self.forwarder.state);
        Self::new(source, forwarder, self.masters)
    }

    /// One turn; the connection that it made, and to which master.
    pub(super) fn turn(
        &mut self,
        net: &mut Net,
        chance: &mut Chance,
        now: Instant,
        up: &[bool],
    ) -> Result<Option<(u64, usize)>, String> {
        if !self.up {
            return Ok(None);
        }
        let before = self.forwarder.session.as_ref().map(|s| s.link);
        let mut world = forwarder::World {
            source: &mut self.source,
            net,
            chance,
            now,
            up,
        };
        self.forwarder.turn(&mut world)?;
        let after = self.forwarder.session.as_ref().map(|s| s.link);
        let made = after.filter(|link| before != Some(*link));
        Ok(made.map(|link| (link, net.links[&link].master)))
    }

    pub(super) fn source_fault(&mut self, truths: &mut Truths, chance: &mut Chance) {
        let what = chance.below(16);
        trace(|| format!("source fault {what}"));
        match what {
            0..4 => self.source.rotate(truths),
            4..6 => self.source.copytruncate(truths),
            6..8 => self.source.compress(truths),
            8..11 => self.source.go_on(truths),
            11 => self.source.delete_oldest(truths),
            12 => self.source.break_one(truths, chance),
            13 => self.source.repair(),
            _ => self.snapshot = Some((self.source.clone(), self.forwarder.state.clone())),
        }
    }

    pub(super) fn stop(&mut self, net: &mut Net, chance: &mut Chance) {
        if let Some(session) = self.forwarder.session.take() {
            if chance.one_in(2) {
                net.cut(session.link, chance);
            } else {
                net.die(session.link);
            }
        }
        self.up = false;
    }

    pub(super) fn start(&mut self, now: Instant) {
        self.forwarder.restart(self.masters, now);
        self.up = true;
    }

    /// The forwarder stops, or what else can happen to it; or it starts again.
    pub(super) fn fault(
        &mut self,
        truths: &mut Truths,
        net: &mut Net,
        chance: &mut Chance,
        now: Instant,
    ) {
        if !self.up {
            return self.start(now);
        }
        met("forwarder killed");
        self.stop(net, chance);
        let what = chance.below(8);
        trace(|| format!("forwarder fault {what}"));
        match what {
            0 => {
                met("worker lost power");
                self.source.lose_power(truths, chance);
            }
            // Copies from before name epochs of files that have other names since: nobody can tell.
            1 => {
                met("forwarder's state lost");
                self.forwarder.state.clear();
                (self.old_state, self.snapshot) = (None, None);
            }
            2 => self.old_state = Some(self.forwarder.state.clone()),
            3 => {
                if let Some(old) = self.old_state.take() {
                    met("forwarder's state older");
                    self.forwarder.state = old;
                    self.snapshot = None;
                }
            }
            4 | 5 => self.restore(truths),
            _ => {}
        }
        for _ in 0..chance.below(4).saturating_sub(1) {
            met("rotation while the forwarder is down");
            self.source.rotate(truths);
        }
    }

    /// Keeps a copy of the disk and of the state, if the disk is one that can be told from others.
    pub(super) fn keep(&mut self) -> bool {
        let long = self.source.has_long_files();
        if long {
            self.snapshot = Some((self.source.clone(), self.forwarder.state.clone()));
            self.old_state = Some(self.forwarder.state.clone());
        }
        long
    }

    /// The forwarder is killed, and starts with the copy of the disk, or with that of its state alone.
    pub(super) fn go_back(&mut self, disk: Option<&mut Truths>, net: &mut Net, now: Instant) {
        if let Some(session) = self.forwarder.session.take() {
            net.die(session.link);
        }
        match disk {
            Some(truths) => self.restore(truths),
            None => {
                met("state from before a branch");
                self.forwarder.state = self.old_state.take().unwrap_or_default();
            }
        }
        self.start(now);
    }

    /// With several masters a restored worker may tell one of them another history of an epoch than it told the other:
    /// nobody compares these.
    fn restore(&mut self, truths: &mut Truths) {
        if self.masters > 1 {
            return;
        }
        let copy = self.snapshot.take();
        if let Some((source, state)) = copy.filter(|(source, _)| source.has_long_files()) {
            met("worker restored from a copy");
            self.source.restore(&source, truths);
            self.forwarder.state = state;
        }
    }
}
