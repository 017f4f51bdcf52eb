//! What a comparison of what came out with what went in finds wrong, and how it reads: line by line, in bounded memory.

use std::io::{BufRead as _, BufReader, Read};

use anyhow::Context as _;
use serde_json::Value;

/// How many problems are kept with their text.
const PROBLEMS_KEPT: usize = 12;
/// What was found wrong.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Lines that are not there.
    pub(crate) lost: u64,
    /// Lines that are there again.
    pub(crate) repeated: u64,
    /// Lines that are there, but not in their place.
    pub(crate) reordered: u64,
    /// Lines, records and octets that nobody wrote.
    pub(crate) foreign: u64,
    /// The first of them in words.
    pub(crate) problems: Vec<String>,
}

impl Verdict {
    /// Nothing is wrong.
    pub(crate) fn is_clean(&self) -> bool {
        self.lost + self.repeated + self.reordered + self.foreign == 0
    }

    /// Notes a problem.
    pub(crate) fn problem(&mut self, what: String) {
        if self.problems.len() < PROBLEMS_KEPT {
            self.problems.push(what);
        }
    }

    /// Takes over what another comparison found: the worst of them counts, since a line that is lost at one place is
    /// lost at all that follow.
    pub(crate) fn take(&mut self, other: Verdict) {
        self.lost = self.lost.max(other.lost);
        self.repeated = self.repeated.max(other.repeated);
        self.reordered = self.reordered.max(other.reordered);
        self.foreign = self.foreign.max(other.foreign);
        for what in other.problems {
            self.problem(what);
        }
    }
}

/// Calls `each` with every line of a reader, without its LF.
pub(crate) fn lines(
    reader: impl Read,
    mut each: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 20, reader);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        let whole = line.strip_suffix(b"\n").context("the last line is torn")?;
        each(whole)?;
        line.clear();
    }
    Ok(())
}

/// Where the master says that a record's line stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Provenance {
    /// The stream and its epoch.
    pub(crate) epoch: (String, String),
    /// Where in the epoch.
    pub(crate) offset: u64,
}

/// The raw line of a record, and where it stands on the master.
pub(crate) fn record(text: &[u8]) -> anyhow::Result<(Vec<u8>, Option<Provenance>)> {
    let record: Value = serde_json::from_slice(text).with_context(|| show(text))?;
    let word = |key: &str| record[key].as_str().map(str::to_owned);
    let raw = word("raw_line").context("a record without raw_line")?;
    let epoch = word("source_stream").zip(word("source_epoch"));
    let place = epoch.zip(record["source_offset"].as_u64());
    let place = place.map(|(epoch, offset)| Provenance { epoch, offset });
    Ok((raw.into_bytes(), place))
}

/// The beginning of a line, for people.
pub(crate) fn show(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(120)]).into_owned()
}
