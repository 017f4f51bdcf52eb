//! The commit window: what was taken and does not stand yet, and the way there.

use std::time::Instant;

use archive::{AppendError, Archive, Handle, StreamKey};
use bytes::Bytes;
use delivery::{ConnectionId, EpochId, GapCause, Offset, RollCause};
use offsets::Fact;

use super::Keeper;
use super::answers::theirs;
use super::stands::{gap_cause, roll_cause};
use super::trouble::{Chain, Trouble};
use crate::intake::Room;
use crate::merge::Feed;
use crate::metrics::count;

/// What was taken and does not stand yet. What plain senders sent is kept until it stands, because they do not send it
/// again; of acknowledged connections a void window is sent again.
#[derive(Default)]
pub(super) struct Window {
    entries: Vec<Entry>,
    bytes: u64,
    /// Of them, what is kept of acknowledged connections for the merged outputs.
    kept: u64,
    /// So many of the entries are in segments.
    appended: usize,
    /// The archive voided the window and was not cut yet.
    pub(super) void: bool,
    /// Somebody waits for its end.
    pub(super) urgent: bool,
    /// The epoch of a plain stream whose handle is gone: it has to be opened again for what comes next.
    pub(super) lost: Option<Handle>,
}

/// One of its steps.
pub(super) struct Entry {
    /// The epoch; none: it is about the stream.
    pub(super) handle: Option<Handle>,
    /// Whose it is, if of an acknowledged connection.
    pub(super) by: Option<ConnectionId>,
    pub(super) what: What,
    pub(super) room: Option<Room>,
}

pub(super) enum What {
    /// Bytes as they are.
    Bytes {
        /// They, as long as somebody needs them.
        bytes: Bytes,
        len: u64,
        /// Where an acknowledged connection counts their end.
        to: Option<Offset>,
    },
    /// Bytes that will never come.
    Gap {
        key: StreamKey,
        from: Offset,
        to: Offset,
        cause: GapCause,
    },
    /// The epoch is over.
    Roll {
        key: StreamKey,
        end: Offset,
        next: EpochId,
        cause: RollCause,
        lost: Option<u64>,
    },
    /// Nothing may follow in the epoch.
    Seal,
    /// The open segment is closed.
    Close,
    /// A fact of the stream.
    Note(StreamKey, Fact),
}

impl Window {
    pub(super) fn push(&mut self, entry: Entry) {
        self.bytes += entry.what.len();
        self.entries.push(entry);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether it should end now.
    pub(super) fn is_due(&self, max_bytes: u64) -> bool {
        self.urgent || self.bytes >= max_bytes || self.entries.len() >= MAX_ENTRIES
    }

    /// Whether something of an epoch is in it.
    pub(super) fn has(&self, handle: Handle) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.handle == Some(handle))
    }

    /// Bytes that nobody sends again.
    pub(super) fn plain_bytes(&self) -> u64 {
        let plain = self.entries.iter().filter(|entry| entry.by.is_none());
        plain.map(|entry| entry.what.len()).sum()
    }

    /// Of bytes that were just appended, and that their connection would send again, no more is kept than the merged
    /// outputs can use: what they do not get from here they read from the archive.
    fn let_go(&mut self, feed: &Feed) {
        let Some(entry) = self.entries.get_mut(self.appended - 1) else {
            return;
        };
        if let What::Bytes {
            bytes,
            len,
            to: Some(_),
        } = &mut entry.what
        {
            if feed.is_on() && self.kept + *len <= MAX_KEPT {
                self.kept += *len;
            } else {
                *bytes = Bytes::new();
            }
        }
    }

    /// The first step that is in no segment.
    pub(super) fn next(&self) -> Option<&Entry> {
        self.entries.get(self.appended)
    }

    /// An epoch has another handle now.
    pub(super) fn moved(&mut self, from: Handle, to: Handle) {
        for entry in &mut self.entries {
            if entry.handle == Some(from) {
                entry.handle = Some(to);
            }
        }
    }

    /// Takes out the first step that is in no segment.
    pub(super) fn remove_next(&mut self) {
        let entry = self.entries.remove(self.appended);
        self.bytes -= entry.what.len();
    }

    /// Takes out what stands.
    pub(super) fn settled(&mut self) -> Vec<Entry> {
        let settled: Vec<_> = self.entries.drain(..self.appended).collect();
        self.appended = 0;
        self.kept = 0;
        self.urgent = false;
        self.bytes -= settled.iter().map(|entry| entry.what.len()).sum::<u64>();
        settled
    }

    /// Takes out what these connections have in it.
    fn forget(&mut self, gone: &[ConnectionId]) {
        let stays = |entry: &Entry| entry.by.is_none_or(|id| !gone.contains(&id));
        self.entries.retain(stays);
        self.appended = 0;
        self.kept = 0;
        self.bytes = self.entries.iter().map(|entry| entry.what.len()).sum();
    }
}

impl What {
    pub(super) fn len(&self) -> u64 {
        match self {
            What::Bytes { len, .. } => *len,
            _ => 0,
        }
    }

    /// Where an acknowledged connection counts its end.
    pub(super) fn to(&self) -> Option<Offset> {
        match self {
            What::Bytes { to, .. } => *to,
            What::Gap { to, .. } => Some(*to),
            What::Roll { end, .. } => Some(*end),
            What::Seal | What::Close | What::Note(..) => None,
        }
    }
}

