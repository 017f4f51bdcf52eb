//! Plain RFC 5425: lines as frames to whoever takes them. There is no acknowledgement, so a batch counts
//! as delivered when the peer's TCP has all of its bytes, the peer has had time to refuse our certificate, and nothing
//! has been heard of an end. What is behind that is sent again on the next connection.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::{Duration, Instant};

use tail::{Gap, Roll, Span, Step};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::idle::{Idle, LONGEST_NAP, Rest};
use super::{Broken, End};
use crate::connection::{Connection, PeerEnd};
use crate::link::Link;
use crate::tailer::{Batch, OBSERVE};

/// The pause after a read that failed.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// Delivers until the connection breaks or `stop` says so.
///
/// # Errors
/// Only what no other connection would mend.
pub(crate) async fn deliver(
    link: &mut Link,
    connection: Connection,
    stop: &mut watch::Receiver<bool>,
) -> anyhow::Result<End> {
    let mut session = Session {
        link,
        connection,
        flight: VecDeque::new(),
        spare: Vec::new(),
        settled_at: Instant::now(),
        idle: None,
        progress: false,
    };
    let end = session.run(stop).await;
    session.link.disarm();
    match end {
        Ok(Verdict::Stop) => {
            session.farewell().await?;
            Ok(End::Stopped)
        }
        // In mid-frame there is no orderly end.
        Ok(Verdict::Cut) => Ok(End::Stopped),
        Err(Broken::Connection(why)) => Ok(End::lost(why, session.progress)),
        Err(Broken::Us(error)) => Err(error),
    }
}

struct Session<'a> {
    link: &'a mut Link,
    connection: Connection,
    /// Sent and not known to be delivered, oldest first. Bounded by the follower (4,096 steps).
    flight: VecDeque<Sent>,
    spare: Vec<u8>,
    settled_at: Instant,
    idle: Option<Idle>,
    progress: bool,
}

/// A step that was handed to the kernel.
struct Sent {
    seq: u64,
    /// The connection's byte count behind it.
    wire: u64,
    at: Instant,
}

enum Verdict {
    Stop,
    Cut,
}

