//! What is handed out next: lines, ends, gaps and rolls, oldest epoch first.

use std::time::Duration;

use crate::checkpoint::Skip;
use crate::entry::{Entry, Identity, Stage, whole_lines};
use crate::epoch::Now;
use crate::error::TailError;
use crate::follower::{Done, Follower};
use crate::source::Source;
use crate::step::{Cause, Gap, Roll, RollCause, Span, Step};

/// How often a rotated, finished file is looked at for late writes.
const LATE_LOOK: Duration = Duration::from_secs(1);

impl Follower {
    /// The next step of what is known.
    pub(crate) fn ready(&mut self, buf: &mut Vec<u8>, now: Now) -> Result<Option<Step>, TailError> {
        // Late lines must not come between the parts of one line.
        let between = self
            .chain
            .iter()
            .find(|entry| entry.roll == Stage::Due && !entry.sealed)
            .is_none_or(Entry::at_line_start);
        let mut at = 0;
        while at < self.chain.len() {
            let entry = &mut self.chain[at];
            if entry.sealed {
            } else if entry.roll != Stage::Due {
                if between
                    && now.steady >= entry.look_at
                    && let Some(step) = self.late(at, buf, now)?
                {
                    return Ok(Some(step));
                }
            } else if entry
                .check(now)
                .map_err(TailError::unreadable(&self.options.path))?
                == Identity::Other
            {
                self.estrange(at, now)?;
                self.settle(now)?;
                at = 0;
                continue;
            } else if entry.suspect {
                self.settle(now)?;
                if self.chain.get(at).is_some_and(|entry| entry.suspect) {
                    return Ok(None);
                }
                at = 0;
                continue;
            } else if entry.fresh {
                // Either way the places in the chain may have changed.
                self.settle(now)?;
                self.chain.iter_mut().for_each(|entry| entry.fresh = false);
                at = 0;
                continue;
            } else {
                return self.current(at, buf, now);
            }
            at += 1;
        }
        self.tidy(now);
        Ok(None)
    }

    /// The next step of the epoch that is read.
    fn current(
        &mut self,
        at: usize,
        buf: &mut Vec<u8>,
        now: Now,
    ) -> Result<Option<Step>, TailError> {
        let last = at + 1 == self.chain.len();
        if let Some(step) = self.pass(at, last)? {
            return Ok(Some(step));
        }
        let entry = &mut self.chain[at];
        if entry.lost.is_none() && entry.source.is_some() && entry.no_line_at != Some(entry.size) {
            match self.read(at, buf, now)? {
                Read::Step(step) => return Ok(Some(step)),
                Read::Again => return self.ready(buf, now),
                Read::Nothing => {}
            }
        }
        let entry = &mut self.chain[at];
        if let Some(cause) = entry.lost
            && entry.gap == Stage::Due
        {
            entry.gap = Stage::Sent;
            let (epoch, from) = (entry.id, entry.sent);
            let known = entry.size.saturating_sub(from);
            let seq = self.handed(epoch, Done::Gap);
            return Ok(Some(Step::Gap(Gap {
                seq,
                epoch,
                from,
                to: None,
                known,
                cause,
            })));
        }
        let away = entry.source.is_none() && entry.lost.is_none() && !entry.spent;
        if last || away || self.chain[at + 1].suspect || !self.over(at, now) {
            return Ok(None);
        }
        if let Some(step) = self.unterminated(at, buf)? {
            return Ok(Some(step));
        }
        Ok(Some(self.roll(at, now)))
    }

