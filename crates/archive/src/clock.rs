//! What time it is, and whether to believe it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The wall clock and a clock that nobody sets; a test may bring its own.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> (SystemTime, Duration) + Send + Sync>);

impl Clock {
    /// A clock that gives the wall clock's time and the time that passed since some moment.
    pub fn new(read: impl Fn() -> (SystemTime, Duration) + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(read))
    }

    /// The wall clock.
    pub(crate) fn now(&self) -> SystemTime {
        (self.0)().0
    }

    /// The wall clock in Unix milliseconds.
    pub(crate) fn now_ms(&self) -> i64 {
        millis(self.now())
    }

    pub(crate) fn read(&self) -> (i64, Duration) {
        let (wall, passed) = (self.0)();
        (millis(wall), passed)
    }
}

impl Default for Clock {
    fn default() -> Clock {
        let start = Instant::now();
        Clock::new(move || (SystemTime::now(), start.elapsed()))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// Whether age can be judged: the wall clock against the other one, and against the newest time that was recorded.
#[derive(Debug)]
pub(crate) struct Trust {
    opened: (i64, Duration),
    /// The newest recorded time before the archive was opened; none: there is none.
    recorded_ms: Option<i64>,
    broken: Option<&'static str>,
}

impl Trust {
    pub(crate) fn new(clock: &Clock, recorded_ms: Option<i64>) -> Trust {
        Trust {
            opened: clock.read(),
            recorded_ms,
            broken: None,
        }
    }

    /// Why ages mean nothing now; once the clocks disagreed they do until the next start.
    pub(crate) fn doubt(&mut self, clock: &Clock, newest_ms: Option<i64>) -> Option<&'static str> {
        if self.broken.is_some() {
            return self.broken;
        }
        let (wall, passed) = clock.read();
        let since = passed.saturating_sub(self.opened.1);
        let expected = self
            .opened
            .0
            .saturating_add(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        if wall.abs_diff(expected) > HOUR_MS {
            self.broken =
                Some("the wall clock was set by more than an hour since the archive was opened");
            return self.broken;
        }
        if newest_ms.is_some_and(|newest| newest.saturating_sub(wall) > HOUR_MS as i64) {
            return Some("the wall clock is more than an hour behind the newest recorded time");
        }
        // Nobody can tell a long stop from a clock that is ahead. A clock that is wrong at the start of a machine is
        // usually set right soon.
        let ahead = |recorded: i64| self.opened.0.saturating_sub(recorded) > HOUR_MS as i64;
        if since.as_millis() < u128::from(HOUR_MS) && self.recorded_ms.is_some_and(ahead) {
            return Some(
                "the wall clock is more than an hour ahead of the newest recorded time: \
                 the first hour after a start is waited for",
            );
        }
        None
    }
}

/// Unix milliseconds; a time before 1970 is 1970.
fn millis(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

const HOUR_MS: u64 = 3600 * 1000;
