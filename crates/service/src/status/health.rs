//! Whether the program works: components that are fine or not, and loops that are alive or not.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::notify;

/// Without a watchdog, a loop that was silent for so long is not alive.
const SILENT: Duration = Duration::from_secs(60);

/// The health of a program; clones share it.
#[derive(Debug, Clone)]
pub struct Health(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    began: Instant,
    components: Mutex<BTreeMap<String, Option<String>>>,
    loops: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    /// How long a loop may be silent.
    limit: Duration,
    watched: bool,
    /// When systemd was last told, in milliseconds since `began`.
    told_ms: AtomicU64,
}

impl Health {
    /// Nothing is known yet; a watchdog is fed if systemd set one for this process.
    pub fn new() -> Self {
        Self::with_watchdog(notify::watchdog_period())
    }

    pub(crate) fn with_watchdog(period: Option<Duration>) -> Self {
        Self(Arc::new(Shared {
            began: Instant::now(),
            components: Mutex::default(),
            loops: Mutex::default(),
            limit: period.unwrap_or(SILENT),
            watched: period.is_some(),
            told_ms: AtomicU64::new(0),
        }))
    }

    /// A part that must be fine before the program is ready: `docker`, `master`, `disk`. Not fine until it says so.
    pub fn component(&self, name: &str) -> Component {
        self.0
            .components()
            .entry(name.to_owned())
            .or_insert_with(|| Some("starting".to_owned()));
        Component {
            shared: self.0.clone(),
            name: name.to_owned(),
        }
    }

    /// A work loop that must go round: it calls [`Pulse::beat`] each time, at least once per [`Health::period`].
    pub fn pulse(&self, name: &str) -> Pulse {
        let last_ms = Arc::new(AtomicU64::new(self.0.now_ms()));
        self.0.loops().insert(name.to_owned(), last_ms.clone());
        Pulse {
            shared: self.0.clone(),
            name: name.to_owned(),
            last_ms,
        }
    }

    /// How often an idle loop should wake to beat: a quarter of what the watchdog allows, at most 10 s.
    pub fn period(&self) -> Duration {
        (self.0.limit / 4).min(Duration::from_secs(10))
    }

    /// Components with what is wrong; `None` is fine.
    pub fn components(&self) -> BTreeMap<String, Option<String>> {
        self.0.components().clone()
    }

    /// Loops that were silent for too long, with the time.
    pub fn stalled(&self) -> Vec<(String, Duration)> {
        self.0.stalled(self.0.now_ms())
    }

    /// How long the program has run.
    pub fn uptime(&self) -> Duration {
        self.0.began.elapsed()
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Shared {
    fn components(&self) -> MutexGuard<'_, BTreeMap<String, Option<String>>> {
        self.components
            .lock()
            .unwrap_or_else(|held| held.into_inner())
    }

    fn loops(&self) -> MutexGuard<'_, BTreeMap<String, Arc<AtomicU64>>> {
        self.loops.lock().unwrap_or_else(|held| held.into_inner())
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn stalled(&self, now_ms: u64) -> Vec<(String, Duration)> {
        let silent = |last: &AtomicU64| {
            let last_ms = last.load(Ordering::Relaxed);
            Duration::from_millis(now_ms.saturating_sub(last_ms))
        };
        self.loops()
            .iter()
            .map(|(name, last)| (name.clone(), silent(last)))
            .filter(|(_, silent)| *silent >= self.limit)
            .collect()
    }
}

/// One part's handle.
#[derive(Debug, Clone)]
pub struct Component {
    shared: Arc<Shared>,
    name: String,
}

impl Component {
    /// It works.
    pub fn ok(&self) {
        self.set(None);
    }

    /// It does not, and why; a line an operator understands, without log content.
    pub fn failed(&self, why: impl Into<String>) {
        self.set(Some(why.into()));
    }

    fn set(&self, state: Option<String>) {
        if let Some(known) = self.shared.components().get_mut(&self.name) {
            *known = state;
        }
    }
}

/// One work loop's handle. Dropped, the loop is over and no longer watched.
#[derive(Debug)]
pub struct Pulse {
    shared: Arc<Shared>,
    name: String,
    last_ms: Arc<AtomicU64>,
}

impl Pulse {
    /// The loop went round. Cheap: a clock read and a store; the watchdog is told every half period, and only while
    /// no other loop is stalled.
    pub fn beat(&self) {
        let now_ms = self.shared.now_ms();
        self.last_ms.store(now_ms, Ordering::Relaxed);
        if !self.shared.watched {
            return;
        }
        let half_ms = u64::try_from(self.shared.limit.as_millis() / 2).unwrap_or(u64::MAX);
        let told_ms = self.shared.told_ms.load(Ordering::Relaxed);
        if now_ms.saturating_sub(told_ms) >= half_ms && self.shared.stalled(now_ms).is_empty() {
            self.shared.told_ms.store(now_ms, Ordering::Relaxed);
            notify::watchdog();
        }
    }

    /// How often to wake for a beat while there is nothing to do.
    pub fn period(&self) -> Duration {
        Health(self.shared.clone()).period()
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        let mut loops = self.shared.loops();
        // Not another loop's that took the name since.
        if loops
            .get(&self.name)
            .is_some_and(|last| Arc::ptr_eq(last, &self.last_ms))
        {
            loops.remove(&self.name);
        }
    }
}
