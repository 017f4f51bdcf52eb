//! Acknowledged delivery (docs/wire.md): the master says where to go on, and what is durable. A [`Sender`] decides; here
//! is what it decides about, and the waiting.
//!
//! One batch is read while the one before is written. What the master says is heard all the time, also while it takes
//! nothing. The file is the buffer: what was sent and is not acknowledged costs a few words a batch.

use std::time::{Duration, Instant};

use delivery::sender::{Action, Outcome, Sender, SenderLimits, Step, Why};
use delivery::{EpochId, Hash, Offset};
use tail::Offer;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::ask::sleep_until;
use super::idle::{Idle, Rest};
use super::talk::{Moved, Talk, offset, ours, theirs};
use super::{AGENT, Broken, End, words};
use crate::connection::Connection;
use crate::connection::PeerEnd;
use crate::link::{self, Link};
use crate::status::Mode;
use crate::tailer::{Batch, OBSERVE};

mod ends;
mod flight;
mod steps;

use ends::source;
use flight::Flight;

/// The pause after a read or a write of ours that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Delivers until the connection ends or `stop` says so.
///
/// # Errors
/// Only what no other connection would mend.
pub(crate) async fn deliver(
    link: &mut Link,
    connection: Connection,
    master: &str,
    stop: &mut watch::Receiver<bool>,
) -> anyhow::Result<End> {
    // An epoch is stored before the first message that names it.
    if !link.remember().await? {
        return Ok(End::lost("the state can't be stored".to_owned(), false));
    }
    let source = match source(link).await? {
        Ok(source) => source,
        Err(why) => return Ok(End::lost(why, false)),
    };
    let limits = SenderLimits {
        answer: link.limits.answer,
        ack: link.limits.answer,
        beat: link.limits.beat,
        batch: link.limits.batch as u64,
        ..SenderLimits::default()
    };
    let now = Instant::now();
    let mut session = Session {
        sender: Sender::new(limits, AGENT, source, now).with_doubts(link.doubts.clone()),
        talk: Talk::new(connection),
        master: master.to_owned(),
        up: false,
        flight: Flight::default(),
        read: None,
        at: None,
        batch: None,
        frames: Vec::new(),
        spare: Vec::new(),
        idle: None,
        wake_at: None,
        deaf_until: None,
        retry_at: None,
        observe_at: now + OBSERVE,
        saved_at: now,
        unsaved: false,
        stop_by: None,
        link,
    };
    let ended = session.run(stop).await;
    session.end(ended).await
}

fn base(offer: &Offer) -> anyhow::Result<Option<Offset>> {
    (offer.base > 0).then(|| offset(offer.base)).transpose()
}

struct Session<'a> {
    link: &'a mut Link,
    sender: Sender,
    talk: Talk,
    master: String,
    /// The master has said where to resume.
    up: bool,
    flight: Flight,
    /// What the sender wants to be read.
    read: Option<Due>,
    /// Where the follower stands, if this connection has put it there.
    at: Option<(tail::EpochId, u64)>,
    /// What was read and could not be dealt with yet.
    batch: Option<Batch>,
    /// The frames of the step that the sender has just taken.
    frames: Vec<u8>,
    spare: Vec<u8>,
    idle: Option<Idle>,
    /// When to look at the file again.
    wake_at: Option<Instant>,
    /// Until then the watch is not listened to.
    deaf_until: Option<Instant>,
    /// When to try again what failed.
    retry_at: Option<Instant>,
    observe_at: Instant,
    saved_at: Instant,
    /// Something is confirmed that is not stored.
    unsaved: bool,
    /// Told to stop: the end of our patience.
    stop_by: Option<Instant>,
}

/// A read that the sender waits for.
#[derive(Debug, Clone, Copy)]
struct Due {
    epoch: tail::EpochId,
    from: u64,
    max_line: u32,
}

