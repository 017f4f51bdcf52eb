//! One epoch as the follower holds it: its file, what proves that it is the right one, and how far it is read.

use std::io;
use std::time::{Duration, Instant};

use memchr::memrchr;

use crate::checkpoint::{Known, Skip};
use crate::epoch::{EpochId, Now};
use crate::print::{PRINT, Print};
use crate::source::{Ident, Source};
use crate::step::{Cause, RollCause};

mod identity;

/// So long after its last change a file may be a copy that is being made.
pub(crate) const MAKING_NS: i64 = 60_000_000_000;

/// Fewer bytes than this may well be the start of another file too.
const WEAK: u64 = 64;

/// One epoch.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: EpochId,
    /// Where its bytes are; nothing: not found (yet), or not needed any more.
    pub(crate) source: Option<Source>,
    pub(crate) ident: Ident,
    /// First bytes, at most 4 KiB: what was seen, read or not.
    head: Vec<u8>,
    /// The same as a hash, as far as it is confirmed or, before anything is, seen.
    head_print: Print,
    /// Everything below is handed out.
    pub(crate) sent: u64,
    /// The bytes before `sent`, at most 4 KiB; nothing: not looked at since the last rewind.
    tail: Option<Vec<u8>>,
    /// Everything below is confirmed, and what stands before it.
    pub(crate) done: Print,
    /// Longest length seen.
    pub(crate) size: u64,
    /// No whole line stood in the file when it was so long.
    pub(crate) no_line_at: Option<u64>,
    /// Length and time stamps when the content was last known to be unchanged; nothing: compare before reading.
    sure: Option<(u64, i64)>,
    /// When it last grew, as far as we saw.
    pub(crate) changed: Instant,
    /// When to look whether something was still written into it, once it is over.
    pub(crate) look_at: Instant,
    /// How it ends, once that is known.
    pub(crate) cause: Option<RollCause>,
    /// Nothing more will come from its source, for this reason.
    pub(crate) lost: Option<Cause>,
    pub(crate) gap: Stage,
    pub(crate) roll: Stage,
    /// Bytes to pass over when their turn comes.
    pub(crate) skip: Option<Skip>,
    /// Its first bytes came into view after its file did: what stood there in between may have been copied away.
    pub(crate) fresh: bool,
    /// The last change of the file when it was empty.
    pub(crate) empty_ns: i64,
    /// All that is left of it was handed out before.
    pub(crate) spent: bool,
    /// More of its head is known than was stored, and nothing else of it is.
    pub(crate) grown: bool,
    /// Over, and nothing is expected any more. Kept to recognise its file.
    pub(crate) sealed: bool,
    /// A new file in the place of the epoch before it, which may be that epoch's, put back from a copy.
    pub(crate) suspect: bool,
    /// A receiver that was told of it before has to be told again.
    pub(crate) doubted: bool,
    /// The epoch of which it is another history, and where it begins.
    pub(crate) of: Option<EpochId>,
    pub(crate) base: u64,
}

/// Whether a step was handed out, and confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Due,
    Sent,
    Done,
}

/// A file that is the beginning of what is known of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// It has less than what was handed out.
    Read,
    /// It has that, and less than what was seen.
    Seen,
}

/// What a file turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    Same,
    Other,
}

impl Entry {
    /// A new epoch with all of `source` before it.
    pub(crate) fn new(id: EpochId, source: Source, now: Now) -> io::Result<Self> {
        let mut entry = Self::unseen(id, source.ident, now);
        entry.attach(source, now)?;
        Ok(entry)
    }

    /// A new epoch of whose file nothing was seen.
    pub(crate) fn unseen(id: EpochId, ident: Ident, now: Now) -> Self {
        let known = Known {
            epoch: id,
            ident: Ident { size: 0, ..ident },
            head: Print::new(0, &[]),
            first: Vec::new(),
            tail: Print::new(0, &[]),
            ended: None,
            skip: None,
            spent: false,
            of: None,
            base: 0,
        };
        Self::known(known, now)
    }

