//! An acknowledged connection (docs/wire.md): the [`Receiver`] decides, this drives it over TLS and the queue.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use delivery::control::{Ack, Refuse};
use delivery::receiver::Receiver;
use delivery::{Code, Control};
use framing::Fault;
use pki::{Peer, Refusal};
use tokio::io::{AsyncBufRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::wire::{Moved, Wire};
use super::{CLOSE_LIMIT, End, MAX_PAUSE, Shared};
use crate::intake::{Closed, Mailbox, News, Said, Seat, Sending};
use crate::metrics::count;
use crate::workers::{Joined, Stream, Worker};

mod acting;
mod taking;

/// A connection whose peer is known, and which is to be acknowledged.
pub(crate) struct Acknowledged<IO> {
    wire: Wire<IO>,
    peer: Peer,
    worker: Arc<Worker>,
    /// Another connection of the worker has to make room.
    full: bool,
    shared: Arc<Shared>,
    receiver: Receiver,
    /// What the archive's owner is to be told, in order.
    queue: VecDeque<Said>,
    waiting: Option<Waiting>,
    /// An answer of the archive's owner is due, and until then nothing more is taken.
    asked: bool,
    /// A gap or a roll is on its way, each of which costs the archive a file: one a window is enough.
    settling: bool,
    /// Octets came that the receiver was not told of.
    came: bool,
    /// The newest ack; told when the peer has read the one before.
    ack: Option<Ack>,
    /// Octets that were taken and not counted against the worker's rate yet, and until when it lets nothing in.
    owed: usize,
    paused: Option<Instant>,
    /// When the peer has to have finished, at a stop.
    drain_by: Option<Instant>,
    stream: Option<Arc<Stream>>,
    unknown: u64,
    /// Octets of whole frames so far.
    offset: u64,
    refusal: Option<Refusal>,
    fault: Option<(Fault, u64)>,
    end: Option<End>,
    generation: watch::Receiver<u64>,
    stop: watch::Receiver<bool>,
}

/// What has to happen before anything more is taken.
enum Waiting {
    Sent(Sending),
    Room(Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>),
}

/// What happens next on a connection.
enum Event {
    Moved(Moved),
    Waited(Waited),
    Mail,
    Recheck,
    Stop,
    Time,
}

enum Waited {
    Sent(Result<(), Closed>),
    Room(Option<OwnedSemaphorePermit>),
}

impl<IO: AsyncBufRead + AsyncWrite + Unpin> Acknowledged<IO> {
    pub(crate) fn new(
        io: IO,
        peer: Peer,
        joined: &Joined,
        shared: Arc<Shared>,
    ) -> Acknowledged<IO> {
        let receiver = Receiver::new(shared.limits.clone(), shared.archive, Instant::now());
        Acknowledged {
            wire: Wire::new(io, Arc::clone(&shared)),
            peer,
            worker: Arc::clone(&joined.worker),
            full: joined.full,
            receiver,
            queue: VecDeque::new(),
            waiting: None,
            asked: false,
            settling: false,
            came: false,
            ack: None,
            owed: 0,
            paused: None,
            drain_by: None,
            stream: None,
            unknown: 0,
            offset: 0,
            refusal: None,
            fault: None,
            end: None,
            generation: shared.tls.generation(),
            stop: shared.stop.clone(),
            shared,
        }
    }

    /// Serves the connection to its end and closes it in an orderly way.
    pub(crate) async fn run(mut self) -> End {
        // The handshake has not asked the registry, so that the peer hears in our words why it is not served.
        self.recheck();
        let mut stop = self.stop.clone();
        let seat = tokio::select! {
            biased;
            seat = self.shared.intake.enter(&self.worker, self.full) => seat.ok(),
            () = stopped(&mut stop) => None,
        };
        let end = match seat {
            Some(seat) => self.serve(seat).await,
            None => End::Stop,
        };
        if let Some(stream) = &self.stream {
            stream.left();
        }
        if !matches!(end, End::Broken(_)) {
            self.wire.close(CLOSE_LIMIT).await;
        }
        end
    }

    /// The seat goes with the end of it: the stream is free before the peer has taken leave.
    async fn serve(&mut self, seat: Seat) -> End {
        let mailbox = Arc::clone(seat.mailbox());
        loop {
            if let Err(Closed) = self.pump(&seat) {
                return End::Stop;
            }
            if let Some(end) = self.end.take() {
                return end;
            }
            let event = self.event(&mailbox).await;
            self.apply(event, &mailbox);
            let unknown = self.receiver.unknown();
            let more = unknown - std::mem::replace(&mut self.unknown, unknown);
            self.shared.metrics.unknown_controls.inc_by(more);
        }
    }

    /// Does all that can be done without waiting.
    fn pump(&mut self, seat: &Seat) -> Result<(), Closed> {
        let now = Instant::now();
        self.receiver
            .handle_blocked(seat.mailbox().is_blocked(), now);
        loop {
            self.act();
            while self.waiting.is_none()
                && let Some(said) = self.queue.pop_front()
            {
                self.waiting = seat.send(said)?.map(Waiting::Sent);
            }
            if self.end.is_some() || !self.may_take(seat.mailbox(), now) || !self.take(now) {
                break;
            }
        }
        let may_take = self.may_take(seat.mailbox(), now);
        if self.came || !may_take {
            // A peer to which we do not listen is not silent.
            seat.mailbox().hear(now);
        }
        if may_take && std::mem::take(&mut self.came) {
            let partial = !self.wire.inbound.buf.is_empty();
            self.receiver.handle_progress(partial, now);
        }
        if may_take && let Some(room) = self.wire.inbound.needs() {
            self.waiting = Some(Waiting::Room(Box::pin(room.wait())));
        }
        let reading = self.may_take(seat.mailbox(), now);
        self.receiver.handle_reading(reading, now);
        if self.wire.is_quiet() {
            self.tell_ack();
        }
        Ok(())
    }

    /// Whether frames may be handed on.
    fn may_take(&mut self, mailbox: &Mailbox, now: Instant) -> bool {
        self.pay(now);
        self.queue.is_empty()
            && self.waiting.is_none()
            && !self.asked
            && !self.settling
            && self.owed == 0
            && !mailbox.is_blocked()
            && self.wire.waiting() < MAX_OUT
    }

    /// Whether the peer's certificate counts still.
    fn recheck(&mut self) {
        if let Err(refusal) = self.shared.tls.recheck(&self.peer) {
            let code = match refusal {
                Refusal::Revoked(_) => Code::Revoked,
                _ => Code::NotEnrolled,
            };
            let detail = refusal.to_string();
            self.refusal = Some(refusal);
            self.receiver.handle_refused(code, &detail);
        }
    }

    async fn event(&mut self, mailbox: &Mailbox) -> Event {
        // Reading goes on as long as little is held: so the end of a connection is seen that waits for something.
        let read = self.wire.inbound.buf.len() < MAX_HELD || self.may_take(mailbox, Instant::now());
        let deadline = self.deadline();
        if read {
            self.wire.inbound.fit();
        }
        let Acknowledged {
            wire,
            waiting,
            generation,
            stop,
            drain_by,
            ..
        } = self;
        let waited = async {
            match waiting {
                Some(Waiting::Sent(sending)) => Waited::Sent(sending.await),
                Some(Waiting::Room(room)) => Waited::Room(room.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stopped(stop), if drain_by.is_none() => Event::Stop,
            Ok(()) = generation.changed() => Event::Recheck,
            () = mailbox.wait() => Event::Mail,
            waited = waited => Event::Waited(waited),
            moved = poll_fn(|cx| wire.poll(cx, read)) => Event::Moved(moved),
            () = tokio::time::sleep_until(deadline.into()) => Event::Time,
        }
    }

    /// When something is due, if nothing happens before.
    fn deadline(&self) -> Instant {
        let stuck = self
            .wire
            .stuck_since()
            .map(|at| at + self.shared.frame_limit);
        let latest = Instant::now() + MAX_WAIT;
        let paused = self
            .paused
            .map(|until| until.min(Instant::now() + MAX_PAUSE));
        [self.receiver.poll_timeout(), stuck, paused, self.drain_by]
            .into_iter()
            .flatten()
            .fold(latest, Instant::min)
    }

    fn apply(&mut self, event: Event, mailbox: &Mailbox) {
        match event {
            Event::Moved(Moved::Read(Ok(0))) => self.end = Some(End::Clean),
            Event::Moved(Moved::Read(Ok(read))) => {
                self.wire.inbound.took(read);
                self.came = true;
            }
            Event::Moved(Moved::Wrote(Ok(()))) => {}
            // Without close_notify the peer has crashed, or somebody cut the connection: what it sends again counts.
            Event::Moved(Moved::Read(Err(e)) | Moved::Wrote(Err(e))) => {
                self.end = Some(End::Broken(e));
            }
            Event::Waited(waited) => {
                self.waiting = None;
                match waited {
                    Waited::Sent(Ok(())) => {}
                    Waited::Sent(Err(Closed)) => self.end = Some(End::Stop),
                    Waited::Room(room) => self.wire.inbound.grant(room),
                }
            }
            Event::Mail => {
                while let Some(news) = mailbox.next() {
                    self.read(news);
                }
            }
            Event::Recheck => self.recheck(),
            Event::Stop => self.drain(),
            Event::Time => self.time(),
        }
    }

    fn read(&mut self, news: News) {
        self.asked &= !news.is_answer();
        match news {
            News::Claimed => self.receiver.handle_claimed(),
            News::Refused(code, why) => self.receiver.handle_refused(code, why),
            News::Superseded => self.receiver.handle_superseded(),
            News::Epochs(held) => self.receiver.handle_epochs(held),
            News::Standing(standing) => self.receiver.handle_standing(standing),
            News::Proof(proof) => self.receiver.handle_proof(proof),
            News::Committed {
                epoch,
                offset,
                ledger,
            } => {
                self.settling = false;
                self.receiver.handle_committed(epoch, offset, ledger);
            }
            News::Void => self.receiver.handle_void(),
        }
    }

    /// The program stops: who has begun finishes, who has not comes back later.
    fn drain(&mut self) {
        self.drain_by = Some(Instant::now() + self.shared.drain);
        if self.stream.is_none() {
            return self
                .receiver
                .handle_refused(Code::Draining, "this listener goes away");
        }
        let after = u64::try_from(self.shared.drain.as_millis()).unwrap_or(u64::MAX);
        self.receiver.handle_drain(after);
    }

    fn time(&mut self) {
        let now = Instant::now();
        if self.drain_by.is_some_and(|by| now >= by) {
            self.receiver
                .handle_refused(Code::Draining, "this listener goes away");
        }
        let stuck = self.wire.stuck_since();
        if stuck.is_some_and(|at| now >= at + self.shared.frame_limit) {
            self.end = Some(End::Stuck {
                offset: self.offset,
            });
        }
        self.receiver.handle_timeout(now);
    }
}

/// Tells a peer no that was not let in.
pub(crate) async fn turn_away<IO>(io: IO, shared: Arc<Shared>, code: Code, detail: &str)
where
    IO: AsyncBufRead + AsyncWrite + Unpin,
{
    count(&shared.metrics.refusals, "code", code_name(code), 1);
    let detail = detail.to_owned();
    let refuse = Control::Refuse(Refuse { code, detail });
    let mut wire = Wire::new(io, shared);
    if let Ok(json) = refuse.encode() {
        wire.control(&json);
    }
    wire.close(CLOSE_LIMIT).await;
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Its sender lives as long as the program.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// As the protocol writes it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Revoked => "revoked",
        Code::NotEnrolled => "not-enrolled",
        Code::BadStream => "bad-stream",
        Code::Limit => "limit",
        Code::Version => "version",
        Code::Draining => "draining",
        Code::Superseded => "superseded",
        _ => "other",
    }
}

/// Answers that may wait for a peer that does not read, in bytes; then nothing more is taken from it.
const MAX_OUT: usize = 64 << 10;
/// What is read ahead while nothing may be taken, in bytes.
const MAX_HELD: usize = 16 << 10;
/// Longest time between two looks at what is due.
const MAX_WAIT: Duration = Duration::from_secs(60);
