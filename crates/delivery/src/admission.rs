//! Which connection has a stream, and how much a worker may have at once.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::bug::{Bug, Bugs};
use crate::{Code, EpochId};

/// A number that a driver gives to a connection, and to no other while the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Limits of one worker or stream.
#[derive(Debug, Clone)]
pub struct AdmissionLimits {
    /// Connections of a worker, without those that have to leave.
    pub connections: usize,
    /// When there are so many, one of which nothing was heard for so long makes room for a newer one: longer than a peer
    /// that is alive is silent, which says something every ten seconds.
    pub silent: Duration,
    /// Streams of a worker that are connected.
    pub streams: usize,
    /// New epochs of a worker in an hour.
    pub epochs: usize,
    /// Takeovers of a stream in a minute; more are a conflict.
    pub takeovers: usize,
    /// Epochs of a stream whose segment is open.
    pub open_epochs: usize,
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self {
            connections: 16,
            silent: Duration::from_secs(15),
            streams: 16,
            epochs: 600,
            takeovers: 5,
            open_epochs: 4,
        }
    }
}

/// What a claim leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// The stream was nobody's: go on.
    Granted,
    /// Another connection has it: fence it ([`Receiver::handle_superseded`](crate::receiver::Receiver::handle_superseded)),
    /// and wait until [`Admission::released`] names this one.
    Takeover {
        /// The connection that has to end.
        fence: ConnectionId,
        /// One that waited for the stream too and never had it: refuse it as superseded.
        loser: Option<ConnectionId>,
        /// Too many takeovers: two hosts with one identity. For an alarm and one ledger line.
        conflict: bool,
    },
    /// Over a limit.
    Refused(Code),
}

/// The table of all acknowledged connections of a listener. Timed state; nothing waits here.
#[derive(Debug, Default)]
pub struct Admission {
    limits: AdmissionLimits,
    workers: BTreeMap<String, Worker>,
    pub(crate) bugs: Bugs,
}

#[derive(Debug, Default)]
struct Worker {
    connections: Vec<Connection>,
    streams: BTreeMap<String, Stream>,
    opened: VecDeque<Instant>,
}

#[derive(Debug)]
struct Connection {
    id: ConnectionId,
    /// It made room for another one, and is not over yet.
    leaves: bool,
}

#[derive(Debug)]
struct Stream {
    holder: Option<ConnectionId>,
    waiting: Option<ConnectionId>,
    takeovers: VecDeque<Instant>,
    /// The latest used last.
    epochs: VecDeque<EpochId>,
}

