//! Which file is which: finds the files of the known epochs, and the epochs that came after them.
//!
//! Names and stamps give the order of the files. An epoch whose file we hold open is found by its inode; any other by
//! its content, at its old inode first. What lies behind the newest file that was recognised is new, and becomes an
//! epoch each. When none is recognised, what changed last before the newest known epoch did is old.

use std::time::Duration;

use crate::entry::{Entry, Identity, Stage};
use crate::epoch::Now;
use crate::error::TailError;
use crate::follower::Follower;
use crate::siblings::{self, Found};
use crate::source::{Kind, Source};
use crate::step::{Cause, RollCause};

mod known;
mod places;

pub(crate) use places::is_beginning;
use places::{born_as, changed_since, is_young};
pub(crate) use places::{nameless, unread};

/// A rotated file that can't be opened is given so much time before it becomes a gap.
const ALIEN: Duration = Duration::from_secs(60);
/// Epochs held open at a time. More stay in the directory until their turn comes.
const MAX_OPEN: usize = 64;

impl Follower {
    /// Looks at the directory and brings the chain up to date; says whether that changed it.
    pub(crate) fn settle(&mut self, now: Now) -> Result<bool, TailError> {
        let path = &self.options.path;
        if let Some(seen) = &self.listing {
            // While nothing was renamed, made or removed, a second look would find the same.
            let there = siblings::listing(path)?;
            let resolved = self.chain.back().is_some_and(|last| last.source.is_some())
                || self.strangers.is_some();
            if *seen == there && (resolved || !there.has_live(path)) {
                return Ok(false);
            }
        }
        let Found {
            files,
            live,
            listing,
        } = siblings::open(path)?;
        let mut files: Vec<Option<Source>> = files.into_iter().map(Some).collect();
        let live = live.then(|| files.len() - 1);
        let first = self.chain.is_empty();

        let mut places = self.find_held(&mut files);
        let mut attached = self.find_known(&mut files, &mut places, live, now)?;
        attached |= self.find_short(&mut files, &mut places, live, now)?;
        attached |= self.find_between(&mut files, &mut places, now)?;
        // What is older than all we know was there before our time, or is long done.
        let oldest = places.iter().flatten().min().copied();
        let newer: Vec<usize> = match oldest.or_else(|| self.guess(&files)) {
            Some(start) => {
                let since = self.missing(&places);
                let late = (0..start).filter(|&at| changed_since(&files[at], since));
                late.chain(start..files.len()).collect()
            }
            None if first => live.into_iter().collect(),
            None => self.younger(&files, live),
        };
        let inode = live
            .and_then(|at| files[at].as_ref())
            .map(|file| file.ident);
        let newer = self.unseen(&files, &places, newer);
        let readable = self.readable_again(&files, &places);
        if self.strangers.is_some() || !readable.is_empty() {
            // Without a checkpoint any of the files may have been ours.
            let asked: Vec<usize> = match first {
                true => (0..files.len()).collect(),
                false => merged(&newer, readable),
            };
            if first {
                self.wait_for_all(&files, now)?;
            }
            self.meet(&mut files, &places, &asked, live)?;
            if self.waiting() > 0 {
                self.listing = Some(listing);
                self.changes += u64::from(attached);
                return Ok(attached);
            }
            if !self.unasked {
                self.strangers = None;
            }
        }
        self.unsettled = false;
        (self.moment)();
        let newer = self.made(&mut files, newer, live, now)?;
        if !newer.is_empty() && self.is_live_cut(now)? {
            // What was not found to be its copy may be one. It is looked for first, and all this once more.
            (self.listing, self.look_at) = (None, None);
            self.unsettled = true;
            self.changes += u64::from(attached);
            return Ok(attached);
        }
        let grown = self.adopt(&mut files, &mut places, newer, now)?;
        let regained = self.regain(now)?;
        let lost = self.write_off(live.is_some() || grown, inode);
        // Over the limit of open files there is more to come although nothing changes.
        let all = self.open_files() < MAX_OPEN;
        self.listing = (all && !self.unsettled).then_some(listing);
        self.tidy(now);
        let changed = grown || lost || attached || regained;
        self.changes += u64::from(changed);
        Ok(changed)
    }

