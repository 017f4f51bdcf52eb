//! What an engine is allowed, what comes out of it, and what it counts.

use std::{sync::Arc, time::Duration};

use crate::{Capture, Origin, Rule};

/// What an engine may hold and let pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Octets of a line that are matched: what is behind them is not looked at.
    pub max_line: usize,
    /// Cooldowns and counts of what was held back that are remembered at once.
    pub max_keys: usize,
    /// Containers whose buckets are remembered at once. A full bucket needs no place.
    pub max_containers: usize,
    /// Events that one container may cause at once.
    pub burst: u32,
    /// After which time a container may cause one more.
    pub refill: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_line: 64 << 10,
            max_keys: 100_000,
            max_containers: 10_000,
            burst: 20,
            refill: Duration::from_secs(3),
        }
    }
}

/// What comes out of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A line matched, and nothing held it back.
    Hit(Hit),
    /// What was held back, of a key that has gone quiet or is forgotten.
    Summary(Summary),
}

/// One line that matched one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The rule.
    pub rule: Arc<Rule>,
    /// Where the rule comes from.
    pub origin: Origin,
    /// Where in what the rule looks at it matched, in octets.
    pub span: std::ops::Range<usize>,
    /// The groups that took part.
    pub captures: Vec<Capture>,
    /// Hits of the same key held back by the cooldown since its last event.
    pub suppressed_cooldown: u64,
    /// Hits of the rule in the container held back by its bucket since the last event.
    pub suppressed_rate: u64,
}

/// What was held back and has not been told by a hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// [`Rule::id`] of the rule.
    pub rule_id: String,
    /// The rule, unless it is gone since the state was stored.
    pub rule: Option<Arc<Rule>>,
    /// The workload of the last event or hit held back.
    pub workload: Arc<str>,
    /// Its container.
    pub container: Arc<str>,
    /// What the group of `cooldown_scope = "capture:GROUP"` matched.
    pub capture: Option<String>,
    /// Hits held back by the cooldown.
    pub suppressed_cooldown: u64,
    /// Hits held back by the container's bucket.
    pub suppressed_rate: u64,
}

/// What an engine has done since it was made. `matched = emitted + dropped_cooldown + dropped_rate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Lines scanned.
    pub lines: u64,
    /// Their octets.
    pub bytes: u64,
    /// Lines longer than is matched.
    pub oversized: u64,
    /// Octets given to patterns one by one: more than a few a line means a rule that the pre-filter can't help.
    pub searched_bytes: u64,
    /// Hits, held back or not.
    pub matched: u64,
    /// Hits that became events.
    pub emitted: u64,
    /// Hits held back by a cooldown.
    pub dropped_cooldown: u64,
    /// Hits held back by a bucket.
    pub dropped_rate: u64,
    /// Summaries.
    pub summaries: u64,
    /// Keys forgotten before their time for want of room: their next hit comes too early.
    pub evicted_keys: u64,
    /// Buckets forgotten before they were full for want of room.
    pub evicted_buckets: u64,
}

/// The same of one rule, since it is there or its pattern, stream or cooldown changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RuleStats {
    /// Hits, held back or not.
    pub matched: u64,
    /// Hits that became events.
    pub emitted: u64,
    /// Hits held back by a cooldown.
    pub dropped_cooldown: u64,
    /// Hits held back by a bucket.
    pub dropped_rate: u64,
}
