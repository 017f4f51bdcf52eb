//! Finds, in the tail of a log that is read again, the line after which everything is new.

use docker_demux::{Line, Stream};

use crate::source::{Cursor, Last, taken::Finder};

/// Drops lines up to and with the last one that the cursor speaks of, and keeps what comes after it.
///
/// Lines are told by stamp, count and hash; that a stamp is later than another says nothing. A tail may begin anywhere,
/// so that a match is believed only if the tail reaches back far enough: an earlier line with another stamp must have
/// been seen (else the count of equal stamps is not known), and for a stream in which a line had begun its last taken
/// line must have been seen too (else the beginning of that line may be cut off).
#[derive(Debug)]
pub(super) struct Sieve {
    finders: [Option<Finder>; 2],
    last: Stream,
    held: [bool; 2],
    stamps: [Option<i64>; 2],
    /// Lines with another stamp than the wanted one were seen.
    before: [bool; 2],
    seen: [bool; 2],
    /// The tail is known to be the whole log.
    whole: bool,
    passed: bool,
}

impl Sieve {
    /// Makes a sieve that keeps everything.
    pub(super) fn open(cursor: &Cursor) -> Self {
        Self {
            passed: true,
            ..Self::new(cursor, true)
        }
    }

    /// Makes a sieve that keeps what comes after the cursor.
    pub(super) fn new(cursor: &Cursor, whole: bool) -> Self {
        Self {
            finders: Stream::ALL
                .map(|stream| cursor.taken(stream).map(|taken| Finder::new(*taken))),
            last: if cursor.last == Last::Stderr {
                Stream::Stderr
            } else {
                Stream::Stdout
            },
            held: cursor.held,
            stamps: Stream::ALL.map(|stream| cursor.taken(stream).map(|taken| taken.stamp)),
            before: [false; 2],
            seen: [false; 2],
            whole,
            passed: false,
        }
    }

    /// Whether everything that comes now is new.
    pub(super) fn passed(&self) -> bool {
        self.passed
    }

    /// Whether to keep the next line.
    pub(super) fn keep(&mut self, line: &Line, octets: &[u8]) -> bool {
        if self.passed {
            return true;
        }
        let at = line.stream.index();
        let found = self.finders[at]
            .as_mut()
            .is_some_and(|finder| finder.is(line, octets));
        self.before[at] |= self.stamps[at] != Some(line.time_ns);
        self.seen[at] |= found && (self.whole || self.before[at]);
        if found && line.stream == self.last && self.seen[at] {
            self.passed = self.whole || (0..2).all(|at| self.seen[at] || !self.held[at]);
        }
        false
    }
}

#[cfg(test)]
mod tests;