impl Admission {
    /// With these limits.
    pub fn new(limits: AdmissionLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// A worker connected. `silent` says for how long nothing was heard of one of its connections; `full` that there is no
    /// room for more, however few are known here. If another connection has to make room, that one is given: fence it
    /// ([`Receiver::handle_superseded`](crate::receiver::Receiver::handle_superseded)). What it holds stays its own until
    /// [`Admission::released`].
    ///
    /// # Errors
    /// The worker has too many connections, and all are alive: refuse it with this code.
    pub fn connect(
        &mut self,
        worker: &str,
        connection: ConnectionId,
        full: bool,
        silent: impl Fn(ConnectionId) -> Duration,
    ) -> Result<Option<ConnectionId>, Code> {
        let connections = &mut self
            .workers
            .entry(worker.to_owned())
            .or_default()
            .connections;
        let most = self.limits.connections;
        let stay = connections.iter().filter(|known| !known.leaves).count();
        let mut displaced = None;
        if full || stay >= most {
            // Those that leave are bounded too: a disk that is full keeps them.
            let room = connections.len() < most.saturating_mul(2);
            let staying = connections.iter_mut().filter(|known| room && !known.leaves);
            let oldest = staying
                .map(|known| (silent(known.id), known))
                .filter(|(silent, _)| *silent >= self.limits.silent)
                .max_by_key(|(silent, _)| *silent);
            let (_, oldest) = oldest.ok_or(Code::Limit)?;
            oldest.leaves = true;
            displaced = Some(oldest.id);
        }
        connections.push(Connection {
            id: connection,
            leaves: false,
        });
        Ok(displaced)
    }

    /// A connection wants a stream: the newest one wins.
    pub fn claim(
        &mut self,
        worker: &str,
        stream: &str,
        connection: ConnectionId,
        now: Instant,
    ) -> Claimed {
        let worker = self.workers.entry(worker.to_owned()).or_default();
        let busy = worker
            .streams
            .values()
            .filter(|s| s.holder.is_some())
            .count();
        let stream = match worker.streams.get_mut(stream) {
            Some(stream) if stream.holder.is_some() => stream,
            _ if busy >= self.limits.streams => return Claimed::Refused(Code::Limit),
            _ => worker
                .streams
                .entry(stream.to_owned())
                .or_insert_with(Stream::new),
        };
        let Some(fence) = stream.holder else {
            stream.holder = Some(connection);
            return Claimed::Granted;
        };
        let conflict = stream.conflict(now, self.limits.takeovers);
        if self.bugs.has(Bug::NoFence) {
            stream.holder = Some(connection);
            return Claimed::Granted;
        }
        let loser = stream.waiting.replace(connection);
        Claimed::Takeover {
            fence,
            loser,
            conflict,
        }
    }

    /// A connection is over, and everything it wrote stands or is void. The connection whose turn it is now, if one
    /// waited for its stream.
    pub fn released(&mut self, worker: &str, connection: ConnectionId) -> Option<ConnectionId> {
        let entry = self.workers.get_mut(worker)?;
        entry.connections.retain(|known| known.id != connection);
        let mut next = None;
        for stream in entry.streams.values_mut() {
            if stream.waiting == Some(connection) {
                stream.waiting = None;
            }
            if stream.holder == Some(connection) {
                stream.holder = stream.waiting.take();
                next = stream.holder;
            }
        }
        next
    }

    /// Whether a worker may begin another epoch now; counts it if so.
    pub fn may_open(&mut self, worker: &str, now: Instant) -> bool {
        let worker = self.workers.entry(worker.to_owned()).or_default();
        let recent = within(&mut worker.opened, now, Duration::from_secs(3600));
        if recent >= self.limits.epochs {
            return false;
        }
        worker.opened.push_back(now);
        true
    }

    /// An epoch of a stream is written to. Another epoch, whose segment has to be closed, if there are too many.
    pub fn used(&mut self, worker: &str, stream: &str, epoch: EpochId) -> Option<EpochId> {
        let worker = self.workers.get_mut(worker)?;
        let epochs = &mut worker.streams.get_mut(stream)?.epochs;
        epochs.retain(|known| *known != epoch);
        epochs.push_back(epoch);
        if epochs.len() > self.limits.open_epochs {
            epochs.pop_front()
        } else {
            None
        }
    }

    /// Forgets what no longer matters: workers without connections, and what they did long ago. For now and then.
    pub fn tidy(&mut self, now: Instant) {
        self.workers.retain(|_, worker| {
            worker.streams.retain(|_, stream| {
                let recent = within(&mut stream.takeovers, now, MINUTE);
                stream.holder.is_some() || recent > 0
            });
            let recent = within(&mut worker.opened, now, Duration::from_secs(3600));
            !worker.connections.is_empty() || !worker.streams.is_empty() || recent > 0
        });
    }
}

impl Stream {
    fn new() -> Self {
        Self {
            holder: None,
            waiting: None,
            takeovers: VecDeque::new(),
            epochs: VecDeque::new(),
        }
    }

    /// Counts a takeover; whether there were too many.
    fn conflict(&mut self, now: Instant, limit: usize) -> bool {
        let recent = within(&mut self.takeovers, now, MINUTE);
        if recent > limit {
            self.takeovers.pop_front();
        }
        self.takeovers.push_back(now);
        recent >= limit
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// How many of these times lie within the last `span`; forgets the others.
fn within(times: &mut VecDeque<Instant>, now: Instant, span: Duration) -> usize {
    while times
        .front()
        .is_some_and(|at| now.saturating_duration_since(*at) >= span)
    {
        times.pop_front();
    }
    times.len()
}

#[cfg(test)]
mod tests;
