//! Which master is tried next, and whether to wait before.

/// Several masters, in order: the first one that works is used, and after a session the first one is tried again.
/// The wait itself, doubling and cut by chance, is the driver's (`ratelimit::Backoff`).
#[derive(Debug, Clone)]
pub struct Failover {
    masters: usize,
    at: usize,
}

/// What to do before the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// Connect now.
    None,
    /// Wait for the back-off's next time.
    Wait,
    /// Start the back-off again, then wait for its first time.
    Reset,
}

impl Failover {
    /// Over so many masters; at least one.
    pub fn new(masters: usize) -> Self {
        Self {
            masters: masters.max(1),
            at: 0,
        }
    }

    /// The number of the master to connect to.
    pub fn master(&self) -> usize {
        self.at
    }

    /// A connection could not be made.
    pub fn failed(&mut self) -> Pause {
        self.at = (self.at + 1) % self.masters;
        if self.at == 0 {
            Pause::Wait
        } else {
            Pause::None
        }
    }

    /// A session ended.
    pub fn ended(&mut self, outcome: &crate::sender::Outcome) -> Pause {
        use crate::sender::Why;
        match outcome.why {
            // The same master, at once: it has nothing to do with it.
            Why::Elsewhere | Why::Branch { .. } => Pause::None,
            _ if outcome.reset => {
                self.at = 0;
                Pause::Reset
            }
            _ => self.failed(),
        }
    }
}

#[cfg(test)]
mod tests;
