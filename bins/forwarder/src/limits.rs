//! Every wait and bound of the forwarder that is no configuration, in one place.

use std::time::Duration;

/// Waits and bounds. Tests bring shorter ones.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest wait for a TCP connection to one master.
    pub connect: Duration,
    /// Longest TLS handshake.
    pub handshake: Duration,
    /// First wait after a failure; it doubles up to `backoff_most`, with jitter.
    pub backoff: Duration,
    /// Longest wait between two attempts.
    pub backoff_most: Duration,
    /// TCP gives up on a peer that acknowledges nothing, or whose window stays shut, for so long
    /// (TCP_USER_TIMEOUT).
    pub unacknowledged: Duration,
    /// Before a probe on an idle connection (SO_KEEPALIVE), and three times between two.
    pub keepalive: Duration,
    /// How often progress is made durable while data flows.
    pub commit: Duration,
    /// In TLS 1.3 a client's handshake ends before the server has judged its certificate: for so long nothing counts as
    /// delivered.
    pub verdict: Duration,
    /// Longest wait, at a stop, for what is being written and then for the peer's end.
    pub drain: Duration,
    /// Longest wait for an answer of a master that acknowledges, and for any acknowledgement while something is not.
    pub answer: Duration,
    /// Time between two signs of life to such a master.
    pub beat: Duration,
    /// Most bytes sent and not acknowledged; beyond that nothing more is read. The file keeps them, so this bounds only
    /// what a lost connection makes us send again.
    pub window: u64,
    /// Longest wait for masters that can't be reached, when files have to be asked about and another master has
    /// answered.
    pub ask: Duration,
    /// Largest batch of frames in bytes; only a longer line makes a larger one.
    pub batch: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            backoff: Duration::from_secs(1),
            backoff_most: Duration::from_secs(30),
            unacknowledged: Duration::from_secs(60),
            keepalive: Duration::from_secs(10),
            commit: Duration::from_secs(1),
            verdict: Duration::from_secs(2),
            drain: Duration::from_secs(5),
            answer: Duration::from_secs(30),
            beat: Duration::from_secs(10),
            window: 32 << 20,
            ask: Duration::from_secs(30),
            batch: 256 << 10,
        }
    }
}
