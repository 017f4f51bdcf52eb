//! Joins the pieces of long lines, and cuts lines over the limit into parts.
//!
//! Docker stores a line over 16 KiB as pieces of 16384 octets, all with the stamp of the first, and only the last with
//! an LF (which the `local` driver drops). Hence: a piece goes on if it has no LF and is at least [`PIECE`] long (the
//! json-file driver writes more for octets that are not UTF-8, never less); it belongs to the piece before if the
//! stamps are equal.

use crate::lines::{Line, Lines, Open, Part, Stream};

/// Docker's piece of a long line, in octets.
pub const PIECE: usize = 16_384;

/// A longer line is handed out in parts of at most this many octets: what a frame of the wire holds by default.
pub const MAX_LINE: usize = 1 << 20;

/// Where a decoder stands, so that another one can go on from there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Position of the first entry that is still needed, in octets from where the decoder began.
    pub place: u64,
    /// Entries of stdout and stderr from `place` on whose lines were handed out all the same.
    pub ahead: [u64; 2],
    /// Set for a stream in the middle of an over-long line.
    pub open: [Option<Open>; 2],
}

/// The pieces not yet handed out, per stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Joiner {
    tty: bool,
    slots: [Slot; 2],
    /// Entries taken so far, per stream.
    entries: [u64; 2],
    /// Stamp of the last piece, for those without.
    last_ns: i64,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    /// A line has begun and not ended.
    active: bool,
    time_ns: i64,
    /// The stamp is the line's own, not that of a line before it.
    stamped: bool,
    /// Octets of the line not handed out yet.
    held: Vec<u8>,
    /// Parts of the line handed out.
    parts: u32,
    /// Where the first held piece is.
    mark: Mark,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    pos: u64,
    entries: [u64; 2],
}

impl Joiner {
    pub(crate) fn new(tty: bool) -> Self {
        Self {
            tty,
            ..Self::default()
        }
    }

    /// Takes the piece at the end of `out.bytes`, from `start` on. `pos` is where its entry begins. `time_ns` is
    /// `None` for a piece without stamp, which goes on until an LF.
    pub(crate) fn accept(
        &mut self,
        out: &mut Lines,
        start: usize,
        stream: Stream,
        time_ns: Option<i64>,
        pos: u64,
    ) {
        let mark = Mark {
            pos,
            entries: self.entries,
        };
        self.entries[stream.index()] += 1;
        let slot = &mut self.slots[stream.index()];
        let stamp = time_ns.unwrap_or(if slot.active {
            slot.time_ns
        } else {
            self.last_ns
        });
        self.last_ns = stamp;
        // Before anything is appended behind the piece.
        let len = out.bytes.len() - start;
        let terminated = len > 0 && out.bytes.last() == Some(&b'\n');
        let mut end = out.bytes.len() - usize::from(terminated);
        if time_ns.is_none() && len == 0 {
            // Nothing, and not even a sign of where it belongs.
            return;
        }
        // A borrowed stamp depends on where the decoder began, so it must decide nothing.
        if slot.active && (slot.time_ns != stamp || (time_ns.is_some() && !slot.stamped)) {
            slot.end(out, stream, false);
        }
        if terminated && self.tty {
            if end > start && out.bytes[end - 1] == b'\r' {
                end -= 1;
            } else if end == start && slot.held.last() == Some(&b'\r') {
                slot.held.pop();
            }
        }
        let ends = terminated || (time_ns.is_some() && len < PIECE);
        if !slot.active && ends && end - start <= MAX_LINE {
            out.index.push(Line {
                start,
                end,
                time_ns: stamp,
                stream,
                part: None,
                terminated,
            });
            return;
        }
        if !slot.active {
            slot.stamped = time_ns.is_some();
        }
        slot.hold(out, start, end, stream, stamp, mark);
        if ends {
            slot.end(out, stream, terminated);
        }
    }

    /// Counts an entry that was handed out before and is passed over now.
    pub(crate) fn pass(&mut self, stream: Stream) {
        self.entries[stream.index()] += 1;
    }

