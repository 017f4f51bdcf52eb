//! What comes out of every decoder: a flat buffer of octets with an index of the lines in it.

/// Which output of the container a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// Standard output; everything a TTY container prints.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// Both streams, in the order of [`Stream::index`].
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    /// Gives 0 for stdout and 1 for stderr, for tables with an entry per stream.
    pub fn index(self) -> usize {
        match self {
            Self::Stdout => 0,
            Self::Stderr => 1,
        }
    }

    /// Gives the stream's name as Docker writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// The place of a piece in a line that was over the line limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Common to all parts of the line: the stamp of its beginning in unix nanoseconds.
    pub line: u64,
    /// Counts from 0.
    pub n: u32,
    /// Whether the line ends with this part.
    pub last: bool,
}

/// One line, or one part of an over-long line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where it starts in [`Lines::bytes`].
    pub start: usize,
    /// Where it ends; the LF, and on a TTY the CR before it, are left out.
    pub end: usize,
    /// Docker's stamp in unix nanoseconds.
    pub time_ns: i64,
    /// The output it came from.
    pub stream: Stream,
    /// Set on the parts of an over-long line only.
    pub part: Option<Part>,
    /// Whether an LF ended it. False for the parts before the last, for the last output of a container that ended
    /// without LF, and for long lines of the `local` driver, which does not keep their LF.
    pub terminated: bool,
}

/// Where in an over-long line a stream stands: parts before [`Open::n`] were handed out, the line goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// As [`Part::line`].
    pub line: u64,
    /// The number of the next part.
    pub n: u32,
}

/// A batch of lines: one buffer and an index into it, made to be cleared and filled again.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// The octets of all lines, one after the other, without LF between them. Ranges no index entry names are void.
    pub bytes: Vec<u8>,
    /// The lines in the order in which they ended.
    pub index: Vec<Line>,
}

impl Lines {
    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.index.clear();
    }

    /// Tells whether there is no line in the batch.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Counts the lines.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Gives the octets of a line of this batch's index.
    ///
    /// # Panics
    ///
    /// If the line is of another batch and points outside this one.
    pub fn octets(&self, line: &Line) -> &[u8] {
        &self.bytes[line.start..line.end]
    }

    /// Goes over all lines with their octets.
    pub fn iter(&self) -> impl Iterator<Item = (&Line, &[u8])> {
        self.index.iter().map(|line| (line, self.octets(line)))
    }
}
