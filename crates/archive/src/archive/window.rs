//! The commit window: what goes in, and what may not.

use std::io;
use std::time::Duration;

use offsets::Fact;

use super::{Archive, Committed, Handle};
use crate::dir::Dir;
use crate::entry::Change;
use crate::epoch::{Epoch, SegmentLimits, WriteError};
use crate::error::{AppendError, CommitError};
use crate::name::{EpochId, StreamKey};
use crate::segment::is_lost;

/// What the window that is being filled has.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Epochs that it has something of, in the order in which they came in.
    pub(super) touched: Vec<Handle>,
    /// Streams that it has facts of which belong to no epoch.
    pub(super) noted: Vec<StreamKey>,
    /// Streams whose ledger was written to, or may have been.
    pub(super) told: Vec<StreamKey>,
    pub(super) room_checked: bool,
    /// Segments that it closed.
    closed: usize,
    pub(super) fate: Fate,
}

/// What can become of the window.
#[derive(Debug, Default)]
pub(super) enum Fate {
    /// It takes bytes, or is committed.
    #[default]
    Open,
    /// Something failed before the witness was asked: it has to be cut.
    Void,
    /// The witness may have it, or not: it has to be overruled before anything is cut.
    Doubtful,
    /// The witness has it: it stands, and the index has still to say so.
    Witnessed(Box<Witnessed>),
}

/// A window that stands.
#[derive(Debug)]
pub(super) struct Witnessed {
    pub(super) change: Change,
    pub(super) at_ms: i64,
}

impl Window {
    pub(super) fn is_void(&self) -> bool {
        !matches!(self.fate, Fate::Open)
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.is_void() && self.touched.is_empty() && self.noted.is_empty()
    }
}

impl Archive {
    /// Appends bytes to an epoch: whole frames to one of [`Form::Frames`](crate::Form::Frames). They are durable when
    /// [`Archive::commit`] says so.
    ///
    /// # Errors
    /// [`AppendError::Failed`] voids the window, anything else leaves it as it was; [`AppendError::Gone`] also when the
    /// epoch's files are: [`Archive::take_found`].
    pub fn append(&mut self, handle: Handle, bytes: &[u8]) -> Result<(), AppendError> {
        let epoch = self.may_write(handle, true)?;
        if bytes.is_empty() {
            return Ok(());
        }
        if bytes.len() as u64 > MAX_OFFSET.saturating_sub(epoch.now.end) {
            return Err(refused(&epoch.key, "offsets end at 2^53"));
        }
        self.check_room()?;
        let limits = SegmentLimits {
            max_bytes: self.options.segment_max_bytes,
            max_age: self.max_age(),
        };
        let fault = self.options.fault.clone();
        let mut full = None;
        self.change(handle, |epoch, root, now_ms| {
            epoch.leaving = false;
            match epoch.append(root, bytes, now_ms, limits, &fault) {
                Ok(()) => Ok(()),
                Err(WriteError::Full(e)) => {
                    full = Some(e);
                    Ok(())
                }
                Err(WriteError::Failed(e)) => Err(e),
            }
        })?;
        full.map_or(Ok(()), |e| Err(AppendError::Full(e)))
    }

    /// Records that the bytes from the end to `to` will never come, and goes on at `to`. Part of the window.
    ///
    /// # Errors
    /// [`AppendError::Refused`] for a gap backwards or in a sealed epoch; [`AppendError::Failed`] voids the window.
    pub fn gap(&mut self, handle: Handle, to: u64, cause: &str) -> Result<(), AppendError> {
        let epoch = self.may_write(handle, true)?;
        if to < epoch.now.end {
            return Err(refused(&epoch.key, "a gap backwards"));
        }
        if to > MAX_OFFSET {
            return Err(refused(&epoch.key, "offsets end at 2^53"));
        }
        if to == epoch.now.end {
            return Ok(());
        }
        self.change(handle, |epoch, root, now_ms| {
            epoch.leaving = false;
            epoch.gap(root, to, cause, now_ms)
        })
    }

    /// Records that the epoch ended where it stands, and that `next` follows. `lost`: bytes known to be lost at its
    /// end; none: unknown. The same again changes nothing. Part of the window.
    ///
    /// # Errors
    /// As [`Archive::gap`].
    pub fn roll(
        &mut self,
        handle: Handle,
        next: EpochId,
        cause: &str,
        lost: Option<u64>,
    ) -> Result<(), AppendError> {
        self.may_write(handle, false)?;
        self.change(handle, |epoch, root, now_ms| {
            epoch.roll(root, (next, cause, lost), now_ms)
        })
    }

    /// Records that nothing may be appended to the epoch any more. Part of the window; when that stands, the handle is
    /// gone.
    ///
    /// # Errors
    /// As [`Archive::gap`].
    pub fn seal(&mut self, handle: Handle) -> Result<(), AppendError> {
        self.may_write(handle, false)?;
        self.change(handle, |epoch, root, now_ms| epoch.seal(root, now_ms))
    }

    /// Closes the epoch's segment if it has bytes. Part of the window.
    ///
    /// # Errors
    /// As [`Archive::gap`].
    pub fn close_segment(&mut self, handle: Handle) -> Result<(), AppendError> {
        self.may_write(handle, false)?;
        self.change(handle, |epoch, root, now_ms| epoch.close(root, now_ms))
    }

