//! How a window comes to stand, and the way back.

use std::path::Path;

use offsets::Fact;

use super::window::{Fate, Witnessed};
use super::{Archive, Committed};
use crate::entry::Change;
use crate::epoch::sync_above;
use crate::error::{CommitError, VoidError};
use crate::facts;
use crate::fault::Step;
use crate::index::IndexError;
use crate::name::StreamKey;
use crate::recover;
use crate::segment::is_lost;

impl Archive {
    /// Makes the window stand: segments synced, facts ledgered, the witness written, the index moved, in this order.
    /// One report an epoch.
    ///
    /// # Errors
    /// [`CommitError`]: the window does not stand, or can't be said to; [`Archive::void`] finds out.
    pub async fn commit(&mut self) -> Result<Vec<Committed>, CommitError> {
        if self.window.is_void() {
            return Err(CommitError::Void);
        }
        if self.window.is_empty() {
            return Ok(Vec::new());
        }
        // Whatever ends this call early leaves a window that does not stand.
        self.window.fate = Fate::Void;
        self.sync()?;
        self.write_facts()?;
        let at_ms = self.options.clock.now_ms();
        let change = self.window_change(at_ms);
        self.window.fate = Fate::Doubtful;
        let number = self.number + 1;
        self.options
            .fault
            .check(Step::Witness)
            .and_then(|()| self.witness.write(&self.root, number, at_ms, &change))
            .map_err(IndexError::from)?;
        self.window.fate = Fate::Witnessed(Box::new(Witnessed { change, at_ms }));
        Ok(self.move_index().await?)
    }

    fn window_change(&mut self, at_ms: i64) -> Change {
        let mut entries = Vec::with_capacity(self.window.touched.len());
        for handle in &self.window.touched {
            if let Some(epoch) = self.epochs.get_mut(handle) {
                entries.push(epoch.entry(at_ms));
            }
        }
        let next = |key: &StreamKey| Some((key.clone(), self.streams.get(key)?.next?));
        Change {
            entries,
            ledgers: self.window.told.iter().filter_map(next).collect(),
        }
    }

    /// Says in the index what the witness says.
    async fn move_index(&mut self) -> Result<Vec<Committed>, IndexError> {
        let Fate::Witnessed(stands) = &self.window.fate else {
            return Ok(Vec::new());
        };
        self.options.fault.check(Step::Index)?;
        let number = self.number + 1;
        let put = self.index.put(&stands.change, Some((number, stands.at_ms)));
        if let Err(e) = put.await {
            if e.is_damage() {
                recover::note_damage(&self.data);
            }
            return Err(e);
        }
        self.number = number;
        Ok(self.stood())
    }

    /// The index says what the files hold: the window is over.
    fn stood(&mut self) -> Vec<Committed> {
        let window = std::mem::take(&mut self.window);
        let Fate::Witnessed(stands) = window.fate else {
            return Vec::new();
        };
        let Witnessed { change, at_ms } = *stands;
        // What stood at the start was asked for at the start.
        self.resting = Vec::new();
        self.newest_ms = self.newest_ms.max(Some(at_ms));
        for (key, mark) in &change.ledgers {
            if let Some(stream) = self.streams.get_mut(key) {
                stream.ledger = *mark;
            }
        }
        self.reset_streams(&window.told, &window.noted);
        let mut reports = Vec::with_capacity(change.entries.len());
        for (handle, entry) in window.touched.into_iter().zip(&change.entries) {
            let Some(epoch) = self.epochs.get_mut(&handle) else {
                continue;
            };
            let from = epoch.committed.end;
            epoch.stood(entry);
            reports.push(Committed {
                handle,
                key: entry.key.clone(),
                epoch: entry.epoch,
                form: entry.form,
                from,
                to: entry.mark.end,
                sealed: entry.mark.sealed,
                ledger: self.ledger(&entry.key),
            });
        }
        for entry in change.entries.iter().filter(|entry| !entry.live) {
            self.forget(&entry.key, entry.epoch);
        }
        self.release_files(&reports);
        reports
    }

    fn reset_streams(&mut self, told: &[StreamKey], noted: &[StreamKey]) {
        for key in told.iter().chain(noted) {
            if let Some(stream) = self.streams.get_mut(key) {
                stream.next = None;
                stream.notes.clear();
            }
        }
    }

