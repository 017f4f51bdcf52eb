//! Files that may have had a name before: after a loss of the checkpoint, or with an old copy of it, a receiver knows
//! more than we do.
//!
//! With [`Options::ask`](crate::Options::ask) the files that the first look finds and no checkpoint explains are held
//! open and wait, until [`Follower::name`] says what a receiver recognised.

use crate::checkpoint::First;
use crate::epoch::EpochId;
use crate::error::TailError;
use crate::follower::Follower;
use crate::offer;
use crate::print::{PRINT, Print};
use crate::source::{Kind, Source};

mod naming;
mod weighing;

pub(crate) use weighing::imported;

/// Files that are asked about, at most, the newest: a receiver tells of so few epochs.
pub(crate) const MAX_STRANGERS: usize = 24;

/// What a receiver knows of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Nothing: it is new.
    New,
    /// It is this epoch.
    Is(EpochId),
    /// It begins like this epoch and goes on otherwise from `base`.
    Branch {
        /// The epoch.
        of: Option<EpochId>,
        /// Where the histories part.
        base: u64,
    },
    /// It is a copy of another one that waits: nothing has to be read of it.
    Copy,
}

/// One of the files.
#[derive(Debug)]
pub(crate) struct Stranger {
    pub(crate) source: Source,
    /// The epoch that stands behind it, if any is known.
    before: Option<EpochId>,
    /// Whether it is the live file.
    live: bool,
    /// It has no name any more.
    gone: bool,
    /// It was there at the first look of all, and not live: what is in it is from before our time.
    old: bool,
    /// What it began with when it was asked about.
    head: Option<Print>,
    /// How long it was then.
    size: Option<u64>,
}

impl Follower {
    /// How many files wait to be named, oldest first, and behind them the one of an epoch that is
    /// [contested](Follower::contest). While any do, [`Follower::next`] hands out nothing of them.
    pub fn strangers(&self) -> usize {
        self.waiting() + usize::from(self.contested.is_some())
    }

    /// How many that nothing explains.
    pub(crate) fn waiting(&self) -> usize {
        self.strangers.as_ref().map_or(0, Vec::len)
    }

    /// Counts the changes of the list of files that wait: answers are about one list only.
    pub fn strangers_round(&self) -> u64 {
        self.round
    }

    /// The length of a file that waits; 0 if there are more than a receiver can be asked about, and it is one of the
    /// oldest.
    ///
    /// # Errors
    /// It can't be read now.
    pub fn stranger_size(&mut self, at: usize) -> Result<u64, TailError> {
        if let Some(stranger) = self.stranger(at) {
            stranger.note()?;
        }
        match at < self.waiting().saturating_sub(MAX_STRANGERS) {
            true => Ok(0),
            false => self.length(at),
        }
    }

    fn length(&mut self, at: usize) -> Result<u64, TailError> {
        match self.asked(at) {
            Some(source) => source.length().map_err(TailError::unreadable(&source.path)),
            None => Ok(0),
        }
    }

    /// As [`Follower::bytes`], of a file that waits.
    ///
    /// # Errors
    /// It can't be read now.
    pub fn stranger_bytes(
        &mut self,
        at: usize,
        end: u64,
        len: u32,
    ) -> Result<Option<Vec<u8>>, TailError> {
        match self.asked(at) {
            Some(source) => offer::bytes(source, end, len),
            None => Ok(None),
        }
    }

    /// As [`Follower::line_start`], of a file that waits.
    ///
    /// # Errors
    /// It can't be read now.
    pub fn stranger_line_start(&mut self, at: usize, end: u64) -> Result<Option<u64>, TailError> {
        match self.asked(at) {
            Some(source) => offer::line_start(source, end).map(Some),
            None => Ok(None),
        }
    }

