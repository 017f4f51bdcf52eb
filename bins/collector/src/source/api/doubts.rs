//! What of a follower's lines is not believed: dockerd skips files and repeats them without a word.

use std::time::{Duration, Instant};

use docker_demux::{Line, Lines, PIECE};

use super::Reader;

impl Reader<'_> {
    /// Whether room for lines came so late that dockerd may have gone on elsewhere in a log that rotates: what comes then
    /// must not be taken.
    pub(super) fn stalled(&self, since: Instant) -> bool {
        self.rotates && since.elapsed() > STALL
    }

    /// Cuts a follower's lines before one that another stamp has ended: dockerd may have skipped its rest. A snapshot
    /// tells. False if there is one.
    pub(super) fn withhold(&mut self, lines: &mut Lines) -> bool {
        let cut = lines.index.iter().position(|line| self.may_go_on(line));
        let Some(at) = cut.filter(|_| self.rotates) else {
            return true;
        };
        for line in lines.index.drain(at..) {
            self.withheld[line.stream.index()] = true;
        }
        false
    }

    /// Whether a line was given without its end: it has no LF, and its last piece is one that goes on.
    fn may_go_on(&self, line: &Line) -> bool {
        let len = line.end - line.start;
        // The local driver drops the LF of every long line, and cuts each piece but the last at the same length.
        let is_whole_pieces = !self.options.local || len.is_multiple_of(PIECE);
        let is_last = line.part.is_none_or(|part| part.last);
        !line.terminated && is_last && len >= PIECE && is_whole_pieces
    }

    /// Cuts a follower's lines where the stamps of a stream go back: dockerd may be repeating a file. False if so.
    pub(super) fn straighten(&self, lines: &mut Lines) -> bool {
        let mut newest = self.newest;
        let back = lines.index.iter().position(|line| {
            let newest = &mut newest[line.stream.index()];
            let back = newest.is_some_and(|newest| line.time_ns < newest);
            *newest = Some(line.time_ns);
            back
        });
        if let Some(at) = back {
            lines.index.truncate(at);
        }
        back.is_none()
    }
}

/// A follower of a rotating log that had nowhere to put what it read for this long is not believed any more.
pub(super) const STALL: Duration = Duration::from_millis(50);
