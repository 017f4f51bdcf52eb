//! The follower of one path: which epoch is read next, and when one is over.

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::checkpoint::{Checkpoint, First};
use crate::contest::{Contested, Renamed};
use crate::entry::{Entry, Identity, Stage};
use crate::epoch::{EpochId, Now};
use crate::error::TailError;
use crate::options::{Options, Standing};
use crate::print::Print;
use crate::siblings::Listing;
use crate::source::{Ident, Packing, Source};
use crate::step::Step;
use crate::strangers::{Stranger, imported};

/// How often the path is looked at while there is something to read.
const LOOK: Duration = Duration::from_millis(250);
/// The longest wait that [`Step::Idle`] asks for.
const IDLE: Duration = Duration::from_secs(1);
/// Steps handed out and not confirmed, at most: beyond that nothing more is handed out.
const MAX_UNCONFIRMED: usize = 4096;

/// Follows one path. See the crate's description.
pub struct Follower {
    pub(crate) options: Options,
    /// Oldest first. The last one is the live file's, as far as we know.
    pub(crate) chain: VecDeque<Entry>,
    unconfirmed: VecDeque<Unconfirmed>,
    seq: u64,
    total: u64,
    /// Calls that made a file durable.
    pub(crate) syncs: u64,
    pub(crate) changes: u64,
    pub(crate) ids: Box<dyn FnMut() -> EpochId + Send + Sync>,
    /// Between the steps of naming.
    pub(crate) moment: Box<dyn FnMut() + Send + Sync>,
    pub(crate) look_at: Option<Instant>,
    pub(crate) listing: Option<Listing>,
    pub(crate) alien_since: Option<Instant>,
    /// Files that wait to be named; nothing: whatever is new is named at once.
    pub(crate) strangers: Option<Vec<Stranger>>,
    /// An epoch whose file waits for another name.
    pub(crate) contested: Option<Contested>,
    pub(crate) renamed: Option<Renamed>,
    /// There are files that could not be asked about with those that wait.
    pub(crate) unasked: bool,
    /// Changes of the files that wait.
    pub(crate) round: u64,
    /// Files were named: the epochs before them are looked for once more.
    pub(crate) unsettled: bool,
    /// The live file of the first look of all, as long as nothing is named.
    pub(crate) first: Option<First>,
    /// So much of the live file another program has forwarded, if it turns out to be nobody's epoch.
    pub(crate) import: Option<u64>,
}

/// A step that was handed out.
#[derive(Debug)]
struct Unconfirmed {
    seq: u64,
    epoch: EpochId,
    done: Done,
}

/// What confirming a step means.
#[derive(Debug)]
pub(crate) enum Done {
    Offset(Print),
    Gap,
    Roll,
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower")
            .field("path", &self.options.path)
            .field("chain", &self.chain)
            .finish_non_exhaustive()
    }
}

impl Follower {
    /// Follows a path from where `checkpoint` was taken, or, without one, from the start of the live file (what was
    /// rotated before is not read). Touches nothing: files are looked for by the first [`Follower::next`].
    pub fn new(options: Options, checkpoint: Option<Checkpoint>) -> Self {
        let now = Now::system();
        let Checkpoint { epochs, first } = checkpoint.unwrap_or_default();
        let chain = epochs
            .into_iter()
            .filter(|known| known.head.sane() && known.tail.sane())
            .map(|known| Entry::known(known, now))
            .collect();
        Self {
            strangers: options.ask.then(Vec::new),
            import: None,
            unsettled: false,
            unasked: false,
            contested: None,
            renamed: None,
            round: 0,
            first: first.filter(|first| first.head.sane()),
            options,
            chain,
            unconfirmed: VecDeque::new(),
            seq: 0,
            total: 0,
            syncs: 0,
            changes: 0,
            ids: Box::new(EpochId::random),
            moment: Box::new(|| {}),
            look_at: None,
            listing: None,
            alien_since: None,
        }
    }