    /// Late writes into a file whose epoch is over.
    fn late(&mut self, at: usize, buf: &mut Vec<u8>, now: Now) -> Result<Option<Step>, TailError> {
        let entry = &mut self.chain[at];
        let unreadable = |error| TailError::unreadable(&self.options.path)(error);
        if entry.source.is_none() || entry.check(now).map_err(unreadable)? == Identity::Other {
            // It was delivered; what others do with the file now is no concern of ours.
            entry.source = None;
            entry.sealed = entry.settled();
            return Ok(None);
        }
        if entry.no_line_at != Some(entry.size) && entry.sent < entry.size {
            match self.read(at, buf, now)? {
                Read::Step(step) => return Ok(Some(step)),
                Read::Again => return Ok(None),
                Read::Nothing => {}
            }
        }
        let entry = &mut self.chain[at];
        entry.look_at = now.steady + LATE_LOOK;
        if entry.sent < entry.size && entry.quiet(now, self.options.grace_unterminated) {
            return self.unterminated(at, buf);
        }
        Ok(None)
    }

    /// Whether the rotated epoch at `at` is over.
    fn over(&self, at: usize, now: Now) -> bool {
        let entry = &self.chain[at];
        let grace = if entry.sent < entry.size {
            self.options.grace_unterminated
        } else {
            self.options.grace
        };
        entry.lost.is_some() || entry.quiet(now, grace)
    }

    /// Reads whole lines, or a part of a line that is too long.
    fn read(&mut self, at: usize, buf: &mut Vec<u8>, now: Now) -> Result<Read, TailError> {
        let entry = &mut self.chain[at];
        let Some(source) = &mut entry.source else {
            return Ok(Read::Nothing);
        };
        let limit = self.options.max_line as usize;
        let mut want = self.options.read.clamp(1, limit);
        let lines = loop {
            let ended = match source.fill(buf, entry.sent, want) {
                Ok(ended) => ended,
                Err(_) if !source.is_plain() && whole_lines(buf).is_some() => true,
                Err(_) if !source.is_plain() => {
                    entry.size = entry.size.max(entry.sent + buf.len() as u64);
                    entry.lost = Some(Cause::Unreadable);
                    buf.clear();
                    return Ok(Read::Nothing);
                }
                Err(error) => return Err(TailError::unreadable(&source.path)(error)),
            };
            if let Some(lines) = whole_lines(buf) {
                buf.truncate(lines);
                // What is to be passed over begins at a line.
                if let Some(skip) = entry.skip
                    && let Some(left) = skip.from.checked_sub(entry.sent)
                    && (1..buf.len() as u64).contains(&left)
                {
                    buf.truncate(left as usize);
                }
                break true;
            }
            if buf.len() > limit {
                buf.truncate(limit);
                break false;
            }
            if ended {
                entry.size = entry.size.max(entry.sent + buf.len() as u64);
                entry.no_line_at = Some(entry.size);
                buf.clear();
                return Ok(Read::Nothing);
            }
            want = want.saturating_mul(4).min(limit + 1);
        };
        // The file may have been cut and written again under the read.
        if source.is_plain()
            && !entry
                .compare()
                .map_err(TailError::unreadable(&self.options.path))?
        {
            self.estrange(at, now)?;
            buf.clear();
            self.settle(now)?;
            return Ok(Read::Again);
        }
        let from = entry.sent;
        if self.options.durable {
            self.syncs += persist(entry, from + buf.len() as u64)?;
        }
        let print = entry.advance(buf);
        entry.changed = now.steady;
        let (epoch, to) = (entry.id, entry.sent);
        let seq = self.handed(epoch, Done::Offset(print));
        let span = Span {
            seq,
            epoch,
            from,
            to,
        };
        Ok(Read::Step(if lines {
            Step::Lines(span)
        } else {
            Step::Part(span)
        }))
    }

    /// The end of a file that is over, when it has no LF.
    fn unterminated(&mut self, at: usize, buf: &mut Vec<u8>) -> Result<Option<Step>, TailError> {
        let entry = &mut self.chain[at];
        let Some(source) = &mut entry.source else {
            return Ok(None);
        };
        if entry.lost.is_some() || entry.sent >= entry.size {
            return Ok(None);
        }
        buf.clear();
        let rest = usize::try_from(entry.size - entry.sent).unwrap_or(usize::MAX);
        let want = rest.min(self.options.max_line as usize);
        source
            .fill(buf, entry.sent, want)
            .map_err(TailError::unreadable(&source.path))?;
        buf.truncate(want);
        if buf.is_empty() {
            return Ok(None);
        }
        let from = entry.sent;
        if self.options.durable {
            self.syncs += persist(entry, from + buf.len() as u64)?;
        }
        let print = entry.advance(buf);
        let (epoch, to) = (entry.id, entry.sent);
        let seq = self.handed(epoch, Done::Offset(print));
        Ok(Some(Step::Tail(Span {
            seq,
            epoch,
            from,
            to,
        })))
    }

