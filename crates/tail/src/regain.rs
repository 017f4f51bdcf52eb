//! A file that was put back from a copy: shorter than what was read of it, begun like it, and gone on with otherwise.
//!
//! It is the epoch that it was, up to where both part. Only a receiver that proves what it holds can make use of that, so
//! that nothing of this happens without [`Options::ask`](crate::Options::ask).

use crate::entry::{Entry, Stage};
use crate::epoch::Now;
use crate::error::TailError;
use crate::follower::Follower;
use crate::offer;
use crate::print::{PRINT, Print};
use crate::source::Source;
use crate::step::RollCause;

/// Whether a new file is what was put in the place of the epoch before it.
enum Likeness {
    /// It begins with the same 4 KiB.
    Same,
    Other,
    /// It is still being written.
    Unknown,
}

impl Follower {
    /// Gives the epochs before new files those that begin like theirs; says whether that changed the chain.
    pub(crate) fn regain(&mut self, now: Now) -> Result<bool, TailError> {
        let mut changed = false;
        let mut at = 0;
        while at < self.chain.len() {
            if self.chain[at].suspect {
                match self.likeness(at, now)? {
                    Likeness::Unknown => self.unsettled = true,
                    Likeness::Other => {
                        self.chain[at].suspect = false;
                        changed = true;
                    }
                    Likeness::Same => {
                        self.put_back(at, now)?;
                        changed = true;
                    }
                }
            }
            at += 1;
        }
        Ok(changed)
    }

    fn likeness(&mut self, at: usize, now: Now) -> Result<Likeness, TailError> {
        let Some(before) = at.checked_sub(1) else {
            return Ok(Likeness::Other);
        };
        let grace = self.options.grace;
        let [old, new] = self.pair(before);
        let (Some(old), Some(new)) = (old, new) else {
            return Ok(Likeness::Other);
        };
        // A file that has its name, or that nothing more is expected of, was not replaced.
        let replaced = match &old.source {
            Some(_) => old.cause == Some(RollCause::Gone),
            None => old.lost.is_none() && !old.spent,
        };
        if !replaced || old.roll != Stage::Due || old.sealed || !old.has_long_head() {
            return Ok(Likeness::Other);
        }
        let quiet = new.quiet(now, grace);
        let Some(source) = &mut new.source else {
            return Ok(Likeness::Other);
        };
        let unreadable = TailError::unreadable(source.path.clone());
        let head = source.piece(0, PRINT).map_err(unreadable)?;
        Ok(match head.len() {
            PRINT if old.begins_as(&head) => Likeness::Same,
            PRINT => Likeness::Other,
            _ if quiet || !old.may_begin_as(&head) => Likeness::Other,
            _ => Likeness::Unknown,
        })
    }

    fn put_back(&mut self, at: usize, now: Now) -> Result<(), TailError> {
        let [old, new] = self.pair(at - 1);
        let (Some(old), Some(new)) = (old, new) else {
            return Ok(());
        };
        new.suspect = false;
        let Some(source) = &mut new.source else {
            return Ok(());
        };
        let path = source.path.clone();
        let unreadable = |error| TailError::unreadable(&path)(error);
        if let Some(held) = &mut old.source {
            // It has no name any more, but it is there, and is read to its end: what both have in common is its.
            let common = common(held, source).map_err(unreadable)?;
            let base = offer::line_start(source, common)?;
            if base > 0 {
                let len = base.min(PRINT as u64);
                let bytes = source.piece(base - len, len as usize).map_err(unreadable)?;
                (new.of, new.base) = (Some(old.id), base);
                new.go_to(Print::new(base, &bytes));
            }
            return Ok(());
        }
        let id = old.id;
        let source = new.source.take();
        old.doubt();
        if let Some(source) = source {
            old.attach(source, now).map_err(unreadable)?;
        }
        self.chain.remove(at);
        self.forget(id);
        Ok(())
    }

    fn pair(&mut self, before: usize) -> [Option<&mut Entry>; 2] {
        let mut both = self.chain.iter_mut().skip(before);
        [both.next(), both.next()]
    }
}

/// How many bytes two files have in common, from the first on.
fn common(one: &mut Source, other: &mut Source) -> std::io::Result<u64> {
    const CHUNK: usize = 64 << 10;
    let (mut a, mut b) = (Vec::new(), Vec::new());
    let mut at = 0;
    loop {
        a.clear();
        b.clear();
        one.fill(&mut a, at, CHUNK)?;
        other.fill(&mut b, at, CHUNK)?;
        let same = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
        at += same as u64;
        if same < CHUNK {
            return Ok(at);
        }
    }
}