    /// Follows a path of which another program has forwarded the first `offset` bytes: begins behind the next LF, with
    /// a [`Gap`](crate::Gap) up to there. If the live file is shorter it is another one, and read from its start. With
    /// [`Options::ask`] that is decided by [`Follower::name`], for a file that no receiver knows; until then the checkpoint
    /// has no epochs, and the offset is to be given again.
    ///
    /// # Errors
    /// The live file can't be read.
    pub fn import(
        options: Options,
        checkpoint: Option<Checkpoint>,
        offset: u64,
    ) -> Result<Self, TailError> {
        let mut follower = Self::new(options, checkpoint);
        if follower.options.ask {
            follower.import = Some(offset);
            return Ok(follower);
        }
        let path = follower.options.path.clone();
        let unreadable = |error| TailError::unreadable(&path)(error);
        let mut source = match Source::open(&path, Packing::Plain) {
            Ok(source) => source,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(follower),
            Err(error) => return Err(unreadable(error)),
        };
        let Some(skip) = imported(&mut source, offset)? else {
            return Ok(follower);
        };
        let mut entry = Entry::new((follower.ids)(), source, Now::system()).map_err(unreadable)?;
        entry.skip = Some(skip);
        follower.chain.push_back(entry);
        follower.changes += 1;
        Ok(follower)
    }

    /// Names new epochs by `ids` instead of at random. For tests.
    #[must_use]
    pub fn with_ids(mut self, ids: impl FnMut() -> EpochId + Send + Sync + 'static) -> Self {
        self.ids = Box::new(ids);
        self
    }

    /// Calls `moment` between the steps of [`Follower::name`], where others may do something to the files. For tests.
    #[must_use]
    pub fn with_moments(mut self, moment: impl FnMut() + Send + Sync + 'static) -> Self {
        self.moment = Box::new(moment);
        self
    }

    /// The live file's path.
    pub fn path(&self) -> &Path {
        &self.options.path
    }

    /// The next thing there is. Clears `buf`, and for a span fills it with its bytes.
    ///
    /// # Errors
    /// Something can't be read now; nothing is lost, ask again later.
    pub fn next(&mut self, buf: &mut Vec<u8>, now: Now) -> Result<Step, TailError> {
        buf.clear();
        let usual = self.options.read.min(self.options.max_line as usize + 1);
        if buf.capacity() > usual.max(1 << 10) * 2 {
            buf.shrink_to(usual);
        }
        if self.unconfirmed.len() >= MAX_UNCONFIRMED {
            return Ok(Step::Idle(Duration::from_millis(10)));
        }
        if self.look_at.is_none_or(|at| now.steady >= at) {
            self.look(now)?;
        }
        let step = loop {
            if let Some(step) = self.ready(buf, now)? {
                break step;
            }
            // All that is known was read: is there more than we know?
            if !self.look(now)? {
                break Step::Idle(self.wait(now));
            }
        };
        self.count_grown();
        Ok(step)
    }

    /// Looks whether the path was rotated or cut, and holds on to what is there. For times in which nothing is read;
    /// [`Follower::next`] does it itself.
    ///
    /// # Errors
    /// As [`Follower::next`].
    pub fn observe(&mut self, now: Now) -> Result<(), TailError> {
        self.look(now)?;
        self.count_grown();
        Ok(())
    }

    /// A longer head is what an epoch is recognised by, as long as nothing of it is confirmed.
    fn count_grown(&mut self) {
        for entry in &mut self.chain {
            self.changes += u64::from(std::mem::take(&mut entry.grown));
        }
    }

    /// Everything up to the step with this number is safe.
    pub fn confirm(&mut self, seq: u64) {
        while let Some(first) = self.unconfirmed.front()
            && first.seq <= seq
        {
            let Some(Unconfirmed { epoch, done, .. }) = self.unconfirmed.pop_front() else {
                break;
            };
            let Some(entry) = self.chain.iter_mut().rfind(|entry| entry.id == epoch) else {
                continue;
            };
            match done {
                Done::Offset(print) => {
                    self.total += print.end.saturating_sub(entry.done.end);
                    entry.confirm(print);
                }
                Done::Gap => entry.gap = Stage::Done,
                Done::Roll => entry.roll = Stage::Done,
            }
        }
    }

    /// Back to what is confirmed: what was handed out since comes again.
    pub fn rewind(&mut self) {
        self.unconfirmed.clear();
        for entry in &mut self.chain {
            entry.rewind();
        }
    }

    /// Counts the changes of the set of epochs: store a [`Follower::checkpoint`] when it moved, before anything of a new
    /// epoch is sent.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// What to store, so that a new follower goes on behind what is confirmed.
    pub fn checkpoint(&self) -> Checkpoint {
        let last = self.chain.len().saturating_sub(1);
        let stored = |(at, entry): (usize, &Entry)| {
            let mut known = entry.to_known();
            if at < last && entry.source.is_some() || entry.roll == Stage::Done {
                // Nobody cuts a file that was rotated.
                known.first.clear();
            }
            known
        };
        // What may turn out to be the epoch before it has no name yet.
        let named = |(_, entry): &(usize, &Entry)| !entry.suspect;
        let epochs = self.chain.iter().enumerate().filter(named).map(stored);
        Checkpoint {
            epochs: epochs.collect(),
            first: self.first,
        }
    }