impl Keeper {
    /// Writes what is not in segments yet.
    pub(super) fn append(&mut self) -> Result<(), Trouble> {
        if self.window.void {
            return Err(AppendError::Void.into());
        }
        while let Some(entry) = self.window.entries.get_mut(self.window.appended) {
            if let Some(id) = entry.by
                && self.links.live(id).is_none()
            {
                self.window.remove_next();
                continue;
            }
            match write(&mut self.archive, entry) {
                Ok(()) => {
                    entry.room = None;
                    self.window.appended += 1;
                    self.window.let_go(&self.feed);
                }
                Err(AppendError::Refused { key, what }) => {
                    tracing::error!(stream = %key, what, "a step does not fit the archive");
                    let by = entry.by;
                    self.window.remove_next();
                    if let Some(link) = by.and_then(|id| self.links.live(id)) {
                        link.void();
                    }
                }
                Err(AppendError::Gone) => {
                    if !self.step_lost() {
                        return Err(AppendError::Gone.into());
                    }
                }
                Err(e) => {
                    // Nothing more is taken before this one is in.
                    self.window.urgent = true;
                    self.window.void = !matches!(e, AppendError::Full(_));
                    return Err(e.into());
                }
            }
        }
        Ok(())
    }

    /// Makes the window stand, however long that takes; only a stop makes it give up.
    pub(super) async fn settle(&mut self) {
        let mut since = None;
        loop {
            let Err(trouble) = self.try_settle().await else {
                break;
            };
            if trouble.is_damage() {
                self.damage = Some(trouble);
                return;
            }
            since.get_or_insert_with(Instant::now);
            if !self.wait(&trouble).await {
                return;
            }
        }
        self.disk.ok();
        self.links.block(false);
        if let Some(since) = since {
            tracing::info!(
                elapsed_ms = since.elapsed().as_millis() as u64,
                "archive goes on"
            );
        }
        self.window.urgent = false;
        self.answer_waiting();
        self.release();
    }

    async fn try_settle(&mut self) -> Result<(), Trouble> {
        if self.window.void {
            let stands = self.archive.void().await?;
            self.window.void = false;
            self.hear();
            if stands.is_empty() {
                self.voided();
            } else {
                self.stands(&stands);
            }
        }
        let mut appended = self.append();
        while matches!(appended, Err(Trouble::Append(AppendError::Gone))) {
            self.open_lost().await?;
            appended = self.append();
        }
        if !matches!(
            appended,
            Ok(()) | Err(Trouble::Append(AppendError::Full(_)))
        ) {
            return appended;
        }
        let begun = Instant::now();
        match self.archive.commit().await {
            // Steps that changed nothing, such as the same roll again, stand as well.
            Ok(stands) if stands.is_empty() => self.stands(&stands),
            Ok(stands) => {
                self.metrics
                    .commit_seconds
                    .observe(begun.elapsed().as_secs_f64());
                self.stands(&stands);
            }
            Err(e) => {
                self.window.void = true;
                return Err(e.into());
            }
        }
        appended
    }

    /// Nothing of the window stands: who wrote into it and can send it again has to.
    fn voided(&mut self) {
        let appended = &self.window.entries[..self.window.appended];
        let mut gone: Vec<_> = appended.iter().filter_map(|entry| entry.by).collect();
        gone.sort_unstable();
        gone.dedup();
        for id in &gone {
            if let Some(link) = self.links.get(*id) {
                link.void();
            }
        }
        self.window.forget(&gone);
    }

    /// Waits a while before the next try; `false` when the program stops and has waited long enough.
    pub(super) async fn wait(&mut self, trouble: &Trouble) -> bool {
        let error = format!("{}", Chain(trouble));
        count(&self.metrics.commit_failures, "reason", trouble.reason(), 1);
        self.disk.failed(error.clone());
        self.links.block(true);
        if self.complaints.allow((), Instant::now()).is_some() {
            tracing::error!(error, "archive can't be written, reading is paused");
        }
        if *self.stop.borrow() {
            let Some(rest) = self.drain.checked_sub(self.retry) else {
                return false;
            };
            self.drain = rest;
        }
        self.pulse.beat();
        if trouble.is_full() {
            // Nobody else gives room back: what waits here keeps the owner from everything it does between windows.
            self.upkeep.make_room(&mut self.archive).await;
        }
        tokio::time::sleep(self.retry).await;
        true
    }
}

fn write(archive: &mut Archive, entry: &Entry) -> Result<(), AppendError> {
    if let What::Note(key, fact) = &entry.what {
        return archive.note(key, fact.clone());
    }
    let Some(handle) = entry.handle else {
        return Ok(());
    };
    match &entry.what {
        What::Bytes { bytes, .. } => archive.append(handle, bytes),
        What::Gap { to, cause, .. } => archive.gap(handle, to.get(), gap_cause(*cause)),
        What::Roll {
            next, cause, lost, ..
        } => archive.roll(handle, theirs(*next), roll_cause(*cause), *lost),
        What::Seal => archive.seal(handle),
        What::Close => archive.close_segment(handle),
        What::Note(..) => Ok(()),
    }
}

/// Most bytes of acknowledged connections that a window keeps for the merged outputs.
const MAX_KEPT: u64 = 512 << 10;
/// Most steps in one window: small ones are held in memory without counting as bytes.
const MAX_ENTRIES: usize = 4096;