    fn roll(&mut self, at: usize, now: Now) -> Step {
        let next = self.chain[at + 1].id;
        let entry = &mut self.chain[at];
        entry.roll = Stage::Sent;
        entry.look_at = now.steady + LATE_LOOK;
        let cause = *entry.cause.get_or_insert(RollCause::Rotated);
        let lost = entry.lost.is_none().then_some(0);
        let (epoch, end) = (entry.id, entry.sent);
        let seq = self.handed(epoch, Done::Roll);
        Step::Roll(Roll {
            seq,
            epoch,
            end,
            next,
            cause,
            lost,
        })
    }

    /// Passes over bytes: what was imported, and what is over the lag limit.
    fn pass(&mut self, at: usize, last: bool) -> Result<Option<Step>, TailError> {
        let lag = self.options.max_lag;
        let unread: u64 = self
            .chain
            .iter()
            .skip(at)
            .filter(|entry| entry.lost.is_none())
            .map(|entry| entry.size.saturating_sub(entry.sent))
            .sum();
        let entry = &mut self.chain[at];
        let skip = entry.skip.filter(|skip| entry.sent < skip.to);
        let (to, cause) = if let Some(skip) = skip {
            if entry.sent < skip.from {
                return Ok(None);
            }
            (skip.to, skip.cause)
        } else if lag > 0 && unread > lag && entry.at_line_start() && entry.lost.is_none() {
            let rest = entry.size.saturating_sub(entry.sent);
            let Some(source) = &mut entry.source else {
                return Ok(None);
            };
            let goal = entry.sent + (unread - lag).min(rest);
            let found =
                next_line(source, goal.max(1) - 1).map_err(TailError::unreadable(&source.path))?;
            match found {
                Some(to) if to > entry.sent => (to, Cause::LagCap),
                None if !last && rest > 0 => (entry.size, Cause::LagCap),
                _ => return Ok(None),
            }
        } else {
            return Ok(None);
        };
        let (epoch, from) = (entry.id, entry.sent);
        // Decided once: what is told to be a gap stays one.
        entry.skip = skip.or(Some(Skip { from, to, cause }));
        let print = entry
            .pass(to)
            .map_err(TailError::unreadable(&self.options.path))?;
        let seq = self.handed(epoch, Done::Offset(print));
        Ok(Some(Step::Gap(Gap {
            seq,
            epoch,
            from,
            to: Some(to),
            known: to - from,
            cause,
        })))
    }
}

/// Makes what is below `to` durable; how many calls that took.
fn persist(entry: &mut Entry, to: u64) -> Result<u64, TailError> {
    let Some(source) = &mut entry.source else {
        return Ok(0);
    };
    let called = source
        .persist(to)
        .map_err(TailError::unreadable(&source.path))?;
    Ok(u64::from(called))
}

enum Read {
    Step(Step),
    /// The epoch's file is another one now.
    Again,
    Nothing,
}

/// The offset behind the first LF at or after `from`; nothing if the file ends before one.
pub(crate) fn next_line(source: &mut Source, from: u64) -> std::io::Result<Option<u64>> {
    const CHUNK: usize = 64 << 10;
    let mut bytes = Vec::with_capacity(CHUNK);
    let mut at = from;
    loop {
        bytes.clear();
        let ended = source.fill(&mut bytes, at, CHUNK)?;
        if let Some(found) = memchr::memchr(b'\n', &bytes) {
            return Ok(Some(at + found as u64 + 1));
        }
        at += bytes.len() as u64;
        if ended {
            return Ok(None);
        }
    }
}
