//! The appender's blocking half: announces a batch, writes it, makes it durable, and goes on after
//! whatever stopped it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, Step};
use super::matching::line_start;
use super::record::{Note, Plan, Record, Tagged};
use super::slot::Slots;
use super::target::{Progress, Refreshed, Target};
use super::{AppendError, Appended, Counters};
use crate::store::{Change, Store};

/// Everything that only one thread at a time may touch.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) store: Store,
    /// The store's name for this appender.
    pub(super) place: String,
    pub(super) slots: Slots,
    pub(super) targets: Vec<Target>,
    pub(super) disk: Disk,
    pub(super) counters: Counters,
    /// Number of the newest announced batch.
    pub(super) seq: u64,
    /// Losses that recovery found; they travel with the slots until the caller's next batch.
    pub(super) notes: Vec<Note>,
    pending: Option<Pending>,
    settling: Option<Vec<usize>>,
    /// The path whose sync failed, and why: no call succeeds any more.
    failed: Option<(PathBuf, io::ErrorKind, String)>,
}

/// A batch on its way.
#[derive(Debug)]
struct Pending {
    parts: Vec<Vec<u8>>,
    changes: Vec<Change>,
    progress: Vec<Progress>,
    announced: bool,
    /// It was announced once, be it for files that are gone: recovery knows it.
    kept: bool,
    /// Bytes that the caller asked for.
    asked: u64,
}

impl Core {
    pub(super) fn new(store: Store, place: String, slots: Slots, disk: Disk, seq: u64) -> Self {
        Self {
            store,
            place,
            slots,
            targets: Vec::new(),
            disk,
            counters: Counters::default(),
            seq,
            notes: Vec::new(),
            pending: None,
            settling: None,
            failed: None,
        }
    }

