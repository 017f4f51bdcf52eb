//! What sequence numbers say: which records of a session never came, and which came twice. *Timed state*.
//!
//! Two threads of a client may take numbers and queue their records in the other order, so a missing number is no
//! gap yet: it becomes one when [`WINDOW`] newer ones have come, or [`PATIENCE`] has passed. A number that comes after
//! its gap was declared counts as a duplicate. What is missing at a session's end never shows: no later number tells.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

mod window;

use window::Window;

/// Follows the sessions that were heard of last.
#[derive(Debug)]
pub struct Tracker {
    sessions: BTreeMap<Key, Session>,
    most: usize,
    /// Counts calls of [`Tracker::see`]: tells which session was silent the longest.
    clock: u64,
    gaps: Vec<Gap>,
    changed: BTreeMap<Key, Option<Vec<u8>>>,
    evicted: u64,
}

/// A session of a user: nobody disturbs another user's sessions by using their names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The client's user.
    pub uid: Option<u32>,
    /// The session's id as it came.
    pub session: String,
}

/// Numbers that never came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Whose.
    pub key: Key,
    /// The first missing number, counted without sign: it wraps at 2^32.
    pub from: u32,
    /// How many are missing in a row.
    pub count: u32,
    /// Nothing of the session was known before: its first records went elsewhere, or were dropped.
    pub at_start: bool,
}

#[derive(Debug)]
struct Session {
    window: Window,
    /// Whether anything but the first window has been seen.
    started: bool,
    last: u64,
    /// When a hole was noticed, and up to where numbers had come then.
    waiting: Option<(Instant, u32)>,
}

impl Tracker {
    /// Follows at most `most` sessions; one more, and the one that was silent the longest is forgotten.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            sessions: BTreeMap::new(),
            most: most.max(1),
            clock: 0,
            gaps: Vec::new(),
            changed: BTreeMap::new(),
            evicted: 0,
        }
    }

    /// Takes up a session as [`Tracker::take_changes`] gave it. What is no such state is refused: `false`.
    pub fn restore(&mut self, key: Key, state: &[u8], now: Instant) -> bool {
        let Some((window, last)) = state
            .split_last_chunk::<8>()
            .and_then(|(window, last)| Some((Window::restore(window)?, u64::from_le_bytes(*last))))
        else {
            return false;
        };
        self.clock = self.clock.max(last);
        let waiting = window.has_hole().then(|| (now, window.top()));
        let session = Session {
            window,
            started: true,
            last,
            waiting,
        };
        self.sessions.insert(key, session);
        while self.sessions.len() > self.most {
            self.forget_one();
        }
        true
    }

    /// A record of the session came. Gives whether it is a duplicate.
    pub fn see(&mut self, key: &Key, number: i32, now: Instant) -> bool {
        if !self.sessions.contains_key(key) {
            while self.sessions.len() >= self.most {
                self.forget_one();
            }
        }
        self.clock += 1;
        let session = self.sessions.entry(key.clone()).or_insert_with(|| Session {
            window: Window::new(0),
            started: false,
            last: 0,
            waiting: None,
        });
        session.last = self.clock;
        let gaps = &mut self.gaps;
        let at_start = !session.started;
        let duplicate = session.window.see(number.cast_unsigned(), |from, count| {
            gaps.push(Gap {
                key: key.clone(),
                from,
                count,
                at_start: at_start && from == 0,
            });
        });
        session.settle(now);
        self.changed.insert(key.clone(), Some(session.state()));
        duplicate
    }

    /// When [`Tracker::handle_timeout`] has something to declare.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let waiting = self.sessions.values().filter_map(|session| session.waiting);
        waiting.map(|(since, _)| since + PATIENCE).min()
    }

    /// Declares the holes that were open for [`PATIENCE`]. Each is declared before twice that time.
    pub fn handle_timeout(&mut self, now: Instant) {
        for (key, session) in &mut self.sessions {
            let Some((since, top)) = session.waiting else {
                continue;
            };
            if now < since + PATIENCE {
                continue;
            }
            let gaps = &mut self.gaps;
            let at_start = !session.started;
            session.window.declare(top, |from, count| {
                gaps.push(Gap {
                    key: key.clone(),
                    from,
                    count,
                    at_start: at_start && from == 0,
                });
            });
            session.waiting = None;
            session.settle(now);
            self.changed.insert(key.clone(), Some(session.state()));
        }
    }

    /// The gaps declared since the last call.
    pub fn take_gaps(&mut self) -> Vec<Gap> {
        std::mem::take(&mut self.gaps)
    }

    /// The sessions whose state changed since the last call, `None` for one that was forgotten.
    pub fn take_changes(&mut self) -> BTreeMap<Key, Option<Vec<u8>>> {
        std::mem::take(&mut self.changed)
    }

    /// Whether a gap or a change waits to be taken.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.gaps.is_empty() || !self.changed.is_empty()
    }

    /// How many sessions are followed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether none is followed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// How many sessions were forgotten for others.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Forgets the session that was silent the longest; its holes are gaps now.
    fn forget_one(&mut self) {
        let oldest = self
            .sessions
            .iter()
            .min_by_key(|(_, session)| session.last)
            .map(|(key, _)| key.clone());
        let Some(key) = oldest else { return };
        if let Some(mut session) = self.sessions.remove(&key) {
            let top = session.window.top();
            let gaps = &mut self.gaps;
            let at_start = !session.started;
            session.window.declare(top, |from, count| {
                gaps.push(Gap {
                    key: key.clone(),
                    from,
                    count,
                    at_start: at_start && from == 0,
                });
            });
            self.changed.insert(key, None);
            self.evicted += 1;
        }
    }
}

impl Session {
    /// After a change: whether a hole waits, and whether the start is behind us.
    fn settle(&mut self, now: Instant) {
        self.started |= self.window.base() != 0;
        if !self.window.has_hole() {
            self.waiting = None;
        } else if self.waiting.is_none() {
            self.waiting = Some((now, self.window.top()));
        }
    }

    fn state(&self) -> Vec<u8> {
        let mut state = self.window.state();
        state.extend_from_slice(&self.last.to_le_bytes());
        state
    }
}

pub use window::WINDOW;

/// How long a missing number may come late.
pub const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
