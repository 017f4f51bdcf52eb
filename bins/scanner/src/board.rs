//! What the program shows of itself: for the status, for `stats`, for whoever tries a rule.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rules::{Engine, RuleStats, Stats};
use serde_json::{Value, json};

use crate::dispatch;
use crate::rulefiles::Snapshot;
use crate::source::Standing;

/// The board; the loop writes, pages read.
#[derive(Debug)]
pub(crate) struct Board {
    /// What is scanned.
    input: String,
    rules_dir: PathBuf,
    webhooks: dispatch::Shown,
    shown: Mutex<Shown>,
}

#[derive(Debug, Clone, Default)]
struct Shown {
    stats: Stats,
    per_rule: Arc<Vec<(String, RuleStats)>>,
    standing: Standing,
    rules: Snapshot,
}

impl Board {
    /// Nothing is known yet.
    pub(crate) fn new(input: String, rules_dir: PathBuf, webhooks: dispatch::Shown) -> Self {
        Self {
            input,
            rules_dir,
            webhooks,
            shown: Mutex::default(),
        }
    }

    /// Shows where the engine stands.
    pub(crate) fn show(&self, engine: &Engine, standing: Standing, rules: Snapshot) {
        let per_rule = engine
            .rule_stats()
            .map(|(rule, stats)| (rule.id(), stats))
            .collect();
        let shown = Shown {
            stats: *engine.stats(),
            per_rule: Arc::new(per_rule),
            standing,
            rules,
        };
        *self.lock() = shown;
    }

    /// The rules in use.
    pub(crate) fn rules(&self) -> Snapshot {
        self.lock().rules.clone()
    }

    /// The program's part of the status.
    pub(crate) fn status(&self) -> Value {
        let shown = self.lock().clone();
        json!({
            "input": self.input,
            "streams": shown.standing.streams,
            "epochs": shown.standing.epochs,
            "lag_bytes": shown.standing.lag_bytes,
            "lines": shown.stats.lines,
            "matched": shown.stats.matched,
            "emitted": shown.stats.emitted,
            "rules": shown.rules.set.rules().len(),
            "rules_revision": shown.rules.revision,
            "rule_errors": self.errors(&shown.rules),
            "webhooks": self.webhooks.value(),
        })
    }

    /// The program's part of its heartbeat on the bus.
    pub(crate) fn heartbeat(&self) -> Value {
        let shown = self.lock().clone();
        json!({
            "rules": shown.rules.set.rules().len(),
            "emitted": shown.stats.emitted,
            "lag_bytes": shown.standing.lag_bytes,
        })
    }

    /// The `stats` page.
    pub(crate) fn stats(&self) -> Value {
        let shown = self.lock().clone();
        let Shown {
            stats, standing, ..
        } = &shown;
        let rules = shown.per_rule.iter().map(|(id, stats)| {
            json!({
                "rule_id": id,
                "matched": stats.matched,
                "emitted": stats.emitted,
                "dropped_cooldown": stats.dropped_cooldown,
                "dropped_rate": stats.dropped_rate,
            })
        });
        json!({
            "lines": stats.lines,
            "bytes": stats.bytes,
            "oversized": stats.oversized,
            "searched_bytes": stats.searched_bytes,
            "matched": stats.matched,
            "emitted": stats.emitted,
            "summaries": stats.summaries,
            "dropped": {"cooldown": stats.dropped_cooldown, "rate": stats.dropped_rate},
            "evicted": {"keys": stats.evicted_keys, "buckets": stats.evicted_buckets},
            "active_tails": standing.streams,
            "lag_bytes": standing.lag_bytes,
            "compile_errors": self.errors(&shown.rules),
            "snapshot": {"revision": shown.rules.revision, "rules": shown.rules.set.rules().len()},
            "rules": rules.collect::<Vec<_>>(),
        })
    }

    fn errors(&self, rules: &Snapshot) -> Vec<Value> {
        let one = |(name, problem): &(String, rules::Problem)| {
            json!({
                "file": self.rules_dir.join(name),
                "line": problem.line,
                "key": problem.key,
                "error": problem.what,
            })
        };
        rules.problems.iter().map(one).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(|held| held.into_inner())
    }
}
