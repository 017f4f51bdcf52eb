//! Finds where to begin in the files that are there: at the cursor's place, else behind the lines it speaks of.

use std::io;

use docker_demux::{JsonFile, Lines, Open, Options, Stream};
use memchr::memchr_iter;

use super::input::{Fill, Input, LogFile};
use crate::source::{Cursor, Place, taken::Finder};

/// Where to begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Start {
    /// Files to be left out, from the oldest on.
    pub(super) skip: usize,
    /// Octets to be left out of the first file.
    pub(super) offset: u64,
    /// Entries per stream to be left out after that.
    pub(super) ahead: [u64; 2],
    /// The streams that stand in the middle of an over-long line.
    pub(super) open: [Option<Open>; 2],
    /// What the cursor speaks of is not there any more: lines may be missing before the first.
    pub(super) lost: bool,
}

/// Finds the start in the files, which come from old to new.
pub(super) fn find(files: &[LogFile], cursor: &Cursor, options: Options) -> io::Result<Start> {
    if let Some(place) = &cursor.place
        && let Some(skip) = holder(files, place, cursor)
    {
        let open = Stream::ALL.map(|stream| open(cursor, stream));
        return Ok(Start {
            skip,
            offset: place.offset,
            ahead: place.ahead,
            open,
            lost: false,
        });
    }
    if Stream::ALL
        .iter()
        .all(|stream| cursor.taken(*stream).is_none())
    {
        return Ok(Start {
            lost: cursor.place.is_some(),
            ..Start::default()
        });
    }
    search(files, cursor, options)
}

/// Finds the file in which the place is: by its inode first, then in any other, the newest first.
fn holder(files: &[LogFile], place: &Place, cursor: &Cursor) -> Option<usize> {
    let (likely, others): (Vec<_>, Vec<_>) = (0..files.len())
        .rev()
        .partition(|at| !files[*at].compressed && files[*at].inode == place.inode);
    let (compressed, plain): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|at| files[*at].compressed);
    let order = likely.into_iter().chain(plain).chain(compressed);
    let mut agreeing = order.filter(|at| files[*at].agrees(place.offset, place.hash));
    let first = agreeing.next()?;
    // Only within an over-long line may the octets before a place stand elsewhere too: its pieces have one stamp.
    let within = Stream::ALL
        .iter()
        .any(|stream| open(cursor, *stream).is_some());
    (!within || agreeing.next().is_none()).then_some(first)
}

fn open(cursor: &Cursor, stream: Stream) -> Option<Open> {
    let taken = cursor.taken(stream)?;
    taken.next_part.map(|n| Open {
        line: taken.stamp as u64,
        n,
    })
}

/// Where one stream goes on: the file, the offset in it, and the entries of each stream before that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Spot {
    file: usize,
    offset: u64,
    entries: [u64; 2],
}

/// Reads everything there is, from old to new, for the last line taken of each stream.
fn search(files: &[LogFile], cursor: &Cursor, options: Options) -> io::Result<Start> {
    let mut search = Search {
        finders: Stream::ALL.map(|stream| cursor.taken(stream).map(|taken| Finder::new(*taken))),
        spots: [None; 2],
        here: Spot::default(),
        decoder: JsonFile::new(options),
        lines: Lines::default(),
    };
    let mut shared = Vec::new();
    for (at, file) in files.iter().enumerate() {
        search.here.file = at;
        search.here.offset = 0;
        search.file(file, &mut shared)?;
    }
    let lost = search.spots.iter().all(Option::is_none);
    // A stream whose last line is not there any more begins with the oldest entry: all of them are newer.
    let spots = search.spots.map(Option::unwrap_or_default);
    let first = spots[0].min(spots[1]);
    let mut start = Start {
        skip: first.file,
        offset: first.offset,
        lost,
        ..Start::default()
    };
    for stream in Stream::ALL {
        let at = stream.index();
        if search.spots[at].is_some() {
            start.ahead[at] = spots[at].entries[at].saturating_sub(first.entries[at]);
            start.open[at] = open(cursor, stream);
        }
    }
    Ok(start)
}

struct Search {
    finders: [Option<Finder>; 2],
    spots: [Option<Spot>; 2],
    /// Behind the last entry.
    here: Spot,
    decoder: JsonFile,
    lines: Lines,
}

impl Search {
    fn file(&mut self, file: &LogFile, shared: &mut Vec<u8>) -> io::Result<()> {
        let mut input = Input::new(file.clone(), 0)?;
        let mut long = false;
        loop {
            let Fill::Octets(octets) = input.fill(shared, long)? else {
                return Ok(());
            };
            let mut consumed = 0;
            for lf in memchr_iter(b'\n', octets) {
                self.entry(&octets[consumed..=lf]);
                consumed = lf + 1;
            }
            let rest = octets.len() - consumed;
            if consumed == 0 && !long && rest >= super::input::CHUNK {
                long = true;
                continue;
            }
            if consumed == 0 && long {
                consumed = self.decoder.push(octets, &mut self.lines);
                self.here.offset += consumed as u64;
            }
            if consumed == 0 {
                self.decoder.abandon(rest);
                return Ok(());
            }
            long = false;
            input.consume(shared, consumed);
        }
    }

    fn entry(&mut self, entry: &[u8]) {
        let before = self.here;
        self.lines.clear();
        let counts = self.decoder.entries();
        self.decoder.push(entry, &mut self.lines);
        self.here.offset += entry.len() as u64;
        let after = self.decoder.entries();
        for at in 0..2 {
            self.here.entries[at] += after[at] - counts[at];
        }
        for (number, (line, octets)) in self.lines.iter().enumerate() {
            let at = line.stream.index();
            if let Some(finder) = &mut self.finders[at]
                && finder.is(line, octets)
            {
                // An entry may end the line before its own: by its stamp, or because a part is full.
                let own = number + 1 == self.lines.len() && !self.decoder.holds(line.stream);
                self.spots[at] = Some(if own { self.here } else { before });
            }
        }
    }
}
