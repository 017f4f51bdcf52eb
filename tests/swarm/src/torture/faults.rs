//! What goes wrong, one thing after the other.

use std::time::{Duration, Instant};

use rand::RngExt as _;

use super::{Disk, Logs, Program, STREAMS, Swarm, WINDOW};
use crate::wait::until;

/// How long something that was killed may take to show that it was at work before.
const PROGRESS: Duration = Duration::from_secs(4);
/// How long it may take to answer, or to end because it can't.
const START: Duration = Duration::from_secs(60);

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// kill -9 of one program or more.
    Kill,
    /// A connection ends at some octet.
    Cut,
    /// SIGSTOP for a while.
    Pause,
    /// The network holds everything back for a while.
    Delay,
    /// Octets of an old connection arrive after a new one has begun.
    Stale,
    /// One end is gone, and the other is not told.
    HalfOpen,
    /// Rotation by rename.
    Rename,
    /// Rotation by copy and truncate.
    Truncate,
    /// A full disk.
    Full,
}

/// A program by its place in the swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Collector,
    AuditProxy,
    Forwarder,
    Listener,
}

const ALL: [Who; 4] = [
    Who::Collector,
    Who::AuditProxy,
    Who::Forwarder,
    Who::Listener,
];

impl Swarm {
    /// One fault, and its end.
    pub(super) fn step(&mut self, kills: u64) -> anyhow::Result<()> {
        for program in self.programs() {
            program.check_alive()?;
            program.measure();
        }
        let kind = match self.random.random_range(0..100) {
            0..64 => Kind::Kill,
            64..72 => Kind::Cut,
            72..77 => Kind::Pause,
            77..80 => Kind::Delay,
            80..84 => Kind::Stale,
            84..86 => Kind::HalfOpen,
            86..92 => Kind::Rename,
            92..96 => Kind::Truncate,
            _ => Kind::Full,
        };
        if self.without.contains(&kind) {
            return Ok(());
        }
        match kind {
            Kind::Kill => self.kill_some(kills - self.kills()),
            Kind::Cut => self.cut(),
            Kind::Pause => self.pause(),
            Kind::Delay => self.delay(),
            Kind::Stale => self.stale(),
            Kind::HalfOpen => self.half_open(),
            Kind::Rename => self.rename(),
            Kind::Truncate => self.truncate(),
            Kind::Full => self.fill(),
        }
    }

    /// kill -9 of one program, of two, or of all; some while they start, most at work.
    fn kill_some(&mut self, most: u64) -> anyhow::Result<()> {
        let mut whom = ALL.to_vec();
        let count = match self.random.random_range(0..20) {
            0 => ALL.len(),
            1..4 => 2,
            _ => 1,
        };
        while whom.len() > count.min(usize::try_from(most).unwrap_or(ALL.len())) {
            whom.remove(self.random.random_range(0..whom.len()));
        }
        if self.random.random_ratio(4, 5) && self.works(whom[0])? {
            self.tally.working += whom.len() as u64;
        }
        self.nap(120);
        for &who in &whom {
            self.program(who).kill()?;
        }
        // Sometimes the others go on without it for a while.
        let long = if self.random.random_ratio(1, 8) {
            1_500
        } else {
            40
        };
        self.nap(long);
        let rotate = long > 1_000 && self.random.random_ratio(1, 3);
        if rotate && !self.without.contains(&Kind::Rename) {
            self.rename_logs(2)?;
        }
        for &who in &whom {
            self.program(who).start()?;
        }
        Ok(())
    }

    /// Whether a program gets something done before time is up.
    fn works(&mut self, who: Who) -> anyhow::Result<bool> {
        let before = self.done(who)?;
        let deadline = Instant::now() + PROGRESS;
        while Instant::now() < deadline {
            if self.done(who)? > before {
                return Ok(true);
            }
            self.program(who).check_alive()?;
            std::thread::park_timeout(Duration::from_millis(5));
        }
        Ok(false)
    }

