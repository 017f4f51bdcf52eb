//! What was handed to a sender and is not acknowledged.

use std::collections::VecDeque;

use tail::EpochId;

/// Steps of the follower, oldest first. Bounded by the follower (4,096 steps) and the window.
#[derive(Debug, Default)]
pub(super) struct Flight {
    steps: VecDeque<Step>,
    bytes: u64,
    /// What is acknowledged of each epoch of this connection, the latest last.
    acked: Vec<(EpochId, u64)>,
    confirmed: Option<u64>,
}

#[derive(Debug)]
struct Step {
    seq: u64,
    epoch: EpochId,
    /// Acknowledged when the epoch is to here.
    to: u64,
    len: u64,
    /// And when the next epoch is heard of.
    next: Option<EpochId>,
}

impl Flight {
    /// Bytes that are sent and not acknowledged.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes, or a gap, up to `to` were sent.
    pub(super) fn sent(&mut self, seq: u64, epoch: EpochId, from: u64, to: u64) {
        self.bytes += to - from;
        self.steps.push_back(Step {
            seq,
            epoch,
            to,
            len: to - from,
            next: None,
        });
    }

    /// The end of an epoch was told.
    pub(super) fn rolled(&mut self, seq: u64, epoch: EpochId, end: u64, next: EpochId) {
        self.steps.push_back(Step {
            seq,
            epoch,
            to: end,
            len: 0,
            next: Some(next),
        });
    }

    /// Everything of `epoch` below `offset` is durable.
    pub(super) fn confirm(&mut self, epoch: EpochId, offset: u64) {
        match self.acked.iter_mut().find(|(known, _)| *known == epoch) {
            Some((_, acked)) => *acked = offset.max(*acked),
            None => self.acked.push((epoch, offset)),
        }
        let to = |epoch: EpochId| {
            let found = self.acked.iter().find(|(known, _)| *known == epoch);
            found.map(|(_, acked)| *acked)
        };
        while let Some(step) = self.steps.front()
            && to(step.epoch).is_some_and(|acked| acked >= step.to)
            && step.next.is_none_or(|next| to(next).is_some())
        {
            self.confirmed = Some(step.seq);
            self.bytes -= step.len;
            self.steps.pop_front();
        }
        // Of epochs that are over nothing more is heard.
        if self.acked.len() > MAX_ACKED
            && let Some(first) = self.steps.front().map(|step| step.epoch)
            && let Some(at) = self.acked.iter().position(|(known, _)| *known == first)
        {
            self.acked.drain(..at);
        }
    }

    /// Everything is: the connection was ended in order.
    pub(super) fn confirm_all(&mut self) {
        if let Some(last) = self.steps.back() {
            self.confirmed = Some(last.seq);
        }
        self.steps.clear();
        self.bytes = 0;
    }

    /// The last step that is acknowledged, with all before it, once.
    pub(super) fn take_confirmed(&mut self) -> Option<u64> {
        self.confirmed.take()
    }
}

/// Epochs of one connection whose acknowledgements are remembered: a sender has at most 64 that are over.
const MAX_ACKED: usize = 128;