    /// Closes segments that are older than the limit, also of epochs that nobody writes to; part of the window, and
    /// no more than it takes without a delay: the others are for the next call.
    ///
    /// # Errors
    /// [`AppendError::Failed`] voids the window.
    pub fn close_aged(&mut self) -> Result<(), AppendError> {
        if self.window.is_void() {
            return Err(AppendError::Void);
        }
        let open = self.epochs.iter().filter_map(|(handle, epoch)| {
            let (_, since_ms) = epoch.now.segment?;
            Some((since_ms, *handle))
        });
        let mut open: Vec<(i64, Handle)> = open.collect();
        open.sort_unstable();
        for (_, handle) in open {
            let max_age = self.max_age();
            let closed = self.change(handle, |epoch, root, now_ms| {
                epoch.close_aged(root, now_ms, max_age)
            });
            match closed {
                Ok(()) | Err(AppendError::Gone) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Records a fact of a stream that belongs to no bytes: `takeover`, `conflict`. Part of the window.
    ///
    /// # Errors
    /// [`AppendError::Void`].
    pub fn note(&mut self, key: &StreamKey, fact: Fact) -> Result<(), AppendError> {
        if self.window.is_void() {
            return Err(AppendError::Void);
        }
        let stream = self.streams.entry(key.clone()).or_default();
        stream.notes.push(fact);
        if stream.notes.len() == 1 {
            self.window.noted.push(key.clone());
        }
        Ok(())
    }

    /// Seals epochs that rolled and did not change for `idle`, a few a call. Call it when no window is open.
    ///
    /// # Errors
    /// [`CommitError`], as of [`Archive::commit`]; it can be tried again.
    pub async fn seal_idle(&mut self, idle: Duration) -> Result<Vec<Committed>, CommitError> {
        if !self.window.is_empty() {
            return Ok(Vec::new());
        }
        let idle = i64::try_from(idle.as_millis()).unwrap_or(i64::MAX);
        let before = self.options.clock.now_ms().saturating_sub(idle);
        let entries = self
            .ask(async |index| index.idle(before, SEAL_AT_ONCE).await)
            .await?;
        for entry in entries {
            let known = (entry.key.clone(), entry.epoch);
            let handle = match self.by_id.get(&known) {
                Some(handle) => *handle,
                // Loaded for this alone: it goes when the window stands.
                None => self.insert(entry),
            };
            match self.seal(handle) {
                Ok(()) | Err(AppendError::Gone) => {}
                Err(_) => return Err(CommitError::Void),
            }
        }
        self.commit().await
    }

    fn may_write(&self, handle: Handle, unsealed: bool) -> Result<&Epoch, AppendError> {
        if self.window.is_void() {
            return Err(AppendError::Void);
        }
        let epoch = self.epochs.get(&handle).ok_or(AppendError::Gone)?;
        if unsealed && epoch.now.sealed {
            return Err(refused(&epoch.key, "the epoch is sealed"));
        }
        Ok(epoch)
    }

    /// Changes an epoch and takes it into the window; what fails voids the window.
    fn change(
        &mut self,
        handle: Handle,
        change: impl FnOnce(&mut Epoch, &Dir, i64) -> io::Result<()>,
    ) -> Result<(), AppendError> {
        let now_ms = self.options.clock.now_ms();
        let epoch = self.epochs.get_mut(&handle).ok_or(AppendError::Gone)?;
        let (was_open, had) = (epoch.is_open(), epoch.now.segment);
        let result = change(epoch, &self.root, now_ms);
        if let Err(e) = &result
            && is_lost(e)
            && !epoch.touched
        {
            // Nothing of it is in the window, which stays as it was.
            self.lose(handle, e);
            return Err(AppendError::Gone);
        }
        self.window.closed += usize::from(had.is_some() && epoch.now.segment != had);
        self.open_files += usize::from(epoch.is_open() && !was_open);
        if (epoch.touched || result.is_err()) && !epoch.listed {
            epoch.listed = true;
            self.window.touched.push(handle);
        }
        result.map_err(|source| {
            self.window.fate = Fate::Void;
            let key = epoch.key.clone();
            AppendError::Failed { key, source }
        })
    }

    /// The age at which segments are closed. Each one costs a window a ledger's sync, and a fleet that was started at
    /// one time has them all old at one time: some have to wait.
    fn max_age(&self) -> Duration {
        if self.window.closed < CLOSED_AT_ONCE {
            self.options.segment_max_age
        } else {
            Duration::MAX
        }
    }

    /// Looks once a window whether segments may still grow.
    fn check_room(&mut self) -> Result<(), AppendError> {
        if self.window.room_checked {
            return Ok(());
        }
        self.has_room(0).map_err(AppendError::Full)?;
        self.window.room_checked = true;
        Ok(())
    }

    /// Whether so many bytes leave the index its reserve.
    pub(super) fn has_room(&self, bytes: u64) -> io::Result<()> {
        let available = self.root.available()?;
        let reserved = self.options.reserve_bytes;
        if available < reserved.saturating_add(bytes) {
            let what =
                format!("{available} bytes available for {bytes} more, {reserved} are reserved");
            return Err(io::Error::new(io::ErrorKind::StorageFull, what));
        }
        Ok(())
    }
}

fn refused(key: &StreamKey, what: &'static str) -> AppendError {
    AppendError::Refused {
        key: key.clone(),
        what,
    }
}

/// Most epochs that are sealed in one window.
const SEAL_AT_ONCE: u32 = 64;

/// So many segments a window are closed for their age.
const CLOSED_AT_ONCE: usize = 64;

/// The largest offset, 2^53 − 1: what JSON carries everywhere.
const MAX_OFFSET: u64 = (1 << 53) - 1;
