//! Whether a file is an epoch's: its own, which may have been changed, or one that was found.

use std::io;

use super::{Entry, Identity, MAKING_NS, Part, Stage, WEAK};
use crate::epoch::Now;
use crate::print::{PRINT, Print};
use crate::source::{Ident, Source};

/// Stamps younger than this are not believed to be the last ones (the coarsest clocks of file systems tick in 10 ms,
/// those of network file systems in a second).
const TICK_NS: i64 = 2_000_000_000;

impl Entry {
    /// Nothing of its content is known.
    pub(crate) fn unproven(&self) -> bool {
        self.head_print.len == 0 && self.head.is_empty() && self.sent == 0
    }

    /// What is known of its content may well be in another file too.
    pub(crate) fn weak(&self) -> bool {
        let seen = self.head.len().max(self.head_print.len as usize);
        self.sent.max(seen as u64) < WEAK
    }

    /// How many of these first bytes of a file are known to be the epoch's: all that both have, or none.
    pub(crate) fn shares(&self, first: &[u8]) -> usize {
        let known = self.head.len().max(self.head_print.len as usize);
        let len = known.min(first.len());
        let same = match self.head.get(..len) {
            Some(head) => head == &first[..len],
            None => len == known && Print::new(len as u64, &first[..len]) == self.head_print,
        };
        if same { len } else { 0 }
    }

    /// Whether `file` holds what is known of this epoch.
    pub(crate) fn matches(&self, file: &mut Source) -> io::Result<bool> {
        if self.unproven() {
            return Ok(false);
        }
        if self.roll == Stage::Done {
            let length = file.length_hint() == self.sent % (1 << 32);
            if self.weak() && !length && !file.ident.same_birth(&self.ident) {
                return Ok(false);
            }
            if length && !file.is_plain() {
                // Over and compressed since: of the same length means that nothing came late. Only if not, all of it
                // has to be unpacked.
                return file.holds(&self.head_print);
            }
        }
        if !file.holds(&self.head_print)? || !file.holds(&self.done)? {
            return Ok(false);
        }
        if !file.equals(0, &self.head)? {
            return Ok(false);
        }
        match &self.tail {
            Some(tail) => file.equals(self.sent - tail.len() as u64, tail),
            None => Ok(true),
        }
    }

    /// Whether all of `file` is the beginning of what is known of it, as far as that can be told: by its first 4 KiB.
    pub(crate) fn begins_with(&self, file: &mut Source) -> io::Result<Option<Part>> {
        let length = file.length_hint();
        let first = match length {
            0 => return Ok(None),
            _ => file.piece(0, PRINT)?,
        };
        if length >= self.sent {
            let part = (length as usize) < self.head.len()
                && first.len() as u64 == length
                && self.head.starts_with(&first);
            return Ok(part.then_some(Part::Seen));
        }
        let begins = match self.head.len() {
            0 => self.head_print.len as usize == PRINT && file.holds(&self.head_print)?,
            _ => self.head.starts_with(&first),
        };
        Ok((begins && length >= WEAK).then_some(Part::Read))
    }

    /// Whether `file`, by its stamp, may be a copy of it that was made at the last change that we know of.
    pub(crate) fn is_near(&self, file: &Source) -> bool {
        file.ident.modified_ns.saturating_add(MAKING_NS) >= self.ident.modified_ns
    }

    /// Whether its first 4 KiB are known.
    pub(crate) fn has_long_head(&self) -> bool {
        self.head.len() == PRINT || self.head_print.len as usize == PRINT
    }

    /// Whether these are its first 4 KiB.
    pub(crate) fn begins_as(&self, head: &[u8]) -> bool {
        match self.head.len() {
            PRINT => self.head == head,
            _ => Print::new(head.len() as u64, head) == self.head_print,
        }
    }

    /// Whether these can be its first bytes, as far as is known.
    pub(crate) fn may_begin_as(&self, head: &[u8]) -> bool {
        self.head.is_empty() || self.head.starts_with(head)
    }

    /// Whether at least the first bytes are the same.
    pub(crate) fn head_matches(&self, file: &mut Source) -> bool {
        self.head_print.len > 0 && file.holds(&self.head_print).unwrap_or(false)
    }

    /// Whether its own file still holds what we read from it. Cheap when its stamps did not change since the last time.
    pub(crate) fn check(&mut self, now: Now) -> io::Result<Identity> {
        let Some(source) = &self.source else {
            return Ok(Identity::Same);
        };
        let Some(meta) = source.look()? else {
            // Nobody writes into a compressed file: once is enough.
            let same = self.tail.is_some() || self.compare()?;
            return Ok(if same {
                Identity::Same
            } else {
                Identity::Other
            });
        };
        let ident = Ident::of(&meta);
        if ident.size < self.sent.max(self.head.len() as u64) {
            return Ok(Identity::Other);
        }
        // Within a tick of the file system's clock a file may change without a change of its stamp.
        let old = now.wall_ns().saturating_sub(ident.modified_ns) > TICK_NS;
        if old && self.tail.is_some() && self.sure == Some((ident.size, ident.modified_ns)) {
            return Ok(Identity::Same);
        }
        if !self.compare()? {
            return Ok(Identity::Other);
        }
        if ident.size != self.size || self.sure.is_none() {
            self.changed = now.steady;
        }
        if self.head.is_empty() {
            self.empty_ns = self.ident.modified_ns;
        }
        self.size = ident.size;
        self.ident = ident;
        self.sure = Some((ident.size, ident.modified_ns));
        self.see_head()?;
        Ok(Identity::Same)
    }

    /// Compares head and tail with the file; loads the tail after a rewind.
    pub(crate) fn compare(&mut self) -> io::Result<bool> {
        let Some(source) = &mut self.source else {
            return Ok(true);
        };
        match &self.tail {
            Some(tail) => {
                let at = self.sent - tail.len() as u64;
                // Where both overlap, one comparison is enough.
                Ok(source.equals(at, tail)?
                    && (at == 0 && tail.len() >= self.head.len()
                        || source.equals(0, &self.head)?))
            }
            None => {
                let len = self.done.len as usize;
                let tail = source.piece(self.done.start(), len)?;
                if tail.len() != len || Print::new(self.done.end, &tail) != self.done {
                    return Ok(false);
                }
                if !source.equals(0, &self.head)? {
                    return Ok(false);
                }
                self.tail = Some(tail);
                Ok(true)
            }
        }
    }

    /// Takes up more of the first 4 KiB, as long as they are not complete.
    pub(crate) fn see_head(&mut self) -> io::Result<()> {
        if self.head.len() < PRINT
            && let Some(source) = &mut self.source
        {
            let head = source.piece(0, PRINT)?;
            self.take_head(head);
        }
        Ok(())
    }

    pub(super) fn take_head(&mut self, head: Vec<u8>) {
        if self.head.len() < PRINT && head.starts_with(&self.head) {
            self.fresh |= self.head.is_empty() && !head.is_empty() && self.sure.is_some();
            self.head = head;
            if self.done.end == 0 && self.head_print.len as usize != self.head.len() {
                self.head_print = Print::new(self.head.len() as u64, &self.head);
                self.grown = true;
            }
        }
    }
}