    fn sync(&mut self) -> Result<(), CommitError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |e| CommitError::Sync(path, e)
        };
        self.options
            .fault
            .check(Step::Sync)
            .map_err(failed(&self.path))?;
        let at_once = self.window.touched.len() > SYNC_ONE_BY_ONE;
        if at_once {
            self.root.sync_file_system().map_err(failed(&self.path))?;
        }
        for handle in &self.window.touched {
            let Some(epoch) = self.epochs.get(handle) else {
                continue;
            };
            let synced = if at_once {
                epoch.check_names()
            } else {
                epoch.sync(&self.root)
            };
            synced.map_err(failed(&self.stream_path(&epoch.key)))?;
        }
        Ok(())
    }

    /// Writes each stream's facts with one write and one sync.
    fn write_facts(&mut self) -> Result<(), CommitError> {
        let now = self.options.clock.now();
        for (key, facts) in self.window_facts() {
            let path = self.stream_path(&key);
            let io = |e| CommitError::Sync(path.clone(), e);
            self.options.fault.check(Step::Ledger).map_err(io)?;
            if self.streams.get(&key).is_none_or(|s| s.ledger.len == 0) {
                // Its first line: the directories may be new.
                sync_above(&self.root, &key).map_err(io)?;
            }
            self.window.told.push(key.clone());
            let mark = self.tell(&key, &facts, now)?;
            self.streams.entry(key).or_default().next = Some(mark);
            self.options.fault.check(Step::Ledgered).map_err(io)?;
        }
        Ok(())
    }

    /// The facts of each stream, those of its epochs before its own.
    fn window_facts(&self) -> Vec<(StreamKey, Vec<Fact>)> {
        let mut streams: Vec<(StreamKey, Vec<Fact>)> = Vec::new();
        let mut add = |key: &StreamKey, facts: &[Fact]| {
            if facts.is_empty() {
                return;
            }
            match streams.iter_mut().find(|(other, _)| other == key) {
                Some((_, all)) => all.extend_from_slice(facts),
                None => streams.push((key.clone(), facts.to_vec())),
            }
        };
        for handle in &self.window.touched {
            if let Some(epoch) = self.epochs.get(handle) {
                add(&epoch.key, epoch.facts());
            }
        }
        for key in &self.window.noted {
            add(key, self.streams.get(key).map_or(&[], |s| &s.notes));
        }
        streams
    }

    /// Goes back to what the index says: the files of the window are closed, opened again and cut. Until this
    /// succeeded nothing can be appended; it may be called again.
    ///
    /// Gives reports, as [`Archive::commit`] would have, when the window stands after all: everything of it was
    /// durable, and the index could not say so.
    ///
    /// # Errors
    /// Any failure to move the index, or to open or cut a file.
    pub async fn void(&mut self) -> Result<Vec<Committed>, VoidError> {
        match self.window.fate {
            Fate::Witnessed(_) => return Ok(self.move_index().await?),
            Fate::Doubtful => {
                let at_ms = self.newest_ms.unwrap_or_default();
                self.options
                    .fault
                    .check(Step::Witness)
                    .and_then(|()| self.witness.overrule(&self.root, self.number, at_ms))
                    .map_err(IndexError::from)?;
            }
            Fate::Open | Fate::Void => {}
        }
        self.window.fate = Fate::Void;
        self.take_back()?;
        for handle in self.window.touched.clone() {
            let Some(epoch) = self.epochs.get_mut(&handle) else {
                continue;
            };
            self.open_files -= usize::from(epoch.is_open());
            match epoch.void(&self.root, &self.options.fault) {
                Ok(()) => {}
                // Its damage is its own.
                Err(e) if is_lost(&e) => self.lose(handle, &e),
                Err(e) => return Err(VoidError::Io(epoch.key.clone(), e)),
            }
        }
        let window = std::mem::take(&mut self.window);
        self.reset_streams(&[], &window.noted);
        Ok(Vec::new())
    }

    /// Tells the ledgers that what the window told, or may have told, is void.
    fn take_back(&mut self) -> Result<(), VoidError> {
        while let Some(key) = self.window.told.last().cloned() {
            let touched = self.window.touched.iter();
            let epochs = touched.filter_map(|handle| self.epochs.get(handle));
            let facts: Vec<Fact> = epochs
                .filter(|epoch| epoch.key == key)
                .map(|epoch| facts::recovery(&epoch.committed_entry()))
                .collect();
            let check = self.options.fault.check(Step::Ledger);
            check.map_err(|e| VoidError::Io(key.clone(), e))?;
            let mark = self.tell(&key, &facts, self.options.clock.now())?;
            let stream = self.streams.entry(key).or_default();
            // The index learns of it with the next facts; until then recovery finds that nothing stands to be lost.
            stream.ledger = mark;
            stream.next = None;
            self.window.told.pop();
        }
        Ok(())
    }

    /// Keeps the number of open files in bounds by letting go of those that this window did not touch.
    fn release_files(&mut self, reports: &[Committed]) {
        if self.open_files <= self.options.max_open_files {
            return;
        }
        for (handle, epoch) in &mut self.epochs {
            let busy = epoch.touched || reports.iter().any(|report| report.handle == *handle);
            if epoch.is_open() && !busy {
                epoch.release();
                self.open_files -= 1;
            }
        }
    }
}

/// Up to so many files are synced one by one (about a millisecond each); more are cheaper with one syncfs.
const SYNC_ONE_BY_ONE: usize = 8;
