//! The files of the epochs that are known: by inode while we hold them open, else by content.

use super::nameless;
use super::places::{by_inode, find, recognised, short};
use crate::entry::{Part, Stage};
use crate::epoch::Now;
use crate::error::TailError;
use crate::follower::Follower;
use crate::source::{Kind, Source};
use crate::step::RollCause;

impl Follower {
    /// Takes the files that we hold open out of `files`; gives each epoch's place among them.
    pub(super) fn find_held(&mut self, files: &mut [Option<Source>]) -> Vec<Option<usize>> {
        let mut places = vec![None; self.chain.len()];
        for (entry, place) in self.chain.iter_mut().zip(&mut places) {
            let Some(held) = entry.source.as_mut() else {
                continue;
            };
            let found = files.iter_mut().enumerate().find(|(_, file)| {
                file.as_ref()
                    .is_some_and(|file| file.ident.same_inode(&held.ident))
            });
            if let Some((at, file)) = found {
                if let Some(file) = file.take() {
                    held.path = file.path;
                }
                *place = Some(at);
            } else {
                entry.cause.get_or_insert(RollCause::Gone);
            }
        }
        places
    }

    /// Finds by content what is not there by inode; says whether a file was attached. What little proves waits until
    /// the others have their places: few bytes may begin a younger file as well.
    pub(super) fn find_known(
        &mut self,
        files: &mut [Option<Source>],
        places: &mut [Option<usize>],
        live: Option<usize>,
        now: Now,
    ) -> Result<bool, TailError> {
        for (entry, place) in self.chain.iter_mut().zip(places.iter()) {
            if place.is_none() && !entry.unproven() {
                // What came late into a file without a name makes its proof stronger.
                entry
                    .check(now)
                    .map_err(TailError::unreadable(&self.options.path))?;
            }
        }
        let mut attached = false;
        for weak in [false, true] {
            for index in 0..self.chain.len() {
                let entry = &mut self.chain[index];
                // Held open but without a name: a compressed copy says where it stood, and a copy in its place is it.
                if places[index].is_some() || entry.weak() != weak {
                    continue;
                }
                if entry.unproven() {
                    by_inode(entry, &mut places[index], files, (self.options.ask, now))?;
                    continue;
                }
                let before = places[..index].iter().flatten().max().copied();
                let start = before.map_or(0, |before| before + 1);
                let behind = places[index + 1..].iter().flatten().min().copied();
                let end = behind.filter(|_| weak).unwrap_or(files.len());
                let Some(at) = find(&self.chain, index, files, start..end)? else {
                    continue;
                };
                places[index] = Some(at);
                let last = index + 1 == self.chain.len() && live == Some(at);
                if let Some(source) = files[at].take() {
                    attached |= recognised(&mut self.chain[index], source, last, now)?;
                }
            }
        }
        Ok(attached)
    }

    /// A file that was copied and then cut: what came between is not in the copy, but may have been read. Such a copy is
    /// the beginning of what we had, and over.
    pub(super) fn find_short(
        &mut self,
        files: &mut [Option<Source>],
        places: &mut [Option<usize>],
        live: Option<usize>,
        now: Now,
    ) -> Result<bool, TailError> {
        let inode = live
            .and_then(|at| files[at].as_ref())
            .map(|file| file.ident);
        let mut found = false;
        for (index, entry) in self.chain.iter_mut().enumerate() {
            // Seen by us, or since the checkpoint: its inode holds something else.
            let while_down =
                entry.cause.is_none() && inode.is_some_and(|inode| inode.same_birth(&entry.ident));
            let cut = entry.cause == Some(RollCause::Truncated) || while_down;
            let away = entry.source.is_none() && entry.lost.is_none() && entry.roll == Stage::Due;
            if places[index].is_some() || !(entry.spent || cut && away) {
                continue;
            }
            let Some((at, part)) = short(entry, files, live, while_down)? else {
                continue;
            };
            places[index] = Some(at);
            let Some(file) = files[at].take() else {
                continue;
            };
            match part {
                Part::Read => {
                    found |= !entry.spent;
                    entry.spend();
                }
                Part::Seen => {
                    let path = file.path.clone();
                    entry
                        .shorten(file, now)
                        .map_err(TailError::unreadable(path))?;
                    found = true;
                }
            }
        }
        Ok(found)
    }

    /// An epoch of which nothing was ever seen, between two that were found, has the file between theirs.
    pub(super) fn find_between(
        &mut self,
        files: &mut [Option<Source>],
        places: &mut [Option<usize>],
        now: Now,
    ) -> Result<bool, TailError> {
        let mut attached = false;
        for (index, entry) in self.chain.iter_mut().enumerate() {
            if !nameless(entry) {
                continue;
            }
            let Some(&end) = places[index + 1..].iter().flatten().min() else {
                break;
            };
            let start = places[..index]
                .iter()
                .flatten()
                .max()
                .map_or(0, |at| at + 1);
            let found = (start..end).find(|&at| {
                files[at]
                    .as_ref()
                    .is_some_and(|file| !matches!(file.kind, Kind::Alien(_)))
            });
            if let Some(at) = found
                && let Some(source) = files[at].take()
            {
                let path = source.path.clone();
                entry
                    .attach(source, now)
                    .map_err(TailError::unreadable(path))?;
                entry.cause = None;
                places[index] = Some(at);
                attached = true;
            }
        }
        Ok(attached)
    }
}