    /// The files of epochs that could not be read when they were found, and can be read now.
    fn readable_again(&self, files: &[Option<Source>], places: &[Option<usize>]) -> Vec<usize> {
        let both = self.chain.iter().zip(places);
        both.filter(|(entry, _)| self.options.ask && unread(entry))
            .filter_map(|(_, place)| *place)
            .filter(|&at| files[at].as_ref().is_some_and(Source::is_readable))
            .collect()
    }

    /// Without a checkpoint nothing would remind us of a file that can't be read while the others are asked about.
    fn wait_for_all(&mut self, files: &[Option<Source>], now: Now) -> Result<(), TailError> {
        let aliens = files.iter().flatten().filter(|file| !file.is_readable());
        for file in aliens {
            self.alien(file, now)?;
        }
        Ok(())
    }

    fn open_files(&self) -> usize {
        self.chain
            .iter()
            .filter(|entry| entry.source.is_some())
            .count()
    }

    /// Nothing is proven: an epoch of which nothing was ever seen is where its inode is, unless something younger stands
    /// before it; what follows is new.
    fn guess(&self, files: &[Option<Source>]) -> Option<usize> {
        let unproven = self.chain.iter().filter(|entry| entry.unproven());
        unproven
            .filter_map(|entry| {
                files.iter().position(|file| {
                    born_as(file, entry)
                        || file
                            .as_ref()
                            .is_some_and(|file| file.ident.modified_ns > entry.ident.modified_ns)
                })
            })
            .min()
    }

    /// Of the files between two that were found, as many as there are finished epochs in between stand for those: someone
    /// has altered or packed them since. Only what is more than that came and went unseen.
    fn unseen(
        &self,
        files: &[Option<Source>],
        places: &[Option<usize>],
        newer: Vec<usize>,
    ) -> Vec<usize> {
        let altered = |after: usize, before: usize| {
            let between = self.chain.iter().take(before).skip(after + 1);
            between
                .filter(|entry| entry.roll == Stage::Done && entry.lost.is_none())
                // What was deleted, or cut without a copy, stands nowhere.
                .filter(|entry| {
                    !matches!(entry.cause, Some(RollCause::Gone | RollCause::Truncated))
                })
                .count()
        };
        let mut range = None;
        let mut left = 0;
        let keep = |at: &usize| {
            let before = places
                .iter()
                .position(|place| place.is_some_and(|place| place > *at));
            let after = places
                .iter()
                .rposition(|place| place.is_some_and(|place| place < *at));
            let (Some(after), Some(before)) = (after, before) else {
                return true;
            };
            if range != Some((after, before)) {
                range = Some((after, before));
                left = altered(after, before);
            }
            let stands_for_one = left > 0;
            left = left.saturating_sub(1);
            !stands_for_one
        };
        let there = newer.into_iter().filter(|&at| files[at].is_some());
        there.filter(keep).collect()
    }

    /// When the first epochs, if their files were not found, last changed: what changed later came after them. Those
    /// that ended in order say nothing, since what stands there may be older, and touched. And what stood in the first one
    /// between two looks may have been copied away.
    fn missing(&self, places: &[Option<usize>]) -> i64 {
        let waits = |entry: &Entry| entry.roll != Stage::Done && !entry.sealed;
        // Held open without a name, it can't be what stands there; what changed later is.
        let later = |entry: &Entry| entry.source.is_some() || !waits(entry);
        if let Some(first) = self.chain.front().filter(|first| first.fresh) {
            return first.empty_ns + 1;
        }
        self.chain
            .iter()
            .zip(places)
            .take_while(|(_, place)| place.is_none())
            .filter(|(entry, _)| waits(entry) || entry.source.is_none() && entry.lost.is_some())
            .map(|(entry, _)| entry.ident.modified_ns + i64::from(later(entry)))
            .max()
            .unwrap_or(i64::MAX)
    }

    /// The files that changed after the newest epoch we know, and the live one.
    fn younger(&self, files: &[Option<Source>], live: Option<usize>) -> Vec<usize> {
        let since = self
            .chain
            .iter()
            .map(|entry| entry.ident.modified_ns)
            .max()
            .unwrap_or(i64::MAX);
        (0..files.len())
            .filter(|&at| live == Some(at) || changed_since(&files[at], since))
            .collect()
    }

