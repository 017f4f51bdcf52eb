//! How to wait when a file has nothing new: look again soon while it is warm, then let the watch wake us.

use std::time::{Duration, Instant};

/// First and longest pause between two looks at a file that is still warm.
const NAP: Duration = Duration::from_millis(2);
pub(super) const LONGEST_NAP: Duration = Duration::from_millis(50);
/// A file without news for so long is watched instead of looked at.
const WARM: Duration = Duration::from_millis(200);

/// Since when there has been nothing to read.
#[derive(Debug)]
pub(super) struct Idle {
    since: Instant,
    nap: Duration,
    looked: Instant,
}

/// How to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// So long.
    Nap(Duration),
    /// Until the watch reports; `deaf` first. A writer of small pieces must not keep us reading its unfinished line.
    Watch {
        /// For so long the watch is not listened to.
        deaf: Duration,
    },
}

impl Idle {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            nap: NAP,
            looked: now,
        }
    }

    /// After a look that found nothing.
    pub(super) fn rest(&mut self, now: Instant) -> Rest {
        let nap = self.nap;
        let early = LONGEST_NAP.saturating_sub(now.duration_since(self.looked));
        self.looked = now;
        self.nap = (nap * 2).min(LONGEST_NAP);
        if now.duration_since(self.since) < WARM {
            return Rest::Nap(nap);
        }
        // The first look of all was not woken.
        let deaf = if early < LONGEST_NAP {
            early
        } else {
            Duration::ZERO
        };
        Rest::Watch { deaf }
    }
}
