//! The commit window: what was taken and does not stand yet, and the way there.

use std::collections::HashMap;
use std::time::Instant;

use archive::{AppendError, Archive, Committed, Handle, StreamKey};
use bytes::Bytes;
use delivery::{ConnectionId, EpochId, GapCause, Hash, Offset, RollCause};
use offsets::Fact;

use super::answers::theirs;
use super::trouble::{Chain, Trouble};
use super::{Keeper, count};
use crate::intake::{News, Room};
use crate::merge::{Feed, Step};

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

    /// Takes out the first step that is in no segment.
    fn remove_next(&mut self) {
        let entry = self.entries.remove(self.appended);
        self.bytes -= entry.what.len();
    }

    /// Takes out what stands.
    fn settled(&mut self) -> Vec<Entry> {
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
    fn len(&self) -> u64 {
        match self {
            What::Bytes { len, .. } => *len,
            _ => 0,
        }
    }

    /// Where an acknowledged connection counts its end.
    fn to(&self) -> Option<Offset> {
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
            since.get_or_insert_with(Instant::now);
            if !self.wait(&trouble).await {
                return;
            }
        }
        self.disk.ok();
        if let Some(since) = since {
            self.links.block(false);
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
            if stands.is_empty() {
                self.voided();
            } else {
                self.stands(&stands);
            }
        }
        let appended = self.append();
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

    /// The appended entries stand: they leave the window, go to the merged outputs, and are acknowledged.
    fn stands(&mut self, reports: &[Committed]) {
        let entries = self.window.settled();
        if entries.is_empty() && reports.is_empty() {
            return;
        }
        let bytes: u64 = entries.iter().map(|entry| entry.what.len()).sum();
        self.metrics.commits.inc_by(u64::from(!reports.is_empty()));
        self.metrics.committed_bytes.inc_by(bytes);
        self.acknowledge(&entries, reports);
        for entry in &entries {
            self.tell_of_loss(&entry.what);
        }
        for report in reports {
            if let Some(worker) = self.plain.get(&report.handle) {
                worker.plain_stands(report.epoch, report.to);
            }
        }
        let steps = entries.into_iter().filter_map(|entry| match entry.what {
            What::Bytes { bytes, len, .. } if bytes.len() as u64 == len => {
                Some((entry.handle?, Step::Bytes(bytes)))
            }
            What::Bytes { len, .. } => Some((entry.handle?, Step::Archived(len))),
            What::Gap { to, .. } => Some((entry.handle?, Step::Gap(to.get()))),
            _ => None,
        });
        self.feed.committed(reports, steps);
    }

    /// One ack a connection, for the whole window.
    fn acknowledge(&mut self, entries: &[Entry], reports: &[Committed]) {
        let ends: HashMap<Handle, u64> = reports.iter().map(|r| (r.handle, r.to)).collect();
        let ledgers: HashMap<&StreamKey, Hash> = reports
            .iter()
            .map(|r| (&r.key, Hash::from_bytes(r.ledger)))
            .collect();
        let mut last: HashMap<ConnectionId, (Handle, Offset, bool)> = HashMap::new();
        for entry in entries {
            if let (Some(id), Some(to)) = (entry.by, entry.what.to()) {
                let moves = !matches!(entry.what, What::Roll { .. });
                last.extend(entry.handle.map(|handle| (id, (handle, to, moves))));
            }
            if let Some(link) = entry.by.and_then(|id| self.links.get(id)) {
                link.pending = link.pending.saturating_sub(1);
            }
        }
        for (id, link) in self.links.iter_mut() {
            let Some(open) = &mut link.open else { continue };
            if let Some(ledger) = link.key.as_ref().and_then(|key| ledgers.get(key)) {
                open.ledger = *ledger;
            }
            let Some(&(handle, to, moves)) = last.get(&id) else {
                continue;
            };
            // What the archive holds is what the connection counted, or nothing is acknowledged.
            let found = ends.get(&handle);
            if found.map_or(moves, |end| *end != to.get()) {
                tracing::error!(
                    worker = link.worker.name(),
                    offset = to.get(),
                    found,
                    "archive and connection count differently"
                );
                link.void();
                continue;
            }
            // An epoch that was rolled stands to its end with the ack of the next.
            let offset = if link.pending == 0 { open.end } else { to };
            if open.handle != handle && link.pending > 0 {
                continue;
            }
            link.wants &= link.pending > 0;
            let (epoch, ledger) = (open.epoch, open.ledger);
            link.tell(News::Committed {
                epoch,
                offset,
                ledger,
            });
            self.metrics.acks.inc();
        }
    }

    /// Answers those who asked for a commit when nothing of them was in the window.
    fn answer_waiting(&mut self) {
        for (_, link) in self.links.iter_mut() {
            if !link.wants || link.pending > 0 {
                continue;
            }
            link.wants = false;
            if let Some(open) = link.open {
                link.tell(News::Committed {
                    epoch: open.epoch,
                    offset: open.end,
                    ledger: open.ledger,
                });
                self.metrics.acks.inc();
            }
        }
    }

    /// A gap is never silent: the archive has ledgered it, here it is counted and logged.
    fn tell_of_loss(&self, what: &What) {
        let (key, at, bytes, cause) = match what {
            What::Gap {
                key,
                from,
                to,
                cause,
            } => (key, from, Some(to.since(*from)), gap_cause(*cause)),
            What::Roll {
                key,
                end,
                cause,
                lost,
                ..
            } if *lost != Some(0) => (key, end, *lost, roll_cause(*cause)),
            _ => return,
        };
        count(&self.metrics.gaps, "cause", cause, 1);
        count(
            &self.metrics.gap_bytes,
            "cause",
            cause,
            bytes.unwrap_or_default(),
        );
        if let Some(suppressed) = self.gaps.allow((key.clone(), cause), Instant::now()) {
            let stream = tracing::field::display(key);
            tracing::warn!(stream, offset = at.get(), bytes, cause, suppressed, "gap");
        }
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

/// As the ledger writes it.
pub(super) fn gap_cause(cause: GapCause) -> &'static str {
    match cause {
        GapCause::LagCap => "lag-cap",
        GapCause::DiskBudget => "disk-budget",
        GapCause::RotatedAway => "rotated-away",
        GapCause::Unreadable => "unreadable",
        GapCause::Imported => "imported",
        GapCause::Elsewhere => "elsewhere",
    }
}

/// As the ledger writes it.
pub(super) fn roll_cause(cause: RollCause) -> &'static str {
    match cause {
        RollCause::Rotated => "rotated",
        RollCause::Truncated => "truncated",
        RollCause::Gone => "gone",
    }
}

/// Most bytes of acknowledged connections that a window keeps for the merged outputs.
const MAX_KEPT: u64 = 1 << 20;
/// Most steps in one window: small ones are held in memory without counting as bytes.
const MAX_ENTRIES: usize = 4096;