    /// Whether a batch waits to be gone on with.
    pub(super) fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Whether a batch waits that the next start would go on with.
    pub(super) fn is_kept(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.kept)
    }

    /// Takes a batch; [`Core::drive`] drives it.
    pub(super) fn take(&mut self, parts: Vec<Vec<u8>>, changes: Vec<Change>) {
        debug_assert!(self.pending.is_none(), "one batch at a time");
        debug_assert_eq!(parts.len(), self.targets.len(), "one part a target");
        let asked = parts.iter().map(|part| part.len() as u64).sum();
        let progress = vec![Progress::default(); parts.len()];
        // A caller that appends has heard of the losses.
        self.notes.clear();
        self.pending = Some(Pending {
            parts,
            changes,
            progress,
            announced: false,
            kept: false,
            asked,
        });
    }

    /// Goes on with the pending batch, if there is one.
    pub(super) fn drive(&mut self) -> Result<Appended, AppendError> {
        self.check()?;
        let Some(mut pending) = self.pending.take() else {
            return Ok(Appended::default());
        };
        let result = self.drive_pending(&mut pending);
        match &result {
            Ok(_) => {}
            Err(AppendError::Blocked { .. }) => {
                self.counters.blocked += 1;
                self.pending = Some(pending);
            }
            Err(_) => self.pending = Some(pending),
        }
        result
    }

    /// Makes what stands in the targets durable and notes that the batch is closed.
    pub(super) fn settle(&mut self) -> Result<(), AppendError> {
        self.check()?;
        let Some(touched) = self.settling.take() else {
            return Ok(());
        };
        for index in touched {
            self.sync_target(index)?;
        }
        if self.notes.is_empty()
            && let Err(error) = self.slots.mark(self.seq, &mut self.disk)
        {
            // Without the mark the next start counts the batch again, and finds it whole.
            tracing::debug!(path = %self.slots.path(self.seq).display(), %error, "batch not marked as closed");
        }
        self.counters.syncs = self.disk.syncs;
        Ok(())
    }

    /// Notes that the newest batch needs no recovery, its losses being known to the caller.
    pub(super) fn acknowledge(&mut self) -> Result<(), AppendError> {
        self.check()?;
        if !self.notes.is_empty() && self.pending.is_none() && self.settling.is_none() {
            self.notes.clear();
            self.close()?;
        }
        Ok(())
    }

    /// Closes the batch that recovery found whole, unless its caller has losses to hear of.
    pub(super) fn close(&mut self) -> Result<(), AppendError> {
        self.settling = Some(Vec::new());
        self.settle()
    }

    /// Announces `parts` for `targets` as a batch of its own that carries no changes, and drives it:
    /// how recovery goes on in another file than the one announced before.
    pub(super) fn go_on_elsewhere(
        &mut self,
        targets: Vec<Target>,
        parts: Vec<Vec<u8>>,
    ) -> Result<u64, AppendError> {
        let configured = std::mem::replace(&mut self.targets, targets);
        let progress = vec![Progress::default(); parts.len()];
        self.pending = Some(Pending {
            parts,
            changes: Vec::new(),
            progress,
            announced: false,
            kept: false,
            asked: 0,
        });
        let result = self
            .drive()
            .and_then(|appended| self.settle().map(|()| appended.bytes));
        self.targets = configured;
        result
    }

    fn drive_pending(&mut self, pending: &mut Pending) -> Result<Appended, AppendError> {
        if pending.announced || pending.progress.iter().any(|progress| progress.done > 0) {
            self.move_on(pending)?;
        }
        if !pending.announced {
            self.refresh(pending)?;
            self.announce(pending)?;
        }
        for ((target, part), progress) in self
            .targets
            .iter_mut()
            .zip(&pending.parts)
            .zip(&mut pending.progress)
        {
            target
                .write(&self.disk, part, progress)
                .map_err(blocked(&target.path))?;
        }
        let mut touched = Vec::new();
        for (index, (target, part)) in self.targets.iter_mut().zip(&pending.parts).enumerate() {
            if !part.is_empty() {
                target.passed();
                touched.push(index);
            }
        }
        self.settling = Some(touched);
        let bytes: u64 = pending
            .progress
            .iter()
            .map(|progress| progress.written)
            .sum();
        self.counters.batches += 1;
        self.counters.bytes += bytes;
        let mut parts = std::mem::take(&mut pending.parts);
        parts.iter_mut().for_each(Vec::clear);
        Ok(Appended {
            parts,
            bytes: pending.asked.max(bytes),
        })
    }

    /// Once a batch: the files that stand at the paths are the ones that are open.
    fn refresh(&mut self, pending: &mut Pending) -> Result<(), AppendError> {
        for ((target, part), progress) in self
            .targets
            .iter_mut()
            .zip(&pending.parts)
            .zip(&mut pending.progress)
        {
            if part.is_empty() {
                continue;
            }
            let known = target.open.is_some();
            if target
                .refresh(&mut self.disk)
                .map_err(blocked(&target.path))?
                == Refreshed::Opened
            {
                progress.done = 0;
                self.counters.reopened += u64::from(known);
            }
        }
        Ok(())
    }

    /// Writes and syncs the slot of the next batch. From then on recovery completes it, and its changes
    /// are true.
    fn announce(&mut self, pending: &mut Pending) -> Result<(), AppendError> {
        let seq = self.seq + 1;
        let (base, mut changes) = self.store.ahead_of(&self.place);
        changes.extend(
            pending
                .changes
                .iter()
                .map(|change| Tagged::new(seq, change)),
        );
        let mut plans = Vec::with_capacity(self.targets.len());
        for (target, part) in self.targets.iter().zip(&pending.parts) {
            let plan = if part.is_empty() {
                Ok(Plan::none(&target.path))
            } else {
                target.plan()
            };
            plans.push(plan.map_err(blocked(&target.path))?);
        }
        let parts = std::mem::take(&mut pending.parts);
        let record = Record {
            seq,
            base,
            plans,
            changes,
            notes: self.notes.clone(),
            parts,
        };
        let written = self.slots.write(&record, &mut self.disk);
        pending.parts = record.parts;
        let path = self.slots.path(seq).to_path_buf();
        match written {
            Ok(bytes) => self.counters.redo_bytes += bytes,
            Err(source) => return Err(AppendError::Blocked { path, source }),
        }
        if let Err(source) = self.slots.sync(seq, &mut self.disk) {
            return Err(self.fail(path, source));
        }
        self.seq = seq;
        (pending.announced, pending.kept) = (true, true);
        self.store
            .put_ahead(&self.place, seq, std::mem::take(&mut pending.changes));
        Ok(())
    }

    /// Before a blocked batch goes on: what was rotated or deleted meanwhile gets its unfinished line,
    /// and the rest is to be announced for the files that stand at the paths now.
    fn move_on(&mut self, pending: &mut Pending) -> Result<(), AppendError> {
        let mut moved = vec![false; self.targets.len()];
        for (index, target) in self.targets.iter_mut().enumerate() {
            let (part, progress) = (&pending.parts[index], &mut pending.progress[index]);
            if progress.done == part.len() || !target.moved().map_err(blocked(&target.path))? {
                continue;
            }
            target
                .finish_line(&self.disk, part, progress)
                .map_err(blocked(&target.path))?;
            moved[index] = true;
        }
        if !moved.contains(&true) {
            return Ok(());
        }
        // The new announcement takes the place of the old one: what stands has to be durable first.
        for (index, moved) in moved.into_iter().enumerate() {
            let done = pending.progress[index].done;
            if done > 0 {
                self.sync_target(index)?;
            }
            let whole = line_start(&pending.parts[index], done);
            pending.parts[index].drain(..whole);
            pending.progress[index].done -= whole;
            match &mut self.targets[index].open {
                // If it was emptied and not renamed, it goes on as a new file would.
                Some(open) if moved => (open.end, open.pos) = (0, 0),
                Some(open) if done > 0 => open.end = open.pos.saturating_sub((done - whole) as u64),
                _ => {}
            }
        }
        pending.announced = false;
        Ok(())
    }

    fn sync_target(&mut self, index: usize) -> Result<(), AppendError> {
        let Some(open) = &self.targets[index].open else {
            return Ok(());
        };
        let (file, path) = (Arc::clone(&open.file), self.targets[index].path.clone());
        self.disk
            .sync(Step::TargetSync, &file, &path)
            .map_err(|source| self.fail(path, source))
    }

    fn fail(&mut self, path: PathBuf, source: io::Error) -> AppendError {
        self.failed = Some((path.clone(), source.kind(), source.to_string()));
        AppendError::Sync { path, source }
    }

    fn check(&self) -> Result<(), AppendError> {
        match &self.failed {
            None => Ok(()),
            Some((path, kind, text)) => Err(AppendError::Sync {
                path: path.clone(),
                source: io::Error::new(*kind, text.clone()),
            }),
        }
    }
}

/// Turns an IO error on `path` into the error of a blocked batch.
pub(super) fn blocked(path: &Path) -> impl FnOnce(io::Error) -> AppendError {
    let path = path.to_path_buf();
    move |source| AppendError::Blocked { path, source }
}
