//! The tracker of sequence numbers, with its state in the checkpoint store and its gaps in the ledger.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use audit_codec::{Gap, Key, Request, Tracker};
use offsets::{Change, Fact, Store, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use service::Seldom;
use tracing::warn;

use crate::event::Peer;
use crate::group::Group;
use crate::metrics::Metrics;
use crate::report::GAP;

/// Follows the sessions.
#[derive(Debug)]
pub(crate) struct Sessions {
    tracker: Tracker,
    metrics: Metrics,
    seldom: Seldom<Option<u32>>,
}

impl Sessions {
    /// Takes up what the store knows.
    ///
    /// # Errors
    /// The store can't be read.
    pub(crate) async fn load(store: &Store, metrics: Metrics) -> Result<Self, StoreError> {
        let mut tracker = Tracker::new(MOST_SESSIONS);
        let now = Instant::now();
        for (key, state) in store.list(PREFIX).await? {
            let known = parse(&key).is_some_and(|key| tracker.restore(key, &state, now));
            if !known {
                warn!(
                    key,
                    "state of a session can't be read, its numbers start anew"
                );
            }
        }
        metrics.sessions.set(count(tracker.len()));
        Ok(Self {
            tracker,
            metrics,
            seldom: Seldom::new(SELDOM),
        })
    }

    /// The records of a request came: gives how many came before.
    pub(crate) fn see(&mut self, peer: Peer, request: &Request<'_>, now: Instant) -> u64 {
        // Without a session the numbers mean nothing; one that is no id is not worth remembering.
        if request.session_id.is_empty() || request.session_id.len() > MAX_SESSION_ID {
            return 0;
        }
        let key = Key {
            uid: peer.uid,
            session: request.session_id.to_owned(),
        };
        let twice = request
            .logs
            .iter()
            .filter(|log| self.tracker.see(&key, log.sequence, now));
        let duplicates = twice.count() as u64;
        self.metrics.duplicates.inc_by(duplicates);
        duplicates
    }

    /// Declares what has been missing for too long.
    pub(crate) fn look(&mut self, now: Instant) {
        self.tracker.handle_timeout(now);
        self.metrics.sessions.set(count(self.tracker.len()));
    }

    /// Puts into the group what becomes true with it. A gap is announced in the store, where it stands until the
    /// ledger has it: so it is told exactly when the records that showed it are durable.
    pub(crate) fn take(&mut self, group: &mut Group) {
        for (key, state) in self.tracker.take_changes() {
            let key = name(&key);
            group.changes.push(match state {
                Some(value) => Change::Put { key, value },
                None => Change::Delete { key },
            });
        }
        for gap in self.tracker.take_gaps() {
            self.metrics.gaps.inc();
            self.metrics.missing.inc_by(gap.count.into());
            // The ledger has each; a client that jumps about must not fill our log as well.
            if let Some(left_out) = self.seldom.allow(gap.key.uid, Instant::now()) {
                warn!(
                    session = gap.key.session,
                    uid = gap.key.uid,
                    from = gap.from,
                    records = gap.count,
                    left_out,
                    "records of a session never came"
                );
            }
            let notice = Notice::of(&gap);
            let key = notice.key();
            group.changes.push(Change::Put {
                key: key.clone(),
                value: serde_json::to_vec(&notice).expect("a notice has only string keys"),
            });
            group.gaps.push((key, notice.fact()));
        }
    }

    /// Whether [`Sessions::take`] would give something.
    pub(crate) fn has_news(&self) -> bool {
        self.tracker.has_news()
    }
}

/// The gaps that an earlier process announced and may not have told.
///
/// # Errors
/// The store can't be read, or an announcement in it.
pub(crate) async fn announced(store: &Store) -> anyhow::Result<Vec<(String, Fact)>> {
    let mut gaps = Vec::new();
    for (key, value) in store.list(ANNOUNCED).await? {
        let notice: Notice = serde_json::from_slice(&value)
            .with_context(|| format!("read the announced gap {key}"))?;
        gaps.push((key, notice.fact()));
    }
    Ok(gaps)
}

/// A gap as it is announced.
#[derive(Debug, Serialize, Deserialize)]
struct Notice {
    uid: Option<u32>,
    session: String,
    from: u32,
    count: u32,
    cause: String,
}

impl Notice {
    fn of(gap: &Gap) -> Self {
        let cause = if gap.at_start { AT_START } else { SEQUENCE };
        Self {
            uid: gap.key.uid,
            session: gap.key.session.clone(),
            from: gap.from,
            count: gap.count,
            cause: cause.to_owned(),
        }
    }

    fn key(&self) -> String {
        let uid = self.uid.map_or("-".to_owned(), |uid| uid.to_string());
        format!("{ANNOUNCED}{uid}/{}/{}", self.session, self.from)
    }

    /// Kind, epoch, base and user together name it, so that telling it again after a crash is harmless.
    fn fact(&self) -> Fact {
        let mut more = Map::new();
        more.insert("cause".to_owned(), self.cause.as_str().into());
        more.insert("records".to_owned(), self.count.into());
        more.insert("uid".to_owned(), json!(self.uid));
        Fact {
            kind: GAP.to_owned(),
            epoch: Some(self.session.clone()),
            base: Some(self.from.into()),
            more,
            ..Fact::default()
        }
    }
}

fn name(key: &Key) -> String {
    let uid = key.uid.map_or("-".to_owned(), |uid| uid.to_string());
    format!("{PREFIX}{uid}/{}", key.session)
}

fn parse(name: &str) -> Option<Key> {
    let (uid, session) = name.strip_prefix(PREFIX)?.split_once('/')?;
    let uid = match uid {
        "-" => None,
        digits => Some(digits.parse().ok()?),
    };
    let session = session.to_owned();
    Some(Key { uid, session })
}

fn count(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

/// Sessions that are followed. Each is one run of a client on this host; 100 octets of memory and of state each.
const MOST_SESSIONS: usize = 1024;

/// Twice a UUID in text, rounded down.
const MAX_SESSION_ID: usize = 64;

/// Time between two log lines about one user's gaps.
const SELDOM: Duration = Duration::from_secs(60);

/// The store's keys of sessions.
const PREFIX: &str = "session/";

/// The store's keys of gaps that are on their way into the ledger.
const ANNOUNCED: &str = "gap/";

/// Numbers are missing between others.
const SEQUENCE: &str = "sequence";

/// The first numbers are missing.
const AT_START: &str = "session-start";
