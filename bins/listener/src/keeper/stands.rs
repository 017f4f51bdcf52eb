//! A window stands: who is told.

use std::collections::HashMap;
use std::time::Instant;

use archive::{Committed, Handle, StreamKey};
use delivery::{ConnectionId, GapCause, Hash, Offset, RollCause};

use super::Keeper;
use super::window::{Entry, What};
use crate::intake::News;
use crate::merge::Step;
use crate::metrics::count;

impl Keeper {
    /// The appended entries stand: they leave the window, go to the merged outputs, and are acknowledged.
    pub(super) fn stands(&mut self, reports: &[Committed]) {
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
    pub(super) fn answer_waiting(&mut self) {
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