    fn done(&self, who: Who) -> anyhow::Result<u64> {
        match who {
            Who::Collector => Ok(self.logs.decky.total()),
            Who::AuditProxy => Ok(self.logs.audit.total()),
            Who::Forwarder | Who::Listener => {
                Ok(STREAMS.iter().map(|stream| self.archived(stream)).sum())
            }
        }
    }

    /// Connections end at some octet.
    fn cut(&mut self) -> anyhow::Result<()> {
        let most = if self.random.random_ratio(1, 3) {
            200
        } else {
            300_000
        };
        let after = self.random.random_range(0..most);
        self.proxy.cut_after(after);
        self.tally.cuts += 1;
        self.nap(300);
        Ok(())
    }

    /// SIGSTOP for a while.
    fn pause(&mut self) -> anyhow::Result<()> {
        let who = ALL[self.random.random_range(0..ALL.len())];
        self.program(who).pause()?;
        self.nap(1_500);
        self.tally.pauses += 1;
        self.program(who).resume()
    }

    /// The network holds everything back, and then delivers it.
    fn delay(&mut self) -> anyhow::Result<()> {
        let held = self.proxy.hold();
        self.nap(1_000);
        held.release();
        self.tally.held += 1;
        Ok(())
    }

    /// Octets of an old connection arrive after a new forwarder has begun to send.
    fn stale(&mut self) -> anyhow::Result<()> {
        let held = self.proxy.hold();
        self.nap(100);
        self.forwarder.kill()?;
        let before = self.proxy.made();
        self.forwarder.start()?;
        let made = || Ok((self.proxy.made() > before).then_some(()));
        // A forwarder that waits longer is no fault: then they arrive before.
        let _ = until("a new connection", Duration::from_secs(5), made);
        self.nap(400);
        held.release();
        self.tally.stale += 1;
        Ok(())
    }

    /// One end is gone, and the other is not told.
    fn half_open(&mut self) -> anyhow::Result<()> {
        let held = self.proxy.hold();
        self.nap(100);
        self.tally.half_open += 1;
        if self.random.random_bool(0.7) {
            held.leave_half_open();
        } else {
            held.leave_deaf();
            // It would wait half a minute for an acknowledgement; sometimes it may.
            if self.random.random_ratio(4, 5) {
                self.forwarder.kill()?;
                self.forwarder.start()?;
            }
        }
        Ok(())
    }

    /// Rotation by rename, also of what the master writes.
    fn rename(&mut self) -> anyhow::Result<()> {
        let times = if self.random.random_ratio(1, 3) { 3 } else { 1 };
        if self.random.random_ratio(1, 3) {
            self.forwarder.kill()?;
            self.rename_logs(times)?;
            self.forwarder.start()?;
        } else {
            self.rename_logs(times)?;
        }
        if self.random.random_bool(0.5) {
            self.logs.merged_log.rename()?;
            self.logs.merged_json.rename()?;
        }
        Ok(())
    }

    fn rename_logs(&mut self, times: u32) -> anyhow::Result<()> {
        for time in 0..times {
            if time > 0 {
                // So that there is something to rotate.
                self.nap(300);
            }
            self.logs.decky.rename()?;
            self.logs.json.rename()?;
            if self.random.random_bool(0.5) {
                self.logs.audit.rename()?;
                self.logs.audit_json.rename()?;
            }
            if self.random.random_bool(0.5) {
                // Between lines: of one that is torn by a rotation the merged output makes two.
                let _writing = self.own.hold();
                self.logs.app.rename()?;
            }
            self.tally.renames += 1;
        }
        self.tidy()
    }