    /// Takes up the files that a look found and nothing explains; those that waited already stay.
    pub(crate) fn meet(
        &mut self,
        files: &mut [Option<Source>],
        places: &[Option<usize>],
        newer: &[usize],
        live: Option<usize>,
    ) -> Result<(), TailError> {
        let mut gone = self.strangers.take().unwrap_or_default();
        let count = gone.len();
        let mut there = Vec::new();
        let first_look = self.chain.is_empty() && self.first.is_none();
        let mut from = newer.len().saturating_sub(MAX_STRANGERS);
        if let Some(first) = self.first.filter(|_| from > 0 && self.chain.is_empty()) {
            // They are ours, asked about or not.
            let ours = newer.iter().position(|&at| {
                let file = files[at].as_mut();
                file.is_some_and(|file| first.precedes(file) || first.is(file))
            });
            from = from.min(ours.unwrap_or(from));
        }
        let blind = |at: &usize| matches!(&files[*at], Some(file) if file.is_shut());
        self.unasked = from > 0 || newer.iter().any(blind);
        for &at in &newer[from..] {
            // One that can't be opened has nothing to be asked about: it is named when it can be.
            let Some(source) = files[at].take_if(|file| !matches!(file.kind, Kind::Alien(_)))
            else {
                continue;
            };
            let live = live == Some(at);
            let same = gone
                .iter()
                .position(|known| known.source.ident.same_inode(&source.ident));
            if let Some(same) = same {
                let mut known = gone.remove(same);
                (known.source.path, known.live, known.gone) = (source.path, live, false);
                there.push(known);
                continue;
            }
            let behind = places
                .iter()
                .position(|place| place.is_some_and(|place| place > at));
            there.push(Stranger {
                source,
                before: behind.map(|behind| self.chain[behind].id),
                live,
                gone: false,
                old: first_look && !live,
                head: None,
                size: None,
            });
        }
        // What turned out to be a known epoch's file waits no more.
        gone.retain(|stranger| !self.holds(&stranger.source));
        for stranger in &mut gone {
            (stranger.live, stranger.gone) = (false, true);
        }
        // What has no name any more is older than what has one.
        gone.append(&mut there);
        // Answers are told by place: with another list all have to be asked again.
        self.round += u64::from(gone.len() != count || !gone.is_empty());
        self.strangers = Some(gone);
        self.note_first()
    }

    /// Remembers which file was live at the first look of all, and more of it as long as it is short.
    fn note_first(&mut self) -> Result<(), TailError> {
        if !self.chain.is_empty() {
            return Ok(());
        }
        let first = self.first;
        let mut waiting = self.strangers.take().unwrap_or_default();
        let ours = self.ours(&mut waiting);
        let mut strangers = self.strangers.insert(waiting).iter_mut();
        let found = match first {
            Some(first) if first.head.len as usize >= PRINT => None,
            // If anything older is ours as well, what its inode holds now may be another file.
            Some(first) => ours
                .and_then(|at| strangers.nth(at))
                .filter(|stranger| stranger.source.ident.same_birth(&first.ident)),
            None => strangers.find(|stranger| stranger.live),
        };
        let Some(stranger) = found else {
            return Ok(());
        };
        let source = &mut stranger.source;
        let head = source
            .piece(0, PRINT)
            .map_err(TailError::unreadable(&source.path))?;
        let grown = first.is_none_or(|first| head.len() > first.head.len as usize);
        // Only what goes on as it began is the same file.
        let same = match &first {
            Some(first) => source
                .holds(&first.head)
                .map_err(TailError::unreadable(&source.path))?,
            None => true,
        };
        if grown && same {
            self.first = Some(First {
                ident: source.ident,
                head: Print::new(head.len() as u64, &head),
            });
            self.changes += 1;
        }
        Ok(())
    }

    /// Whether an epoch's file is this one.
    fn holds(&self, file: &Source) -> bool {
        let held = self.chain.iter().flat_map(|entry| &entry.source);
        held.map(|source| source.ident)
            .any(|ident| ident.same_inode(&file.ident))
    }

    fn stranger(&mut self, at: usize) -> Option<&mut Stranger> {
        self.strangers.as_mut()?.get_mut(at)
    }

    /// The file number `at` of those that are asked about.
    fn asked(&mut self, at: usize) -> Option<&mut Source> {
        if at >= self.waiting() {
            return self.contested_source();
        }
        self.stranger(at).map(|stranger| &mut stranger.source)
    }
}

impl Stranger {
    /// Notes what it is when it is asked about, unless that is noted already.
    fn note(&mut self) -> Result<(), TailError> {
        if self.head.is_some() {
            return Ok(());
        }
        let source = &mut self.source;
        let unreadable = TailError::unreadable(source.path.clone());
        let mut note = || {
            let head = source.piece(0, PRINT)?;
            // Nobody writes into a compressed file, and its length takes long.
            let size = source.is_plain().then(|| source.length()).transpose()?;
            Ok((Print::new(head.len() as u64, &head), size))
        };
        let (head, size) = note().map_err(unreadable)?;
        (self.head, self.size) = (Some(head), size);
        Ok(())
    }
}

impl First {
    /// Whether this is the file.
    fn is(&self, source: &mut Source) -> bool {
        let near = source.ident.same_birth(&self.ident)
            || source.ident.modified_ns >= self.ident.modified_ns;
        (self.head.len as usize >= PRINT || near) && self.begins(source)
    }

    /// Whether this file begins as it did.
    fn begins(&self, source: &mut Source) -> bool {
        source.holds(&self.head).unwrap_or(false)
    }

    /// Whether this file changed after it was seen.
    fn precedes(&self, source: &Source) -> bool {
        source.ident.modified_ns > self.ident.modified_ns
    }
}
