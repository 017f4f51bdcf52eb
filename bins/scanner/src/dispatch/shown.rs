//! What status and statistics show of triggers. Neither URLs nor secrets are among it.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use webhook::Resolver;

use super::Dispatcher;
use super::lane::Head;

/// The latest picture; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shown(Arc<Mutex<Value>>);

impl Shown {
    /// The picture that the loop last drew.
    pub(crate) fn value(&self) -> Value {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, value: Value) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
    }
}

impl<R: Resolver + 'static> Dispatcher<R> {
    /// Draws a new picture.
    pub(super) fn show(&self) {
        let mut waiting = 0;
        let mut triggers = Vec::new();
        for trigger in &self.triggers.rows {
            let name = &trigger.row.name;
            let Some(lane) = self.lanes.get(name) else {
                continue;
            };
            let health = &lane.health;
            waiting += lane.waiting;
            self.metrics
                .lane(name, lane.waiting, health.disabled.is_some());
            let next = match &lane.head {
                Head::Known(head) => time(Some(head.due_ms)),
                Head::Unknown | Head::Nobody => None,
            };
            triggers.push(json!({
                "name": name,
                "file": trigger.file,
                "target": trigger.target,
                "enabled": trigger.row.enabled,
                "waiting": lane.waiting,
                "sending": lane.flying.is_some(),
                "next_attempt": next,
                "last_attempt": time(health.last_ms),
                "last_status": health.last_status,
                "last_error": health.last_error,
                "consecutive_failures": health.failures,
                "failing_since": time(health.failing_since_ms),
                "disabled": health.disabled,
                "filter_error": lane.broken,
            }));
        }
        let problems = self.triggers.problems.iter().map(ToString::to_string);
        self.shown.set(json!({
            "cursor": self.cursor,
            "waiting": waiting,
            "error": self.error,
            "triggers": triggers,
            "problems": problems.collect::<Vec<_>>(),
        }));
    }
}

fn time(ms: Option<i64>) -> Option<String> {
    let time = jiff::Timestamp::from_millisecond(ms?).ok()?;
    Some(time.to_string())
}
