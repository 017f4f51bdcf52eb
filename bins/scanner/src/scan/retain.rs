//! Events that are over a limit go, a few with each turn of the loop.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tracing::warn;

use super::{Scan, wall_ms};
use crate::metrics::RemovedLabel;
use crate::store::REMOVED_AT_ONCE;

impl Scan {
    /// Removes events that are over a limit, a few at a time.
    pub(super) async fn retain(&mut self) {
        if self.retained.elapsed() < RETAIN {
            return;
        }
        let max_age = i64::try_from(self.retention.max_age.as_millis()).unwrap_or(i64::MAX);
        let before = wall_ms().cast_signed().saturating_sub(max_age);
        let most = i64::try_from(self.retention.max_events).unwrap_or(i64::MAX);
        let needed = self.parts.needed.load(Ordering::Acquire);
        match self.parts.store.retain(before, most, needed).await {
            Ok((removed, unread)) => {
                let count = |unread, by| {
                    self.parts
                        .metrics
                        .removed
                        .get_or_create(&RemovedLabel { unread })
                        .inc_by(by);
                };
                count("false", removed - unread);
                count("true", unread);
                // As long as there is more, with every turn.
                if removed < REMOVED_AT_ONCE.unsigned_abs() {
                    self.retained = Instant::now();
                }
            }
            Err(error) => {
                warn!(
                    error = format!("{:#}", anyhow::Error::new(error)),
                    "old events can't be removed"
                );
                self.retained = Instant::now();
            }
        }
    }
}

/// How often retention has its turn.
const RETAIN: Duration = Duration::from_secs(10);
