//! Waiting for long things without looking dead.

use std::pin::pin;
use std::time::Duration;

use service::status::{Health, Pulse};

/// A loop's pulse, and how often it must beat.
#[derive(Debug)]
pub(crate) struct Patience {
    pulse: Pulse,
    period: Duration,
}

impl Patience {
    /// A loop that may wait for the network or a disk for as long as it takes.
    pub(crate) fn new(health: &Health, name: &str) -> Self {
        Self {
            pulse: health.pulse(name),
            period: health.period(),
        }
    }

    /// Awaits `work`, beating meanwhile: a peer or a disk that keeps us waiting is no reason to be restarted.
    pub(crate) async fn wait<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        loop {
            self.pulse.beat();
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep(self.period) => {}
            }
        }
    }
}
