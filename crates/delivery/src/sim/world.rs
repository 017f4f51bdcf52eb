//! One run: what happens is drawn from the seed, and checked as it happens.

use std::time::{Duration, Instant};

use super::checks;
use super::forwarder::{self, Forwarder, Known};
use super::listener::Listener;
use super::net::Net;
use super::source::{Source, Truths};
use super::store::Stage;
use super::{Chance, trace};
use crate::ArchiveId;
use crate::bug::Bug;

/// Steps with faults, and most steps without.
const STORM: usize = 400;
const CALM: usize = 6000;

pub(super) struct World {
    chance: Chance,
    now: Instant,
    truths: Truths,
    source: Source,
    net: Net,
    forwarder: Forwarder,
    forwarder_up: bool,
    listeners: Vec<Listener>,
    /// Copies of the forwarder's state, and of the worker's whole disk.
    old_state: Option<Vec<Known>>,
    snapshot: Option<(Source, Vec<Known>)>,
}

/// Runs one seed.
///
/// # Errors
/// What went wrong.
pub(super) fn run(seed: u64, bug: Option<Bug>, start: Instant) -> Result<(), String> {
    let mut world = World::new(seed, bug, start);
    for step in 0..STORM {
        world
            .storm()
            .and_then(|()| world.check(step % 16 == 0))
            .map_err(|e| format!("step {step}: {e}"))?;
    }
    world.calm()
}

impl World {
    fn new(seed: u64, bug: Option<Bug>, now: Instant) -> Self {
        let mut chance = Chance(seed);
        let masters = 1 + chance.below(2);
        let ids: Vec<ArchiveId> = (0..masters)
            .map(|_| ArchiveId::from_bytes(chance.id()))
            .collect();
        let siblings = if chance.one_in(2) {
            ids.clone()
        } else {
            Vec::new()
        };
        let mut listeners: Vec<Listener> = ids
            .iter()
            .map(|id| Listener::new(*id, siblings.clone(), bug))
            .collect();
        listeners.iter_mut().for_each(Listener::start);
        let mut truths = Truths::default();
        let source = Source::new(&mut truths);
        let mut forwarder = Forwarder::new(masters, now, bug);
        forwarder.lag_caps = chance.one_in(3);
        Self {
            chance,
            now,
            truths,
            source,
            net: Net::default(),
            forwarder,
            forwarder_up: true,
            listeners,
            old_state: None,
            snapshot: None,
        }
    }

    fn storm(&mut self) -> Result<(), String> {
        self.now += Duration::from_millis(self.chance.below(60) as u64);
        match self.chance.below(100) {
            0..25 => self.source.write(&mut self.truths, &mut self.chance),
            25..55 => self.forward()?,
            55..84 => self.listen()?,
            84..89 => self.commit(),
            89 => self.now += Duration::from_secs(self.chance.below(35) as u64),
            90..93 => self.network_fault()?,
            93..95 => self.source_fault(),
            95..97 => self.forwarder_fault(),
            _ => self.listener_fault(),
        }
        Ok(())
    }

    fn forward(&mut self) -> Result<(), String> {
        if !self.forwarder_up {
            return Ok(());
        }
        let up: Vec<bool> = self.listeners.iter().map(|l| l.up).collect();
        let before = self.forwarder.session.as_ref().map(|s| s.link);
        let mut world = forwarder::World {
            source: &mut self.source,
            net: &mut self.net,
            chance: &mut self.chance,
            now: self.now,
            up: &up,
        };
        self.forwarder.turn(&mut world)?;
        if let Some(session) = &self.forwarder.session
            && before != Some(session.link)
        {
            let master = self.net.links[&session.link].master;
            self.listeners[master].accept(session.link, self.now);
        }
        Ok(())
    }

    fn listen(&mut self) -> Result<(), String> {
        let at = self.chance.below(self.listeners.len());
        self.listen_at(at)
    }

    fn listen_at(&mut self, at: usize) -> Result<(), String> {
        let listener = &mut self.listeners[at];
        let links: Vec<u64> = listener.connections.keys().copied().collect();
        for link in links {
            listener.turn(link, self.now, &mut self.chance, &mut self.net)?;
        }
        Ok(())
    }

    fn commit(&mut self) {
        for listener in &mut self.listeners {
            if listener.up && !listener.store.full {
                listener.commit(&mut self.chance, &mut self.net);
            }
        }
    }