    /// Longest line handed out in one piece from now on, in bytes without its LF.
    pub fn set_max_line(&mut self, max_line: u32) {
        self.options.max_line = max_line.max(1);
    }

    /// How often a file was made durable, since the follower was made.
    pub fn syncs(&self) -> u64 {
        self.syncs
    }

    /// Where it stands.
    pub fn standing(&self) -> Standing {
        let current = self
            .chain
            .iter()
            .position(|entry| entry.roll == Stage::Due && !entry.sealed);
        let at = current.or(self.chain.len().checked_sub(1));
        let Some(entry) = at.and_then(|at| self.chain.get(at)) else {
            return Standing::default();
        };
        Standing {
            epoch: Some(entry.id),
            offset: entry.sent,
            confirmed: entry.done.end,
            size: entry.size,
            lag: self.chain.iter().map(Entry::pending).sum(),
            total: self.total,
            waiting: current.map_or(0, |at| self.chain.len() - at - 1),
        }
    }

    /// Whether the path was rotated or cut since the last look: then the chain has changed.
    fn look(&mut self, now: Now) -> Result<bool, TailError> {
        self.look_at = Some(now.steady + LOOK);
        let path = &self.options.path;
        let there = match std::fs::metadata(path) {
            Ok(meta) => Some(Ident::of(&meta)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(TailError::unreadable(path)(error)),
        };
        if let Some(last) = self.chain.back_mut()
            && let Some(source) = &last.source
            && source.is_plain()
        {
            let live = there.is_some_and(|there| source.ident.same_inode(&there));
            let is = last.check(now).map_err(TailError::unreadable(path))?;
            if is == Identity::Other {
                self.estrange(self.chain.len() - 1, now)?;
            } else if live && !last.unproven() && !self.unsettled && !self.unasked {
                // The newest epoch that we know is the live one: nothing came after it.
                self.strangers.take_if(|strangers| strangers.is_empty());
                self.tidy(now);
                return Ok(false);
            }
            // What stood in an empty file for a moment may have been copied away: a new name would say so.
        }
        if there.is_none() && self.chain.is_empty() {
            return Ok(false);
        }
        self.settle(now)
    }

    /// The content of this epoch's file is not what it was: it must be looked for elsewhere. What stands in the file
    /// now is another epoch, and its only copy if the file has no name any more.
    pub(crate) fn estrange(&mut self, at: usize, now: Now) -> Result<(), TailError> {
        self.listing = None;
        self.changes += 1;
        let entry = &mut self.chain[at];
        let source = entry.estrange();
        if let Some(source) = source
            && entry.roll == Stage::Due
        {
            let path = source.path.clone();
            let mut next = Entry::new((self.ids)(), source.fresh(), now)
                .map_err(TailError::unreadable(path))?;
            next.suspect = self.options.ask;
            self.chain.insert(at + 1, next);
        }
        Ok(())
    }

    /// What was handed out of this epoch and is not confirmed never was.
    pub(crate) fn forget(&mut self, epoch: EpochId) {
        self.unconfirmed.retain(|step| step.epoch != epoch);
    }

    pub(crate) fn handed(&mut self, epoch: EpochId, done: Done) -> u64 {
        self.seq += 1;
        self.unconfirmed.push_back(Unconfirmed {
            seq: self.seq,
            epoch,
            done,
        });
        self.seq
    }

    /// How long nothing will happen that we know of.
    fn wait(&self, now: Now) -> Duration {
        let current = self
            .chain
            .iter()
            .find(|entry| entry.roll == Stage::Due && !entry.sealed);
        let waiting = match (current, self.chain.back()) {
            (Some(current), Some(last)) => current.id != last.id,
            _ => false,
        };
        let Some(current) = current.filter(|_| waiting) else {
            return IDLE;
        };
        let grace = if current.sent < current.size {
            self.options.grace_unterminated
        } else {
            self.options.grace
        };
        (current.changed + grace)
            .saturating_duration_since(now.steady)
            .clamp(Duration::from_millis(5), IDLE)
    }
}