    /// Hands out what is held, without LF, in the order in which it began.
    pub(crate) fn finish(&mut self, out: &mut Lines) {
        let mut order = Stream::ALL;
        order.sort_by_key(|stream| self.slots[stream.index()].mark.pos);
        for stream in order {
            let slot = &mut self.slots[stream.index()];
            if slot.active {
                slot.end(out, stream, false);
            }
        }
    }

    /// Goes on in the middle of an over-long line.
    pub(crate) fn reopen(&mut self, stream: Stream, open: Open) {
        let slot = &mut self.slots[stream.index()];
        slot.active = true;
        slot.stamped = true;
        slot.time_ns = open.line as i64;
        slot.parts = open.n;
    }

    pub(crate) fn entries(&self) -> [u64; 2] {
        self.entries
    }

    pub(crate) fn holds(&self, stream: Stream) -> bool {
        self.slots[stream.index()].active
    }

    /// Tells where a decoder must begin to give what comes after `pos` and what is held.
    pub(crate) fn progress(&self, pos: u64) -> Progress {
        let held = |slot: &&Slot| slot.active && !slot.held.is_empty();
        let first = self
            .slots
            .iter()
            .filter(held)
            .map(|slot| slot.mark)
            .min_by_key(|mark| mark.pos);
        let mut progress = Progress {
            place: pos,
            ..Progress::default()
        };
        if let Some(mark) = first {
            progress.place = mark.pos;
            for (at, slot) in self.slots.iter().enumerate() {
                let handed_out = if held(&slot) {
                    slot.mark.entries[at]
                } else {
                    self.entries[at]
                };
                progress.ahead[at] = handed_out - mark.entries[at];
            }
        }
        for (at, slot) in self.slots.iter().enumerate() {
            if slot.active && slot.parts > 0 {
                progress.open[at] = Some(Open {
                    line: slot.time_ns as u64,
                    n: slot.parts,
                });
            }
        }
        progress
    }
}

impl Slot {
    /// Moves the piece from the end of `out` into the slot; parts go out when there is more than a part's worth.
    fn hold(
        &mut self,
        out: &mut Lines,
        start: usize,
        end: usize,
        stream: Stream,
        time_ns: i64,
        mark: Mark,
    ) {
        if !self.active {
            self.active = true;
            self.time_ns = time_ns;
            self.parts = 0;
        }
        if self.held.len() + (end - start) > MAX_LINE && !self.held.is_empty() {
            let at = out.bytes.len();
            out.bytes.extend_from_slice(&self.held);
            self.hand_out(out, at, out.bytes.len(), stream, false, false);
            self.held.clear();
        }
        if self.held.is_empty() {
            self.mark = mark;
        }
        let mut start = start;
        // Only a frame of a driver that does not cut at 16 KiB is longer than a part; its parts need no copy.
        let in_place = end - start > MAX_LINE;
        while end - start > MAX_LINE {
            self.hand_out(out, start, start + MAX_LINE, stream, false, false);
            start += MAX_LINE;
        }
        self.held.extend_from_slice(&out.bytes[start..end]);
        if !in_place && out.index.last().is_none_or(|line| line.end <= start) {
            out.bytes.truncate(start);
        }
    }

    /// Ends the line with what is held.
    fn end(&mut self, out: &mut Lines, stream: Stream, terminated: bool) {
        let at = out.bytes.len();
        out.bytes.extend_from_slice(&self.held);
        self.hand_out(out, at, out.bytes.len(), stream, true, terminated);
        self.active = false;
        self.parts = 0;
        // A long line is rare: its memory is not kept for the next one.
        self.held = Vec::new();
    }

    fn hand_out(
        &mut self,
        out: &mut Lines,
        start: usize,
        end: usize,
        stream: Stream,
        last: bool,
        terminated: bool,
    ) {
        let whole = last && self.parts == 0;
        let part = (!whole).then_some(Part {
            line: self.time_ns as u64,
            n: self.parts,
            last,
        });
        out.index.push(Line {
            start,
            end,
            time_ns: self.time_ns,
            stream,
            part,
            terminated,
        });
        self.parts = self.parts.saturating_add(1);
    }
}
