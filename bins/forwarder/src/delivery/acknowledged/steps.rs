//! What the follower finds, as the sender is told of it.

use delivery::{GapCause, RollCause};
use tail::{Cause, Gap, Now, Roll, Span};

use super::*;

impl Session<'_> {
    /// Goes on with the read that the sender waits for. False: something has to be waited for first.
    pub(super) async fn advance(&mut self) -> Result<bool, Broken> {
        let Some(due) = self.read else {
            return Ok(false);
        };
        if self.stop_by.is_some() {
            self.tell(Step::Idle)?;
            return Ok(true);
        }
        self.retry_at.take_if(|at| *at <= Instant::now());
        if self.retry_at.is_some() || !self.talk.out.is_empty() {
            return Ok(false);
        }
        let batch = match self.batch.take() {
            Some(batch) => batch,
            None => match self.fetch(due).await? {
                Some(batch) => batch,
                None => return Ok(self.read.is_none()),
            },
        };
        self.settle(false).await?;
        if !self.link.remember().await? {
            // What is not stored is not named.
            return Ok(self.later(batch));
        }
        self.took(due, batch).await
    }

    /// The next batch of the file, if it is there already.
    async fn fetch(&mut self, due: Due) -> Result<Option<Batch>, Broken> {
        if self.flight.bytes() >= self.link.limits.window {
            return Ok(None);
        }
        if self.at != Some((due.epoch, due.from)) && !self.seek(due).await? {
            return Ok(None);
        }
        self.link.tailer.start(std::mem::take(&mut self.spare));
        Ok(self.link.tailer.take())
    }

    /// Puts the follower where the master wants us to go on.
    async fn seek(&mut self, due: Due) -> Result<bool, Broken> {
        let Due {
            epoch,
            from,
            max_line,
        } = due;
        self.link.tailer.recall().await?;
        let sought = self
            .link
            .tailer
            .with(move |follower| {
                follower.set_max_line(max_line.min(framing::MAX_FRAME));
                follower.seek(epoch, from)
            })
            .await?;
        match sought {
            Ok(true) => {
                self.at = Some((epoch, from));
                self.unsaved = true;
                Ok(true)
            }
            Ok(false) => {
                // The file was cut meanwhile; the next connection sees what it is now.
                self.tell(Step::Elsewhere)?;
                Ok(false)
            }
            Err(error) => {
                self.trouble(&error);
                Ok(false)
            }
        }
    }

    /// Tells the sender of a batch. False: later.
    async fn took(&mut self, due: Due, batch: Batch) -> Result<bool, Broken> {
        let step = match &batch.step {
            Ok(step) => *step,
            Err(error) => {
                self.trouble(error);
                self.spare = batch.frames;
                return Ok(false);
            }
        };
        self.link.relief();
        if !matches!(step, tail::Step::Idle(_)) {
            self.idle = None;
            self.link.disarm();
        }
        let (epoch, from) = match step {
            tail::Step::Lines(span) | tail::Step::Part(span) | tail::Step::Tail(span) => {
                (span.epoch, span.from)
            }
            tail::Step::Gap(gap) => (gap.epoch, gap.from),
            tail::Step::Roll(roll) => (roll.epoch, roll.end),
            tail::Step::Idle(wait) => {
                self.spare = batch.frames;
                return self.nothing(due, wait).await;
            }
        };
        if epoch != due.epoch {
            self.spare = batch.frames;
            return self.another(due, epoch).await;
        }
        if from != due.from {
            debug!(%epoch, offset = due.from, "the follower stands elsewhere: put back");
            self.at = None;
            self.spare = batch.frames;
            return Ok(true);
        }
        match step {
            tail::Step::Lines(span) => self.bytes(span, batch, false)?,
            tail::Step::Part(span) | tail::Step::Tail(span) => self.bytes(span, batch, true)?,
            tail::Step::Gap(gap) => return self.gap(gap, batch).await,
            tail::Step::Roll(roll) => {
                self.spare = batch.frames;
                let Roll {
                    seq,
                    end,
                    next,
                    cause,
                    lost,
                    ..
                } = roll;
                // Epochs in between may be over already, when this one was continued.
                let next = self.link.tailer.here()?.successor(epoch).unwrap_or(next);
                info!(%epoch, offset = end, cause = cause.as_str(), %next, "rotated");
                if !self.roll(next, cause, lost).await? {
                    return Ok(false);
                }
                self.flight.rolled(seq, epoch, end, next);
                self.link.board.metrics.rolls.inc();
            }
            tail::Step::Idle(_) => {}
        }
        Ok(true)
    }

    fn bytes(&mut self, span: Span, batch: Batch, piece: bool) -> Result<(), Broken> {
        let Span {
            seq,
            epoch,
            from,
            to,
        } = span;
        let metrics = &self.link.board.metrics;
        metrics.frames.inc_by(batch.count);
        metrics.blanks.inc_by(batch.blanks);
        metrics.parts.inc_by(u64::from(piece));
        self.flight.sent(seq, epoch, from, to);
        self.show_flight();
        self.at = Some((epoch, to));
        self.frames = batch.frames;
        let to = offset(to)?;
        self.tell(if piece {
            Step::Piece { to }
        } else {
            Step::Lines { to }
        })
    }

    /// Stores the gap's end, so that it stays one, and records it before the master hears of it.
    async fn gap(&mut self, gap: Gap, batch: Batch) -> Result<bool, Broken> {
        if !self.link.save().await? || !self.link.record(gap).await? {
            return Ok(self.later(batch));
        }
        self.spare = batch.frames;
        let Gap {
            seq,
            epoch,
            from,
            to,
            cause,
            ..
        } = gap;
        self.flight.sent(seq, epoch, from, to.unwrap_or(from));
        let Some(to) = to else {
            // How much is missing nobody knows: the end of the epoch tells, which comes next.
            return Ok(true);
        };
        self.at = Some((epoch, to));
        let (to, cause) = (offset(to)?, wire_cause(cause));
        self.tell(Step::Gap { to, cause })?;
        Ok(true)
    }

    /// The follower has something of another epoch than the connection is about.
    async fn another(&mut self, due: Due, epoch: tail::EpochId) -> Result<bool, Broken> {
        let follower = self.link.tailer.here()?;
        let (here, there) = (follower.place(due.epoch), follower.place(epoch));
        match (here, there) {
            (Some(here), Some(there)) if there > here => self.roll_on(due).await,
            _ => {
                debug!(%epoch, "an earlier file has grown");
                self.link.elsewhere = Some(epoch);
                self.tell(Step::Elsewhere)?;
                Ok(true)
            }
        }
    }

    /// Nothing to read: rest, unless the connection's epoch was over before it was continued.
    async fn nothing(&mut self, due: Due, wait: Duration) -> Result<bool, Broken> {
        self.link.stand()?;
        let follower = self.link.tailer.here()?;
        if follower.strangers() > 0 {
            // They have to be asked about first, on another connection.
            self.tell(Step::Elsewhere)?;
            return Ok(true);
        }
        if follower
            .current_epoch()
            .is_some_and(|current| current != due.epoch)
        {
            let current = follower.current_epoch().unwrap_or(due.epoch);
            return self.another(due, current).await;
        }
        self.tell(Step::Idle)?;
        self.rest(wait);
        Ok(true)
    }

    /// From an epoch that is over, and was not rolled by the follower now, to the next one.
    async fn roll_on(&mut self, due: Due) -> Result<bool, Broken> {
        let epoch = due.epoch;
        let found = self
            .link
            .tailer
            .with(move |follower| {
                Ok((
                    follower.successor(epoch),
                    follower.offer(epoch, Now::system())?,
                ))
            })
            .await?;
        match found {
            Ok((Some(next), Some(offer))) => {
                let cause = offer.cause.unwrap_or(tail::RollCause::Rotated);
                self.roll(next, cause, Some(0)).await
            }
            Ok(_) => {
                self.tell(Step::Elsewhere)?;
                Ok(true)
            }
            Err(error) => {
                let error: tail::TailError = error;
                self.trouble(&error);
                Ok(false)
            }
        }
    }

    async fn roll(
        &mut self,
        next: tail::EpochId,
        cause: tail::RollCause,
        lost: Option<u64>,
    ) -> Result<bool, Broken> {
        let offered = self
            .link
            .tailer
            .with(move |follower| follower.offer(next, Now::system()))
            .await?;
        let offer = match offered {
            Ok(Some(offer)) => offer,
            Ok(None) => {
                self.tell(Step::Elsewhere)?;
                return Ok(true);
            }
            Err(error) => {
                self.trouble(&error);
                return Ok(false);
            }
        };
        self.at = None;
        self.tell(Step::Roll {
            next: theirs(next),
            from: offset(offer.from)?,
            size: offset(offer.size)?,
            of: offer.of.map(theirs),
            base: base(&offer)?,
            cause: match cause {
                tail::RollCause::Rotated => RollCause::Rotated,
                tail::RollCause::Truncated => RollCause::Truncated,
                tail::RollCause::Gone => RollCause::Gone,
            },
            lost,
        })?;
        Ok(true)
    }

    /// Answers the sender's read.
    fn tell(&mut self, step: Step) -> Result<(), Broken> {
        self.read = None;
        self.retry_at = None;
        self.sender
            .handle_step(step, Instant::now())
            .map_err(|error| Broken::Us(anyhow::Error::from(error).context(format!("{step:?}"))))
    }

    fn later(&mut self, batch: Batch) -> bool {
        self.batch = Some(batch);
        self.retry_at = Some(Instant::now() + PAUSE);
        false
    }

    fn trouble(&mut self, error: &tail::TailError) {
        self.link.trouble(error);
        self.retry_at = Some(Instant::now() + PAUSE);
    }
}

fn wire_cause(cause: Cause) -> GapCause {
    match cause {
        Cause::LagCap => GapCause::LagCap,
        Cause::Imported => GapCause::Imported,
        Cause::Unreadable => GapCause::Unreadable,
        _ => GapCause::RotatedAway,
    }
}
