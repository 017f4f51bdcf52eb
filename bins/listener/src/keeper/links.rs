//! The acknowledged connections as the archive's owner knows them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use archive::{Handle, StreamKey};
use delivery::{Admission, AdmissionLimits, Claimed, Code, ConnectionId, EpochId, Hash, Offset};

use crate::intake::{Mailbox, News};
use crate::workers::Worker;

/// Who is connected, and who has which stream. At most as many as there may be connections.
pub(super) struct Links {
    pub(super) admission: Admission,
    by_id: HashMap<ConnectionId, Link>,
    blocked: bool,
}

/// One connection.
pub(super) struct Link {
    pub(super) worker: Arc<Worker>,
    mailbox: Arc<Mailbox>,
    /// The stream that it has, or waits for.
    pub(super) key: Option<StreamKey>,
    /// It has the stream.
    pub(super) holds: bool,
    /// Another connection had the stream before.
    pub(super) took_over: bool,
    /// And another one before that, too often for a ledger line each.
    pub(super) fights: bool,
    pub(super) open: Option<Open>,
    /// Entries of it in the window.
    pub(super) pending: usize,
    /// It waits for the window.
    pub(super) wants: bool,
    /// What it says counts no longer.
    void: bool,
    /// It said its last.
    over: bool,
}

/// The epoch that a connection writes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Open {
    pub(super) epoch: EpochId,
    pub(super) handle: Handle,
    /// Behind what it wrote.
    pub(super) end: Offset,
    /// The ledger's head as far as the connection was told.
    pub(super) ledger: Hash,
}

impl Links {
    pub(super) fn new(limits: AdmissionLimits) -> Links {
        Links {
            admission: Admission::new(limits),
            by_id: HashMap::new(),
            blocked: false,
        }
    }

    /// A new connection, refused if its worker has too many and none of them is silent; whether one has to leave.
    pub(super) fn enter(
        &mut self,
        id: ConnectionId,
        worker: Arc<Worker>,
        mailbox: Arc<Mailbox>,
        full: bool,
        now: Instant,
    ) -> bool {
        let silent = |id: ConnectionId| match self.by_id.get(&id) {
            Some(link) if !self.blocked => link.mailbox.silent(now),
            _ => Duration::ZERO,
        };
        let connected = self.admission.connect(worker.name(), id, full, silent);
        if let Err(code) = connected {
            let why = "as many connections as a worker may have";
            mailbox.put(News::Refused(code, why));
        }
        let displaced = connected.ok().flatten().and_then(|id| self.by_id.get(&id));
        if let Some(older) = displaced {
            older.mailbox.put(News::Superseded);
        }
        let displaces = displaced.is_some();
        let link = Link {
            worker,
            mailbox,
            key: None,
            holds: false,
            took_over: false,
            fights: false,
            open: None,
            pending: 0,
            wants: false,
            // It takes nothing from anybody before it has heard that.
            void: connected.is_err(),
            over: false,
        };
        self.by_id.insert(id, link);
        displaces
    }

    /// One that counts.
    pub(super) fn live(&mut self, id: ConnectionId) -> Option<&mut Link> {
        self.by_id.get_mut(&id).filter(|link| !link.void)
    }

    pub(super) fn get(&mut self, id: ConnectionId) -> Option<&mut Link> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (ConnectionId, &mut Link)> {
        self.by_id.iter_mut().map(|(id, link)| (*id, link))
    }

    /// It said its last.
    pub(super) fn over(&mut self, id: ConnectionId) {
        if let Some(link) = self.by_id.get_mut(&id) {
            link.over = true;
        }
    }

    /// A connection wants a stream; whether it gets it by fencing another one, and whether that is a conflict.
    pub(super) fn claim(&mut self, id: ConnectionId, key: StreamKey, now: Instant) -> Option<bool> {
        let link = self.by_id.get_mut(&id)?;
        link.key = Some(key.clone());
        match self.admission.claim(key.worker(), key.stream(), id, now) {
            Claimed::Granted => {
                link.holds = true;
                link.mailbox.put(News::Claimed);
                None
            }
            Claimed::Refused(code) => {
                link.refuse(code, "as many streams as a worker may have");
                None
            }
            Claimed::Takeover {
                fence,
                loser,
                conflict,
            } => {
                link.fights = conflict;
                if let Some(loser) = loser.and_then(|id| self.by_id.get(&id)) {
                    loser.refuse(Code::Superseded, "a newer connection wants the stream");
                }
                if let Some(older) = self.by_id.get(&fence) {
                    older.mailbox.put(News::Superseded);
                }
                Some(conflict)
            }
        }
    }

    /// Takes those out that are over and of which nothing is in the window, and gives their streams to whom waited
    /// for them: the streams that were taken over.
    pub(super) fn release(&mut self) -> Vec<StreamKey> {
        let done = |link: &Link| link.over && (link.pending == 0 || link.void);
        let done: Vec<_> = self
            .by_id
            .iter()
            .filter(|(_, link)| done(link))
            .map(|(id, _)| *id)
            .collect();
        let mut taken = Vec::new();
        for id in done {
            let Some(link) = self.by_id.remove(&id) else {
                continue;
            };
            let next = self.admission.released(link.worker.name(), id);
            if let Some(next) = next.and_then(|next| self.by_id.get_mut(&next)) {
                next.holds = true;
                next.took_over = true;
                next.mailbox.put(News::Claimed);
                taken.extend(next.key.clone());
            }
        }
        taken
    }

    /// Tells everybody whether the disk takes something.
    pub(super) fn block(&mut self, blocked: bool) {
        if std::mem::replace(&mut self.blocked, blocked) != blocked {
            for link in self.by_id.values() {
                link.mailbox.block(blocked);
            }
        }
    }

    /// Forgets what no longer matters.
    pub(super) fn tidy(&mut self, now: Instant) {
        self.admission.tidy(now);
    }
}

impl Link {
    pub(super) fn tell(&self, news: News) {
        self.mailbox.put(news);
    }

    pub(super) fn refuse(&self, code: Code, why: &'static str) {
        self.mailbox.put(News::Refused(code, why));
    }

    /// What it wrote does not stand: it has to begin again.
    pub(super) fn void(&mut self) {
        if !self.void {
            self.void = true;
            self.pending = 0;
            self.mailbox.put(News::Void);
        }
    }
}