    /// An epoch from a checkpoint, its file not found yet.
    pub(crate) fn known(known: Known, now: Now) -> Self {
        let rolled = known.ended.is_some();
        let stage = if rolled { Stage::Done } else { Stage::Due };
        let mut head = known.first;
        if head.len() > PRINT || Print::new(head.len() as u64, &head) != known.head {
            head.clear();
        }
        Self {
            id: known.epoch,
            source: None,
            ident: known.ident,
            head,
            head_print: known.head,
            sent: known.tail.end,
            tail: None,
            done: known.tail,
            size: known.ident.size.max(known.tail.end),
            no_line_at: None,
            sure: None,
            changed: now.steady,
            look_at: now.steady,
            cause: known.ended,
            lost: None,
            gap: stage,
            roll: stage,
            skip: known.skip,
            fresh: false,
            empty_ns: 0,
            spent: known.spent,
            grown: false,
            sealed: false,
            suspect: false,
            doubted: false,
            of: known.of,
            base: known.base,
        }
    }

    /// An epoch whose file is there and can't be read. How long its content is nobody knows.
    pub(crate) fn unreadable(id: EpochId, ident: Ident, now: Now) -> Self {
        let mut entry = Self::unseen(id, ident, now);
        entry.lost = Some(Cause::Unreadable);
        entry
    }

    /// What to store of it.
    pub(crate) fn to_known(&self) -> Known {
        Known {
            epoch: self.id,
            ident: Ident {
                size: self.size,
                ..self.ident
            },
            head: self.head_print,
            first: self
                .head
                .get(..self.head_print.len as usize)
                .unwrap_or_default()
                .to_vec(),
            tail: self.done,
            ended: self
                .cause
                .filter(|_| self.roll == Stage::Done)
                .or((self.roll == Stage::Done).then_some(RollCause::Rotated)),
            skip: self.skip.filter(|skip| skip.to > self.done.end),
            spent: self.spent,
            of: self.of,
            base: self.base,
        }
    }

    /// Reads from `source` from now on, whose content was compared.
    pub(crate) fn attach(&mut self, source: Source, now: Now) -> io::Result<()> {
        self.hold(source, now);
        self.see_head()
    }

    /// The same with what was read of its head, and nothing is read.
    pub(crate) fn attach_read(&mut self, source: Source, head: Vec<u8>, now: Now) {
        self.hold(source, now);
        self.take_head(head);
    }

    fn hold(&mut self, source: Source, now: Now) {
        self.spent = false;
        self.ident = source.ident;
        self.size = self.size.max(source.length_hint());
        self.source = Some(source);
        self.sure = None;
        self.no_line_at = None;
        self.changed = now.steady;
        self.lost = None;
    }

    /// What is left of it is `source`: less than what was seen, and all that was handed out.
    pub(crate) fn shorten(&mut self, source: Source, now: Now) -> io::Result<()> {
        let length = source.length_hint();
        self.head.truncate(usize::try_from(length).unwrap_or(PRINT));
        if u64::from(self.head_print.len) > length {
            self.head_print = Print::new(length, &self.head);
        }
        self.size = length;
        self.cause = None;
        self.attach(source, now)
    }

    /// Nothing more will come of it, and nothing is missing.
    pub(crate) fn spend(&mut self) {
        self.cause = Some(RollCause::Rotated);
        self.size = self.sent;
        self.spent = true;
    }