    fn network_fault(&mut self) -> Result<(), String> {
        if let Some(link) = self.net.any(&mut self.chance) {
            if self.chance.one_in(2) {
                self.net.cut(link, &mut self.chance);
            } else {
                self.net.die(link);
                // The forwarder may notice at once, and be back before the listener notices.
                if self.chance.one_in(2)
                    && let Some(session) = &mut self.forwarder.session
                    && session.link == link
                {
                    session.sender.handle_closed();
                    self.forward()?;
                    self.forwarder.retry_at = self.now;
                }
            }
        }
        if self.chance.one_in(2) {
            self.forwarder.retry_at = self.now;
        }
        Ok(())
    }

    fn source_fault(&mut self) {
        let what = self.chance.below(9);
        trace(|| format!("source fault {what}"));
        match what {
            0..4 => self.source.rotate(&mut self.truths),
            4..6 => self.source.copytruncate(&mut self.truths),
            6 => self.source.delete_oldest(&mut self.truths),
            _ => self.snapshot = Some((self.source.clone(), self.forwarder.state.clone())),
        }
    }

    fn stop_forwarder(&mut self) {
        if let Some(session) = self.forwarder.session.take() {
            if self.chance.one_in(2) {
                self.net.cut(session.link, &mut self.chance);
            } else {
                self.net.die(session.link);
            }
        }
        self.forwarder_up = false;
    }

    fn forwarder_fault(&mut self) {
        let masters = self.listeners.len();
        if !self.forwarder_up {
            self.forwarder.restart(masters, self.now);
            self.forwarder_up = true;
            return;
        }
        self.stop_forwarder();
        let what = self.chance.below(8);
        trace(|| format!("forwarder fault {what}"));
        match what {
            0 => self.source.lose_power(&mut self.truths, &mut self.chance),
            // Copies from before name epochs of files that have other names since: nobody can tell.
            1 => {
                self.forwarder.state.clear();
                (self.old_state, self.snapshot) = (None, None);
            }
            2 => self.old_state = Some(self.forwarder.state.clone()),
            3 => {
                if let Some(old) = self.old_state.take() {
                    self.forwarder.state = old;
                    self.snapshot = None;
                }
            }
            // With several masters a restored worker may tell one of them another history of an epoch than it told
            // the other: nobody compares these.
            4 | 5 if masters == 1 => {
                if let Some((source, state)) = self
                    .snapshot
                    .take()
                    .filter(|(source, _)| source.has_long_files())
                {
                    self.source.restore(&source, &mut self.truths);
                    self.forwarder.state = state;
                    self.old_state = None;
                }
            }
            _ => {}
        }
        if self.chance.one_in(3) {
            self.source.rotate(&mut self.truths);
        }
    }

    fn listener_fault(&mut self) {
        let at = self.chance.below(self.listeners.len());
        let listener = &mut self.listeners[at];
        if !listener.up {
            return listener.start();
        }
        let what = self.chance.below(6);
        trace(|| format!("listener {at} fault {what}"));
        match what {
            0 => listener.store.full = !listener.store.full,
            1 => {
                // Bytes may have reached the disk, the index did not.
                listener.store.commit(Stage::Written, &mut self.chance);
                listener.fail();
            }
            2 => listener.crash(false, &mut self.chance, &mut self.net),
            _ => {
                let until = [
                    Stage::Written,
                    Stage::Synced,
                    Stage::Ledgered,
                    Stage::Indexed,
                ];
                let until = until[self.chance.below(4)];
                listener.store.commit(until, &mut self.chance);
                listener.crash(true, &mut self.chance, &mut self.net);
            }
        }
    }

    /// Nothing fails any more: everything has to arrive.
    fn calm(&mut self) -> Result<(), String> {
        if !self.forwarder_up {
            self.forwarder_fault();
        }
        for listener in &mut self.listeners {
            listener.store.full = false;
            if !listener.up {
                listener.start();
            }
        }
        self.net.heal(&mut self.chance);
        let mut complete = Err("nothing was looked at".to_owned());
        trace(|| format!("calm: {:?}", self.source));
        for step in 0..CALM {
            self.now += Duration::from_millis(if step % 8 == 0 { 400 } else { 20 });
            self.forward().map_err(|e| format!("calm: {e}"))?;
            for at in 0..self.listeners.len() {
                self.listen_at(at).map_err(|e| format!("calm: {e}"))?;
            }
            self.commit();
            if step % 50 == 49 {
                self.check(true).map_err(|e| format!("calm: {e}"))?;
                complete = checks::complete(&self.source, &self.listeners);
                if complete.is_ok() {
                    break;
                }
            }
        }
        complete.map_err(|e| format!("does not become equal: {e}"))?;
        self.listeners.iter().try_for_each(checks::no_line_twice)
    }

    fn check(&self, whole: bool) -> Result<(), String> {
        for listener in &self.listeners {
            checks::nothing_promised_is_lost(listener)?;
            if whole {
                checks::holds_what_was_written(listener, &self.truths)?;
            }
        }
        Ok(())
    }
}
