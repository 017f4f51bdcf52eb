//! How much of a batch stands in a file: our lines in order, whole lines of others between them passed
//! over, equal lines counted one by one.

use std::io::{self, Read};

/// Counts the lines of `part` that go by.
#[derive(Debug)]
pub(super) struct Matcher<'a> {
    part: &'a [u8],
    /// Start of the line of `part` that is awaited; everything before it went by.
    at: usize,
    /// The file's current line so far.
    line: Line,
}

/// The file's current, unfinished line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// Nothing of it was seen.
    Empty,
    /// It equals this many bytes of the awaited line, at least one.
    Ours(usize),
    /// It is somebody else's, or was ours and is spoilt.
    Foreign,
}

/// Result of a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// Bytes of the part that stand in whole lines.
    pub(super) whole: usize,
    /// Bytes of the next line that stand unfinished at the file's very end.
    pub(super) torn: usize,
}

impl<'a> Matcher<'a> {
    /// Awaits the line of `part` at `at`, which must be a line's start; the file is at a line's start too.
    pub(super) fn new(part: &'a [u8], at: usize) -> Self {
        Self {
            part,
            at,
            line: Line::Empty,
        }
    }

    /// Takes the next bytes of the file.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.line == Line::Foreign {
                let Some(lf) = memchr::memchr(b'\n', bytes) else {
                    return;
                };
                bytes = &bytes[lf + 1..];
                self.line = Line::Empty;
                continue;
            }
            let seen = match self.line {
                Line::Ours(seen) => seen,
                Line::Empty | Line::Foreign => 0,
            };
            let awaited = &self.part[self.at..];
            let rest = &awaited[seen..];
            let line = match memchr::memchr(b'\n', rest) {
                Some(lf) => &rest[..=lf],
                None => rest,
            };
            let common = line.len().min(bytes.len());
            if common == 0 || line[..common] != bytes[..common] {
                self.line = Line::Foreign;
            } else if common == line.len() {
                self.at += seen + common;
                self.line = Line::Empty;
                bytes = &bytes[common..];
            } else {
                self.line = Line::Ours(seen + common);
                bytes = &[];
            }
        }
    }

    /// What went by, the file being over.
    pub(super) fn standing(&self) -> Standing {
        let torn = match self.line {
            Line::Ours(seen) => seen,
            Line::Empty | Line::Foreign => 0,
        };
        Standing {
            whole: self.at,
            torn,
        }
    }

    /// Whether the whole part went by; the rest of the file does not matter then.
    pub(super) fn complete(&self) -> bool {
        self.at == self.part.len()
    }
}

/// Counts what of `part` from `at` on goes by in `file`, read to its end.
pub(super) fn count(part: &[u8], at: usize, file: &mut impl Read) -> io::Result<Standing> {
    let mut matcher = Matcher::new(part, at);
    let mut buf = vec![0; READ_BYTES];
    while !matcher.complete() {
        match file.read(&mut buf) {
            Ok(0) => break,
            Ok(len) => matcher.feed(&buf[..len]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(matcher.standing())
}

/// Start of the line that the byte before `done` belongs to, or `done` itself after an LF.
pub(super) fn line_start(part: &[u8], done: usize) -> usize {
    memchr::memrchr(b'\n', &part[..done]).map_or(0, |lf| lf + 1)
}

/// End (past the LF) of the line that holds byte `done`.
pub(super) fn line_end(part: &[u8], done: usize) -> usize {
    memchr::memchr(b'\n', &part[done..]).map_or(part.len(), |lf| done + lf + 1)
}

/// Read size of recovery: the cost of a call is gone at this size.
const READ_BYTES: usize = 256 << 10;