impl Session<'_> {
    async fn run(&mut self, stop: &mut watch::Receiver<bool>) -> Result<Verdict, Broken> {
        loop {
            self.link.tailer.start(std::mem::take(&mut self.spare));
            let batch = self.link.patience.wait(self.link.tailer.finish()).await?;
            if *stop.borrow() {
                return Ok(Verdict::Stop);
            }
            self.connection.healthy().await?;
            self.link.remember().await?;
            if batch.step.is_ok() {
                self.link.relief();
            }
            if !matches!(batch.step, Ok(Step::Idle(_))) {
                self.idle = None;
                self.link.disarm();
            }
            if self.settled_at.elapsed() >= self.link.limits.commit {
                self.settle().await?;
            }
            match &batch.step {
                Ok(Step::Lines(span) | Step::Part(span) | Step::Tail(span)) => {
                    let span = *span;
                    if !self.send(span, batch, stop).await? {
                        return Ok(Verdict::Cut);
                    }
                }
                Ok(Step::Roll(roll)) => self.roll(*roll),
                Ok(Step::Gap(gap)) => {
                    let gap = *gap;
                    if !self.gap(gap, stop).await? {
                        return Ok(Verdict::Stop);
                    }
                }
                Ok(Step::Idle(wait)) => self.pause(*wait, stop).await?,
                Err(error) => {
                    self.link.trouble(error);
                    self.rest(READ_PAUSE, stop).await?;
                }
            }
        }
    }

    /// Sends a batch, while the next one is read. False: told to stop, and the peer would not take the rest in time.
    async fn send(
        &mut self,
        span: Span,
        mut batch: Batch,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<bool, Broken> {
        if matches!(batch.step, Ok(Step::Part(_))) {
            self.link.board.metrics.parts.inc();
        }
        if !batch.frames.is_empty() {
            self.link.tailer.start(std::mem::take(&mut self.spare));
            if !self.write(&batch.frames, stop).await? {
                return Ok(false);
            }
        }
        self.took(span.seq);
        let metrics = &self.link.board.metrics;
        metrics.sent.inc_by(span.to - span.from);
        metrics.frames.inc_by(batch.count);
        metrics.blanks.inc_by(batch.blanks);
        batch.frames.clear();
        self.spare = batch.frames;
        Ok(true)
    }

    /// Writes all of it, however long the peer takes; the file is looked at meanwhile, since it may be rotated. False:
    /// told to stop, and the peer would not take the rest in time.
    async fn write(
        &mut self,
        frames: &[u8],
        stop: &mut watch::Receiver<bool>,
    ) -> Result<bool, Broken> {
        let mut until = None;
        let mut send = pin!(self.connection.send(frames));
        loop {
            let nap = match until {
                None => OBSERVE,
                Some(until) => Instant::saturating_duration_since(&until, Instant::now()),
            };
            tokio::select! {
                biased;
                sent = &mut send => {
                    sent?;
                    return Ok(true);
                }
                () = stopped(stop), if until.is_none() => {
                    until = Some(Instant::now() + self.link.limits.drain);
                }
                () = tokio::time::sleep(nap) => {
                    if until.is_some() {
                        return Ok(false);
                    }
                    self.link.observe().await?;
                }
            }
        }
    }

    fn took(&mut self, seq: u64) {
        self.flight.push_back(Sent {
            seq,
            wire: self.connection.written(),
            at: Instant::now(),
        });
    }

    fn roll(&mut self, roll: Roll) {
        self.link.board.metrics.rolls.inc();
        info!(epoch = %roll.epoch, offset = roll.end, cause = roll.cause.as_str(), next = %roll.next, "rotated");
        self.took(roll.seq);
    }

    /// Records a gap, once everything before it is delivered. False: told to stop meanwhile.
    async fn gap(&mut self, gap: Gap, stop: &mut watch::Receiver<bool>) -> Result<bool, Broken> {
        while !self.flight.is_empty() {
            self.settle().await?;
            if !self.flight.is_empty() {
                self.rest(LONGEST_NAP, stop).await?;
            }
            if *stop.borrow() {
                return Ok(false);
            }
        }
        while !self.link.record(gap).await? {
            self.rest(READ_PAUSE, stop).await?;
            if *stop.borrow() {
                return Ok(false);
            }
        }
        self.link.confirm(gap.seq).await?;
        Ok(true)
    }

    /// Takes as delivered what the peer's TCP has, and stores it. The follower must be at home.
    async fn settle(&mut self) -> Result<(), Broken> {
        self.settled_at = Instant::now();
        if self.flight.is_empty() || self.connection.verdict_due(&self.link.limits).is_some() {
            self.link.stand()?;
            return Ok(());
        }
        let acknowledged = self.connection.acknowledged().await;
        let outlived = self.connection.outlived();
        // What the peer said meanwhile counts first.
        self.connection.healthy().await?;
        let mut confirmed = None;
        while let Some(sent) = self.flight.front()
            && (sent.wire <= acknowledged || outlived.is_some_and(|time| sent.at < time))
        {
            confirmed = Some(sent.seq);
            self.flight.pop_front();
        }
        if let Some(seq) = confirmed {
            self.progress = true;
            self.link.confirm(seq).await?;
        }
        self.link.stand()?;
        Ok(())
    }

    /// Nothing to read: look again soon while the file is warm, then let the watch wake us.
    async fn pause(
        &mut self,
        wait: Duration,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), Broken> {
        let now = Instant::now();
        let rest = self.idle.get_or_insert_with(|| Idle::new(now)).rest(now);
        if !self.flight.is_empty() {
            self.settle().await?;
        } else {
            self.link.stand()?;
        }
        let deaf = match rest {
            Rest::Nap(nap) => return self.rest(nap.min(wait), stop).await,
            Rest::Watch { deaf } => deaf,
        };
        if self.link.arm() {
            // Armed just now: what came before is not reported.
            return Ok(());
        }
        if !deaf.is_zero() {
            self.link.patience.wait(tokio::time::sleep(deaf)).await;
        }
        let mut wait = wait;
        if let Some(until) = self.connection.verdict_due(&self.link.limits)
            && !self.flight.is_empty()
        {
            wait = wait.min(until.saturating_duration_since(Instant::now()));
        }
        self.rest(wait, stop).await
    }

    /// Waits for time, file, peer or stop, whichever comes first.
    async fn rest(
        &mut self,
        time: Duration,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), Broken> {
        let Self {
            link, connection, ..
        } = self;
        let waiting = async {
            tokio::select! {
                biased;
                () = stopped(stop) => Ok(()),
                problem = connection.peer_gone() => Err(problem),
                () = link.changed() => Ok(()),
                () = tokio::time::sleep(time) => Ok(()),
            }
        };
        Ok(link.patience.wait(waiting).await?)
    }

    /// Ends the connection in order; if the peer does the same it has read everything.
    async fn farewell(mut self) -> anyhow::Result<()> {
        self.link.tailer.recall().await?;
        let sound = match self.settle().await {
            Ok(()) => self.connection.healthy().await.is_ok(),
            Err(Broken::Connection(_)) => false,
            Err(Broken::Us(error)) => return Err(error),
        };
        let drain = self.link.limits.drain;
        let end = self.link.patience.wait(self.connection.close(drain)).await;
        // An end that came before ours says nothing of what was read.
        let end = if sound { end } else { PeerEnd::Abrupt };
        match (end, self.flight.back()) {
            (PeerEnd::Orderly, Some(last)) => {
                let seq = last.seq;
                self.link.confirm(seq).await?;
            }
            (PeerEnd::Orderly, None) => {}
            (PeerEnd::Abrupt, _) => warn!(
                unconfirmed = self.flight.len(),
                "the master did not end the connection in order"
            ),
        }
        self.link.stand()?;
        debug!("connection ended");
        Ok(())
    }
}

/// Waits for the stop. Cancel safe.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that whoever would tell us is gone: that is a stop too.
    let _ = stop.wait_for(|stop| *stop).await;
}
