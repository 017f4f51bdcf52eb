//! How a session begins and ends.

use delivery::Acked;
use delivery::sender::Source;
use tail::Now;

use super::*;
use crate::delivery::code;

/// What the connection begins with; in the inner error: why it can't.
pub(super) async fn source(link: &mut Link) -> anyhow::Result<Result<Source, String>> {
    let elsewhere = link.elsewhere.take();
    let offered = link
        .tailer
        .with(move |follower| {
            let grown = elsewhere.filter(|epoch| follower.place(*epoch).is_some());
            match grown.or(follower.current_epoch()) {
                Some(epoch) => follower.offer(epoch, Now::system()),
                None => Ok(None),
            }
        })
        .await?;
    let offer = match offered {
        Ok(Some(offer)) => offer,
        Ok(None) => return Ok(Err("there is no file yet".to_owned())),
        Err(error) => {
            link.trouble(&error);
            return Ok(Err(error.to_string()));
        }
    };
    let acked = link.stored.of(offer.epoch).filter_map(|acked| {
        Some(Acked {
            archive: acked.archive.parse().ok()?,
            offset: Offset::new(acked.offset).ok()?,
        })
    });
    Ok(Ok(Source {
        stream: link.name.clone(),
        epoch: Some(theirs(offer.epoch)),
        after: offer.after.map(theirs),
        from: offset(offer.from)?,
        size: offset(offer.size)?,
        acked: acked.collect(),
        of: offer.of.map(theirs),
        base: base(&offer)?,
        common: Offset::ZERO,
    }))
}

impl Session<'_> {
    /// Takes leave in the way that fits the end, and puts the follower where the next connection begins.
    pub(super) async fn end(mut self, ended: Result<Ended, Broken>) -> anyhow::Result<End> {
        self.link.disarm();
        self.link.tailer.recall().await?;
        let outcome = match ended {
            Err(Broken::Us(error)) => return Err(error),
            Err(Broken::Connection(why)) => {
                self.talk.problem = Some(why);
                None
            }
            Ok(Ended::Cut) => None,
            Ok(Ended::Orderly(outcome)) => Some(outcome),
        };
        if let Some(outcome) = &outcome {
            if outcome.why == Why::Elsewhere {
                self.flight.confirm_all();
            }
            if let Why::Branch { of, base } = outcome.why {
                self.contest(of, base)?;
            }
            if let Why::Unproved(doubts) = &outcome.why {
                self.link.doubts = doubts.clone();
            }
            if let Why::Refused(refuse) = &outcome.why {
                self.link.board.metrics.refused(&code(refuse.code));
            }
        }
        if let Err(Broken::Us(error)) = self.settle(true).await {
            return Err(error);
        }
        self.link.tailer.here()?.rewind();
        let unacknowledged = self.flight.bytes();
        self.link.board.metrics.unacknowledged.set(0);
        let problem = self.talk.problem.clone();
        let late = matches!(
            outcome.as_ref().map(|outcome| &outcome.why),
            Some(Why::Violation(_) | Why::Late(_) | Why::Broken)
        );
        if !late {
            let drain = self.link.limits.drain;
            let end = self.link.patience.wait(self.talk.farewell(drain)).await;
            debug!(orderly = end == PeerEnd::Orderly, "connection ended");
        }
        match outcome {
            _ if self.stop_by.is_some() => {
                if unacknowledged > 0 {
                    warn!(
                        bytes = unacknowledged,
                        "not acknowledged at the stop: sent again at the next start"
                    );
                }
                Ok(End::Stopped)
            }
            None => Ok(End::lost(problem.unwrap_or_default(), false)),
            Some(outcome) => Ok(End::Lost {
                why: format!("{}: {}", self.master, words(&outcome.why, problem)),
                outcome,
            }),
        }
    }

    /// The file is another one than the master's, from `base` on. Masters are asked whether it has a name, before it is
    /// given one.
    fn contest(&mut self, of: Option<EpochId>, base: Offset) -> anyhow::Result<()> {
        let Some(epoch) = self.sender.epoch().map(ours) else {
            return Ok(());
        };
        let (of, base) = (of.map(ours), base.get());
        warn!(%epoch, offset = base, "the file is not what the master holds");
        self.link.tailer.here()?.contest(epoch, of, base);
        Ok(())
    }
}
