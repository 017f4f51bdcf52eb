//! What the archive's owner tells an acknowledged connection.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use delivery::control::{Held, Proof};
use delivery::receiver::Standing;
use delivery::{Code, EpochId, Hash, Offset};
use tokio::sync::Notify;

/// A letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// The stream is the connection's.
    Claimed,
    /// No.
    Refused(Code, &'static str),
    /// A newer connection wants the stream.
    Superseded,
    /// What is there of the stream, newest first.
    Epochs(Vec<Held>),
    /// Where the epoch stands.
    Standing(Standing),
    /// The hash, or what is missing.
    Proof(Proof),
    /// A window stands: everything of this epoch below the offset, and the connection's earlier ones to their end.
    Committed {
        /// The epoch.
        epoch: EpochId,
        /// Below it.
        offset: Offset,
        /// The ledger's head.
        ledger: Hash,
    },
    /// What the connection wrote since the last commit does not stand, or can't be told where it stands.
    Void,
}

impl News {
    /// Whether it answers what a connection asked and waits for.
    pub(crate) fn is_answer(&self) -> bool {
        match self {
            News::Claimed | News::Epochs(_) | News::Standing(_) | News::Proof(_) => true,
            News::Refused(..) | News::Superseded | News::Committed { .. } | News::Void => false,
        }
    }
}

/// Letters to one connection, in their order. Never waits. What can be said again and again takes one place, and a
/// connection asks one question at a time, so that a handful is the most there can be.
#[derive(Debug)]
pub(crate) struct Mailbox {
    letters: Mutex<VecDeque<News>>,
    blocked: AtomicBool,
    wake: Notify,
    since: Instant,
    /// When something was heard of the peer last: milliseconds of `since`.
    heard: AtomicU64,
}

impl Default for Mailbox {
    fn default() -> Self {
        Self {
            letters: Mutex::default(),
            blocked: AtomicBool::default(),
            wake: Notify::default(),
            since: Instant::now(),
            heard: AtomicU64::new(0),
        }
    }
}

impl Mailbox {
    /// Something was heard of the peer, or nobody listened to it.
    pub(crate) fn hear(&self, now: Instant) {
        let since = now.saturating_duration_since(self.since).as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        self.heard.store(since, Ordering::Relaxed);
    }

    /// For how long nothing was heard of the peer.
    pub(crate) fn silent(&self, now: Instant) -> Duration {
        let heard = Duration::from_millis(self.heard.load(Ordering::Relaxed));
        now.saturating_duration_since(self.since)
            .saturating_sub(heard)
    }

    /// Adds a letter; a commit replaces one that nobody has read.
    pub(crate) fn put(&self, news: News) {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        match (letters.back_mut(), &news) {
            (Some(last @ News::Committed { .. }), News::Committed { .. }) => *last = news,
            _ => letters.push_back(news),
        }
        drop(letters);
        self.wake.notify_one();
    }

    /// Tells that nothing can be committed now, or again.
    pub(crate) fn block(&self, blocked: bool) {
        if self.blocked.swap(blocked, Ordering::Relaxed) != blocked {
            self.wake.notify_one();
        }
    }

    /// Whether nothing can be committed now.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    /// The oldest letter.
    pub(crate) fn next(&self) -> Option<News> {
        self.letters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }

    /// Waits until something is told.
    pub(crate) async fn wait(&self) {
        self.wake.notified().await;
    }
}

#[cfg(test)]
mod tests;