    /// Notes that `bytes`, which follow `sent`, are handed out; gives the print before the new offset.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Print {
        let tail = self.tail.get_or_insert_default();
        if bytes.len() >= PRINT {
            tail.clear();
            tail.extend_from_slice(&bytes[bytes.len() - PRINT..]);
        } else {
            let surplus = (tail.len() + bytes.len()).saturating_sub(PRINT);
            tail.drain(..surplus);
            tail.extend_from_slice(bytes);
        }
        self.sent += bytes.len() as u64;
        self.size = self.size.max(self.sent);
        self.no_line_at = None;
        Print::new(self.sent, tail)
    }

    /// Passes over everything up to `to`, which must be in the file.
    pub(crate) fn pass(&mut self, to: u64) -> io::Result<Print> {
        if let Some(source) = &mut self.source {
            let len = to.min(PRINT as u64);
            let tail = source.piece(to - len, len as usize)?;
            if tail.len() as u64 == len {
                let print = Print::new(to, &tail);
                self.tail = Some(tail);
                self.sent = to;
                self.no_line_at = None;
                return Ok(print);
            }
        }
        // Nothing to prove it by: an empty print at that offset.
        self.tail = Some(Vec::new());
        self.sent = to;
        Ok(Print::new(to, &[]))
    }

    /// Takes `print` as confirmed.
    pub(crate) fn confirm(&mut self, print: Print) {
        if print.end >= self.done.end {
            self.done = print;
            let len = self
                .head
                .len()
                .min(usize::try_from(print.end).unwrap_or(PRINT));
            if self.head_print.len as usize != len && len > 0 {
                self.head_print = Print::new(len as u64, &self.head[..len]);
            }
        }
    }

    /// Back to what is confirmed.
    pub(crate) fn rewind(&mut self) {
        if self.sent != self.done.end {
            self.sent = self.done.end;
            self.tail = None;
        }
        self.sure = None;
        self.no_line_at = None;
        self.doubted = false;
        for stage in [&mut self.gap, &mut self.roll] {
            if *stage == Stage::Sent {
                *stage = Stage::Due;
            }
        }
    }

    /// Reads on behind `print`, which is confirmed.
    pub(crate) fn go_to(&mut self, print: Print) {
        self.done = print;
        self.sent = print.end;
        self.tail = None;
        self.sure = None;
        self.no_line_at = None;
        self.roll = Stage::Due;
    }

    /// Its file is a shorter or another one than it was, and nobody but a receiver can tell from where on: nothing of what
    /// is known of its content counts any more.
    pub(crate) fn doubt(&mut self) {
        self.head.clear();
        self.head_print = Print::new(0, &[]);
        self.go_to(Print::new(self.base, &[]));
        self.size = 0;
        (self.cause, self.lost, self.gap) = (None, None, Stage::Due);
        (self.spent, self.doubted) = (false, true);
    }

    /// The content is not what it was: it must be looked for elsewhere.
    pub(crate) fn estrange(&mut self) -> Option<Source> {
        self.sure = None;
        self.cause = Some(RollCause::Truncated);
        self.source.take().filter(Source::is_plain)
    }

    /// Whether `sent` stands behind an LF, or at the start.
    pub(crate) fn at_line_start(&self) -> bool {
        self.sent == 0
            || self
                .tail
                .as_ref()
                .is_none_or(|tail| tail.last() == Some(&b'\n') || tail.is_empty())
    }

    /// Whether nothing was written into the file for `span`.
    pub(crate) fn quiet(&self, now: Now, span: Duration) -> bool {
        if !self.source.as_ref().is_some_and(Source::is_plain) {
            return true;
        }
        let span_ns = i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        now.steady.saturating_duration_since(self.changed) >= span
            || now.wall_ns().saturating_sub(self.ident.modified_ns) >= span_ns
    }

    /// Bytes seen and not confirmed.
    pub(crate) fn pending(&self) -> u64 {
        if self.sealed || (self.lost.is_some() && self.gap == Stage::Done) {
            return 0;
        }
        self.size.saturating_sub(self.done.end)
    }

    /// Everything about it is confirmed.
    pub(crate) fn settled(&self) -> bool {
        self.roll == Stage::Done && self.sent == self.done.end
    }
}

/// The length of the whole lines at the start of `bytes`.
pub(crate) fn whole_lines(bytes: &[u8]) -> Option<usize> {
    memrchr(b'\n', bytes).map(|at| at + 1)
}