/// How a session ended.
enum Ended {
    Orderly(Outcome),
    /// Told to stop, and the master took too long.
    Cut,
}

enum Event {
    Stop,
    Moved(Moved),
    Home(anyhow::Result<()>),
    Changed,
    Time,
}

impl Session<'_> {
    async fn run(&mut self, stop: &mut watch::Receiver<bool>) -> Result<Ended, Broken> {
        loop {
            while let Some(action) = self.sender.poll_action() {
                if let Action::End(outcome) = action {
                    return Ok(Ended::Orderly(outcome));
                }
                self.act(action).await?;
            }
            if self.advance().await? {
                continue;
            }
            self.settle(false).await?;
            let event = self.wait(stop).await;
            if self.apply(event).await? {
                return Ok(Ended::Cut);
            }
        }
    }

    async fn act(&mut self, action: Action) -> Result<(), Broken> {
        match action {
            Action::Control(control) => self.talk.say(&control)?,
            Action::Beat => {
                let beat = self.link.beat();
                self.talk.say(&beat)?;
            }
            Action::Data { from, to, .. } => {
                self.link.board.metrics.sent.inc_by(to.since(from));
                let frames = std::mem::take(&mut self.frames);
                self.spare = self.talk.out.frames(frames);
                self.read_ahead();
            }
            Action::Read {
                epoch,
                from,
                max_line,
                ..
            } => {
                self.up();
                self.read = Some(Due {
                    epoch: ours(epoch),
                    from: from.get(),
                    max_line,
                });
            }
            Action::Hash { epoch, from, to } => {
                let hash = self.hash(epoch, from, to).await?;
                self.sender.handle_hash(hash, Instant::now());
            }
            Action::LineStart { epoch, at } => {
                let epoch = epoch.or(self.sender.epoch()).map(ours);
                let find = move |follower: &mut tail::Follower| match epoch {
                    Some(epoch) => follower.line_start(epoch, at.get()),
                    None => Ok(None),
                };
                let start = self.link.tailer.with(find).await?.unwrap_or_else(|error| {
                    self.link.trouble(&error);
                    None
                });
                let start = start.map(offset).transpose()?;
                self.sender.handle_line_start(start);
            }
            Action::Confirm {
                archive,
                epoch,
                offset,
                ..
            } => {
                let epoch = ours(epoch);
                self.link
                    .stored
                    .acknowledged(archive.to_string(), epoch, offset.get());
                self.link.board.acknowledged(epoch, offset.get());
                self.flight.confirm(epoch, offset.get());
                self.show_flight();
                self.unsaved = true;
            }
            // Only a hello without an epoch leads to it.
            Action::Adopt(_) => {}
            Action::End(_) => {}
        }
        Ok(())
    }

    /// Connected is who was told where to resume: a TLS 1.3 handshake ends before the master has judged our certificate.
    fn up(&mut self) {
        if !std::mem::replace(&mut self.up, true) {
            info!(
                server.addr = self.master,
                mode = "acknowledged",
                "connected"
            );
            self.link.up(self.master.clone(), Mode::Acknowledged);
        }
    }

    async fn hash(
        &mut self,
        epoch: Option<EpochId>,
        from: Offset,
        to: Offset,
    ) -> anyhow::Result<Option<Hash>> {
        let Some(epoch) = epoch.map(ours) else {
            return Ok(None);
        };
        let len = u32::try_from(to.since(from)).unwrap_or(u32::MAX);
        let read = move |follower: &mut tail::Follower| follower.bytes(epoch, to.get(), len);
        let bytes = self.link.tailer.with(read).await?.unwrap_or_else(|error| {
            self.link.trouble(&error);
            None
        });
        Ok(bytes.map(|bytes| Hash::of(&bytes)))
    }

    /// Confirms to the follower what was acknowledged, and stores it now and then: what is behind is sent again at most.
    async fn settle(&mut self, now: bool) -> Result<(), Broken> {
        if !self.link.tailer.is_home() {
            return Ok(());
        }
        if let Some(seq) = self.flight.take_confirmed() {
            self.link.tailer.here()?.confirm(seq);
        }
        if self.unsaved && (now || self.saved_at.elapsed() >= self.link.limits.commit) {
            self.saved_at = Instant::now();
            self.unsaved = !self.link.save().await?;
            self.link.stand()?;
        }
        Ok(())
    }

    /// Waits for whatever comes first.
    async fn wait(&mut self, stop: &mut watch::Receiver<bool>) -> Event {
        let now = Instant::now();
        let store = self
            .unsaved
            .then_some(self.saved_at + self.link.limits.commit)
            .filter(|_| self.link.tailer.is_home());
        let due = [
            self.sender.poll_timeout(),
            self.wake_at,
            self.retry_at,
            self.stop_by,
            store,
            Some(self.observe_at),
        ];
        let until = due.into_iter().flatten().min();
        let wanted = self.read.is_some() && self.talk.out.is_empty() && !self.link.tailer.is_home();
        let listen = self.wake_at.is_some()
            && self.idle.is_some()
            && self.deaf_until.is_none_or(|until| now >= until);
        let stopping = self.stop_by.is_some();
        let Link {
            tailer,
            watch,
            patience,
            ..
        } = &mut *self.link;
        let talk = &mut self.talk;
        patience
            .wait(async {
                tokio::select! {
                    biased;
                    _ = stop.wait_for(|stop| *stop), if !stopping => Event::Stop,
                    moved = talk.exchange() => Event::Moved(moved),
                    home = tailer.arrive(), if wanted => Event::Home(home),
                    () = link::changed(watch), if listen => Event::Changed,
                    () = sleep_until(until) => Event::Time,
                }
            })
            .await
    }

    /// True: our patience at a stop is over.
    async fn apply(&mut self, event: Event) -> Result<bool, Broken> {
        match event {
            Event::Stop => {
                self.stop_by = Some(Instant::now() + self.link.limits.drain);
                self.sender.handle_stop();
            }
            Event::Moved(moved) => self.talk.hear(moved, &mut self.sender),
            Event::Home(home) => home?,
            Event::Changed => self.wake(),
            Event::Time => {}
        }
        let now = Instant::now();
        self.sender.handle_timeout(now);
        if self.wake_at.is_some_and(|at| now >= at) {
            self.wake();
        }
        if now >= self.observe_at {
            self.observe_at = now + OBSERVE;
            // What is rotated while nothing is read must be held on to.
            if self.link.tailer.is_home() {
                self.link.observe().await?;
            }
        }
        Ok(self.stop_by.is_some_and(|by| now >= by))
    }

    fn show_flight(&self) {
        let bytes = i64::try_from(self.flight.bytes()).unwrap_or(i64::MAX);
        self.link.board.metrics.unacknowledged.set(bytes);
    }

    /// There may be something to read again.
    fn wake(&mut self) {
        self.wake_at = None;
        self.deaf_until = None;
        self.sender.handle_more();
    }

    /// Nothing to read for now.
    fn rest(&mut self, wait: Duration) {
        let now = Instant::now();
        let rest = self.idle.get_or_insert_with(|| Idle::new(now)).rest(now);
        match rest {
            Rest::Nap(nap) => self.wake_at = Some(now + nap.min(wait)),
            // Armed just now: what came before is not reported.
            Rest::Watch { .. } if self.link.arm() => self.wake_at = Some(now),
            Rest::Watch { deaf } => {
                self.deaf_until = Some(now + deaf);
                self.wake_at = Some(now + if deaf.is_zero() { wait } else { deaf });
            }
        }
    }

    /// Sends the follower for the next batch, while this one is written.
    fn read_ahead(&mut self) {
        if self.stop_by.is_none() && self.flight.bytes() < self.link.limits.window {
            self.link.tailer.start(std::mem::take(&mut self.spare));
        }
    }
}