    /// Makes an epoch of each new file, in its place; those known by name only come first.
    fn adopt(
        &mut self,
        files: &mut [Option<Source>],
        places: &mut Vec<Option<usize>>,
        newer: Vec<usize>,
        now: Now,
    ) -> Result<bool, TailError> {
        let mut grown = false;
        for at in newer {
            if self.open_files() >= MAX_OPEN {
                break;
            }
            let Some(file) = files[at].take() else {
                continue;
            };
            let alien = self.alien(&file, now)?;
            let path = file.path.clone();
            let before = places
                .iter()
                .position(|place| place.is_some_and(|place| place > at));
            let waiting = self
                .chain
                .iter()
                .rposition(|entry| !nameless(entry))
                .map_or(0, |last| last + 1);
            if before.is_none() && waiting < self.chain.len() {
                let entry = &mut self.chain[waiting];
                entry.cause = None;
                places[waiting] = Some(at);
                if alien {
                    entry.lost = Some(Cause::Unreadable);
                } else {
                    entry
                        .attach(file, now)
                        .map_err(TailError::unreadable(path))?;
                }
            } else {
                let id = (self.ids)();
                let mut entry = if alien {
                    Entry::unreadable(id, file.ident, now)
                } else {
                    Entry::new(id, file, now).map_err(TailError::unreadable(path))?
                };
                entry.suspect = self.options.ask && !alien && before.is_none();
                let index = before.unwrap_or(self.chain.len());
                self.chain.insert(index, entry);
                places.insert(index, Some(at));
            }
            grown = true;
        }
        Ok(grown)
    }

    /// Leaves out what is the beginning of the live file: a copy, before the cut. While it may be in the making it is looked
    /// at again soon.
    fn made(
        &mut self,
        files: &mut [Option<Source>],
        mut newer: Vec<usize>,
        live: Option<usize>,
        now: Now,
    ) -> Result<Vec<usize>, TailError> {
        let Some(live) = live else {
            return Ok(newer);
        };
        let mut new = files[live].take();
        let held = self.chain.back_mut().and_then(|last| last.source.as_mut());
        let mut result = Ok(());
        if let Some(source) = new.as_mut().or(held) {
            let mut making = false;
            newer.retain(|&at| match files[at].as_mut() {
                Some(file) if at != live => match is_beginning(file, source, now) {
                    Ok(true) => {
                        making |= is_young(file, now).unwrap_or(true);
                        false
                    }
                    Ok(false) => true,
                    Err(error) => {
                        result = Err(TailError::unreadable(&file.path)(error));
                        true
                    }
                },
                _ => true,
            });
            self.unsettled = making;
        }
        files[live] = new;
        result.map(|()| newer)
    }

    /// Whether the live file, with which others were compared, was cut meanwhile.
    fn is_live_cut(&mut self, now: Now) -> Result<bool, TailError> {
        match self.chain.back_mut() {
            Some(last) => {
                let is = last.check(now);
                let is = is.map_err(TailError::unreadable(&self.options.path))?;
                Ok(is == Identity::Other)
            }
            None => Ok(false),
        }
    }

    /// Whether `file` will never be readable. For a while that is an error, since permissions can be put right.
    fn alien(&mut self, file: &Source, now: Now) -> Result<bool, TailError> {
        let Kind::Alien(error) = &file.kind else {
            self.alien_since = None;
            return Ok(false);
        };
        let since = *self.alien_since.get_or_insert(now.steady);
        match error {
            Some(error) if now.steady.saturating_duration_since(since) < ALIEN => {
                let source = std::io::Error::new(error.kind(), error.to_string());
                Err(TailError::unreadable(&file.path)(source))
            }
            _ => Ok(true),
        }
    }
}

/// Both, in order.
fn merged(newer: &[usize], more: Vec<usize>) -> Vec<usize> {
    let mut all: Vec<usize> = newer.iter().copied().chain(more).collect();
    all.sort_unstable();
    all.dedup();
    all
}
