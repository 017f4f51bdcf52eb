//! One run: what happens is drawn from the seed, and checked as it happens.

use std::time::{Duration, Instant};

use super::checks;
use super::forwarder::Forwarder;
use super::listener::Listener;
use super::net::Net;
use super::source::{Source, Truths};
use super::store::Stage;
use super::worker::Worker;
use super::{Chance, met, trace};
use crate::ArchiveId;
use crate::bug::Bug;

/// Steps with faults, and most steps without.
const STORM: usize = 400;
const CALM: usize = 6000;

pub(super) struct World {
    chance: Chance,
    now: Instant,
    truths: Truths,
    net: Net,
    worker: Worker,
    /// A second host with the same identity, and whether there ever was one.
    twin: Option<Worker>,
    had_twin: bool,
    listeners: Vec<Listener>,
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
            .and_then(|()| world.check())
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
            net: Net::default(),
            worker: Worker::new(source, forwarder, masters),
            twin: None,
            had_twin: false,
            listeners,
        }
    }

    fn storm(&mut self) -> Result<(), String> {
        self.now += Duration::from_millis(self.chance.below(60) as u64);
        match self.chance.below(100) {
            0..23 => self.write(),
            23..55 => self.forward()?,
            55..87 => self.listen()?,
            87..91 => self.commit(),
            91 => self.now += Duration::from_secs(self.chance.below(35) as u64),
            92..94 => self.network_fault()?,
            94..96 => self.worker.source_fault(&mut self.truths, &mut self.chance),
            96 => self.worker_fault(),
            97..99 => self.listener_fault(),
            _ => {}
        }
        Ok(())
    }

    fn write(&mut self) {
        let source = match &mut self.twin {
            Some(twin) if self.chance.one_in(2) => &mut twin.source,
            _ => &mut self.worker.source,
        };
        source.write(&mut self.truths, &mut self.chance);
    }

    fn forward(&mut self) -> Result<(), String> {
        let up: Vec<bool> = self.listeners.iter().map(|l| l.up).collect();
        let worker = match &mut self.twin {
            Some(twin) if self.chance.one_in(2) => twin,
            _ => &mut self.worker,
        };
        // Nobody has to wait for a back-off in a world without a clock.
        if worker.up && worker.forwarder.session.is_none() && self.chance.one_in(3) {
            self.now = self.now.max(worker.forwarder.retry_at);
        }
        let made = worker.turn(&mut self.net, &mut self.chance, self.now, &up)?;
        if let Some((link, master)) = made {
            self.listeners[master].accept(link, self.now);
        }
        Ok(())
    }

    fn listen(&mut self) -> Result<(), String> {
        let at = self.chance.below(self.listeners.len());
        self.listen_at(at)
    }

    fn listen_at(&mut self, at: usize) -> Result<(), String> {
        let listener = &mut self.listeners[at];
        if !listener.up && self.chance.one_in(20) {
            listener.start();
        }
        let links: Vec<u64> = listener.connections.keys().copied().collect();
        for link in links {
            listener.turn(link, self.now, &mut self.chance, &mut self.net)?;
        }
        if listener.is_drained(self.now) {
            listener.commit(&mut self.chance, &mut self.net);
            listener.crash(false, &mut self.chance, &mut self.net);
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
        if self.chance.one_in(6) {
            self.silence();
        }
        if let Some(link) = self.net.any(&mut self.chance) {
            if self.chance.one_in(2) {
                self.net.cut(link, &mut self.chance);
            } else {
                self.net.die(link);
                // The forwarder may notice at once, and be back before the listener notices.
                if self.chance.one_in(2)
                    && let Some(session) = &mut self.worker.forwarder.session
                    && session.link == link
                {
                    session.sender.handle_closed();
                    self.forward()?;
                    self.worker.forwarder.retry_at = self.now;
                }
            }
        }
        if self.chance.one_in(2) {
            self.worker.forwarder.retry_at = self.now;
        }
        Ok(())
    }

    /// Connections come about of which nothing is ever heard.
    fn silence(&mut self) {
        let master = self.chance.below(self.listeners.len());
        let listener = &mut self.listeners[master];
        for _ in 0..self.chance.below(4) {
            let link = self.net.connect(master);
            self.net.die(link);
            if listener.up {
                listener.accept(link, self.now);
            }
        }
    }

    fn worker_fault(&mut self) {
        let (truths, net, chance) = (&mut self.truths, &mut self.net, &mut self.chance);
        match &mut self.twin {
            Some(twin) if chance.one_in(8) => {
                twin.stop(net, chance);
                self.twin = None;
            }
            Some(twin) if chance.one_in(2) => twin.fault(truths, net, chance, self.now),
            // Two histories of one epoch, told to different masters, are the same case as a restored worker's.
            None if self.listeners.len() == 1 && chance.one_in(6) => {
                self.twin = Some(self.worker.twin(truths, self.now));
                self.had_twin = true;
            }
            _ => self.worker.fault(truths, net, chance, self.now),
        }
    }

    fn listener_fault(&mut self) {
        let at = self.chance.below(self.listeners.len());
        let listener = &mut self.listeners[at];
        if !listener.up {
            if self.chance.one_in(4) {
                listener.store.lose_index(&mut self.chance);
            }
            return listener.start();
        }
        let stages = [
            Stage::Written,
            Stage::Synced,
            Stage::Ledgered,
            Stage::Witnessed,
            Stage::Indexed,
        ];
        let what = self.chance.below(9);
        trace(|| format!("listener {at} fault {what}"));
        match what {
            0 => {
                met("disk full");
                listener.store.full = !listener.store.full;
            }
            1 => listener.fail(stages[self.chance.below(4)], &mut self.chance),
            2 => listener.crash(false, &mut self.chance, &mut self.net),
            3 => listener.drain(self.now),
            4 => {
                met("seal");
                listener.store.seal_rolled();
            }
            _ => {
                let until = stages[self.chance.below(8).saturating_sub(3)];
                listener.store.commit(until, &mut self.chance);
                let power = self.chance.one_in(2);
                listener.crash(power, &mut self.chance, &mut self.net);
            }
        }
    }

    /// Nothing fails any more: everything has to arrive.
    fn calm(&mut self) -> Result<(), String> {
        self.mend();
        let relives = self.listeners.len() == 1 && !self.had_twin && self.chance.one_in(3);
        if relives {
            self.relive().map_err(|e| format!("relive: {e}"))?;
        }
        trace(|| format!("calm: {:?}", self.worker.source));
        self.arrive(CALM).map_err(|e| format!("calm: {e}"))?;
        if self.had_twin {
            // What both hosts had before either named it comes from both.
            return Ok(());
        }
        self.listeners.iter().try_for_each(checks::no_line_twice)
    }

    /// The worker's disk is put back, the file goes on otherwise, and then the state from before that is put back.
    fn relive(&mut self) -> Result<(), String> {
        self.live()?;
        if !self.worker.keep() {
            return Ok(());
        }
        self.live()?;
        let truths = &mut self.truths;
        self.worker.go_back(Some(truths), &mut self.net, self.now);
        self.live()?;
        self.worker.go_back(None, &mut self.net, self.now);
        self.live()
    }

    /// A few lines are written, and arrive.
    fn live(&mut self) -> Result<(), String> {
        for _ in 0..1 + self.chance.below(8) {
            self.worker.source.write(&mut self.truths, &mut self.chance);
        }
        self.net.heal(&mut self.chance);
        self.arrive(CALM)
    }

    fn mend(&mut self) {
        if let Some(mut twin) = self.twin.take() {
            twin.stop(&mut self.net, &mut self.chance);
        }
        self.worker.source.finish(&mut self.truths);
        self.worker.source.repair();
        if !self.worker.up {
            self.worker.start(self.now);
        }
        for listener in &mut self.listeners {
            listener.store.full = false;
            if !listener.up {
                listener.start();
            }
        }
        self.net.heal(&mut self.chance);
    }

    /// Within so many steps everything is archived.
    fn arrive(&mut self, steps: usize) -> Result<(), String> {
        let mut complete = Err("nothing was looked at".to_owned());
        for step in 0..steps {
            self.now += Duration::from_millis(if step % 8 == 0 { 400 } else { 20 });
            self.forward()?;
            for at in 0..self.listeners.len() {
                self.listen_at(at)?;
                if !self.listeners[at].up {
                    self.listeners[at].start();
                }
            }
            self.commit();
            if step % 50 == 49 {
                self.check()?;
                complete = checks::complete(&self.worker.source, &self.listeners);
                if complete.is_ok() {
                    break;
                }
            }
        }
        complete.map_err(|e| format!("does not become equal: {e}"))
    }

    fn check(&self) -> Result<(), String> {
        for listener in &self.listeners {
            checks::nothing_promised_is_lost(listener)?;
            checks::holds_what_was_written(listener, &self.truths)?;
        }
        Ok(())
    }
}