    /// Rotation by copy and truncate. What is written between the two is lost by the rotator, so the writer stands
    /// still: paused, or dead.
    fn truncate(&mut self) -> anyhow::Result<()> {
        let dead = self.random.random_bool(0.5);
        let Logs {
            decky,
            json,
            audit,
            audit_json,
            ..
        } = &mut self.logs;
        let logs = [
            (&mut self.collector, [decky, json]),
            (&mut self.audit_proxy, [audit, audit_json]),
        ];
        for (writer, files) in logs {
            if dead {
                writer.kill()?;
            } else {
                writer.pause()?;
            }
            for file in files {
                file.copy_and_truncate()?;
            }
            if dead {
                writer.start()?;
            } else {
                writer.resume()?;
            }
        }
        if self.random.random_bool(0.5) {
            let _writing = self.own.hold();
            self.logs.app.copy_and_truncate()?;
        }
        self.tally.truncates += 1;
        self.tidy()
    }

    /// Compresses and removes rotated files.
    fn tidy(&mut self) -> anyhow::Result<()> {
        if self.collector.runs() && self.audit_proxy.runs() && self.random.random_bool(0.5) {
            self.logs.decky.compress(&self.collector.open_files())?;
            self.logs.audit.compress(&self.audit_proxy.open_files())?;
            self.logs.app.compress(&[])?;
            self.tally.compressions += 1;
        }
        let slack = |archived: u64| archived.saturating_sub(WINDOW);
        let delivered = STREAMS.map(|stream| slack(self.archived(stream)));
        let Logs {
            decky,
            json,
            audit,
            audit_json,
            app,
            ..
        } = &mut self.logs;
        for (log, delivered) in [decky, audit, app].into_iter().zip(delivered) {
            log.prune(delivered)?;
        }
        for log in [json, audit_json] {
            log.prune(0)?;
        }
        Ok(())
    }

    /// A full disk, and room again; meanwhile the program may be killed, and be unable to start.
    fn fill(&mut self) -> anyhow::Result<()> {
        let who = if self.random.random_bool(0.5) {
            Who::Listener
        } else {
            Who::Collector
        };
        if !self.disk(who).can_fill() {
            return Ok(());
        }
        // The audit proxy writes to the collector's disk.
        let others: &[Who] = match who {
            Who::Collector => &[Who::AuditProxy],
            _ => &[],
        };
        let mut young = Vec::new();
        for &who in [who].iter().chain(others) {
            if self.program(who).status().is_err() {
                young.push(who);
            }
        }
        self.disk(who).fill()?;
        self.tally.full += 1;
        self.nap(1_500);
        // A young one may have ended already.
        let killed = self.random.random_ratio(1, 3) && self.program(who).check_alive().is_ok();
        if killed {
            self.program(who).kill()?;
            self.nap(50);
            self.program(who).start()?;
            self.nap(1_000);
        }
        self.disk(who).drain()?;
        if killed && !young.contains(&who) {
            young.push(who);
        }
        // One that could not start is started again by its unit; one that was at work must have waited.
        for who in young {
            let program = self.program(who);
            let started =
                || Ok((program.check_alive().is_err() || program.status().is_ok()).then_some(()));
            until("a program that starts, or ends", START, started)?;
            if self.program(who).check_alive().is_err() {
                self.tally.ended += 1;
                self.program(who).restart()?;
            }
        }
        Ok(())
    }

    fn disk(&self, who: Who) -> &Disk {
        if who == Who::Listener {
            &self.master_disk
        } else {
            &self.worker_disk
        }
    }

    fn program(&mut self, who: Who) -> &mut Program {
        match who {
            Who::Collector => &mut self.collector,
            Who::AuditProxy => &mut self.audit_proxy,
            Who::Forwarder => &mut self.forwarder,
            Who::Listener => &mut self.listener,
        }
    }

    /// A random while: the moment is the subject, not a synchronisation.
    fn nap(&mut self, most_ms: u64) {
        let ms = self.random.random_range(0..=most_ms);
        std::thread::park_timeout(Duration::from_millis(ms));
    }
}
