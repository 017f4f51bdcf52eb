//! Moves a cursor's content part over lines that were handed out, and finds in lines where it stands.

use docker_demux::{Line, Lines, Stream};

use super::{Cursor, Last, Taken};

/// Gives the first 64 bits of BLAKE3.
pub(super) fn hash(octets: &[u8]) -> u64 {
    let digest = blake3::hash(octets);
    digest
        .as_bytes()
        .iter()
        .take(8)
        .fold(0, |value, octet| value << 8 | u64::from(*octet))
}

/// Moves the cursor behind the lines.
pub(super) fn advance(cursor: &mut Cursor, lines: &Lines) {
    match lines.index.last().map(|line| line.stream) {
        Some(Stream::Stdout) => cursor.last = Last::Stdout,
        Some(Stream::Stderr) => cursor.last = Last::Stderr,
        None => {}
    }
    for stream in Stream::ALL {
        let mut of_stream = lines
            .index
            .iter()
            .rev()
            .filter(|line| line.stream == stream)
            .peekable();
        let Some(last) = of_stream.peek().copied() else {
            continue;
        };
        let mut count = 0u32;
        let mut all = true;
        for line in of_stream {
            if line.time_ns != last.time_ns {
                all = false;
                break;
            }
            count = count.saturating_add(u32::from(begins(line)));
        }
        let taken = cursor.taken_mut(stream);
        if all
            && let Some(before) = taken
            && before.stamp == last.time_ns
        {
            count = count.saturating_add(before.count);
        }
        let next_part = last
            .part
            .filter(|part| !part.last)
            .map(|part| part.n.saturating_add(1));
        *taken = Some(Taken {
            stamp: last.time_ns,
            count,
            hash: hash(lines.octets(last)),
            next_part,
        });
    }
}

/// Whether it is a line, or the first part of one.
fn begins(line: &Line) -> bool {
    line.part.is_none_or(|part| part.n == 0)
}

/// Goes over a stream's lines in order and tells which one a [`Taken`] speaks of.
#[derive(Clone, Debug)]
pub(super) struct Finder {
    wanted: Taken,
    stamp: Option<i64>,
    count: u32,
}

impl Finder {
    pub(super) fn new(wanted: Taken) -> Self {
        Self {
            wanted,
            stamp: None,
            count: 0,
        }
    }

    /// Takes the stream's next line; true if it is the one.
    pub(super) fn is(&mut self, line: &Line, octets: &[u8]) -> bool {
        if self.stamp != Some(line.time_ns) {
            self.stamp = Some(line.time_ns);
            self.count = 0;
        }
        self.count = self.count.saturating_add(u32::from(begins(line)));
        let wanted = &self.wanted;
        let next_part = line
            .part
            .filter(|part| !part.last)
            .map(|part| part.n.saturating_add(1));
        wanted.stamp == line.time_ns
            && wanted.count == self.count
            && wanted.next_part == next_part
            && wanted.hash == hash(octets)
    }
}
