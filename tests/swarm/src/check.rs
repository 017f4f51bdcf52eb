//! Comparing what arrived with what Docker stored: an independent reader of json-file logs, the inverse of wrapping,
//! and the test that a file is an interleaving of its sources.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// How far ahead of a source's next line a line is looked for before it counts as foreign.
const LOOK_AHEAD: usize = 200_000;
/// How many problems are kept with their text.
const PROBLEMS_KEPT: usize = 8;

/// What a container wrote to one stream, blank lines left out.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The container's name.
    pub name: String,
    /// Its lines, without LF.
    pub lines: Vec<Vec<u8>>,
    /// Docker's stamp of each line, in UTC as records write it; none where nobody asked Docker.
    pub stamps: Vec<String>,
}

impl Source {
    fn push(&mut self, line: &str, stamp: &str, tty: bool) {
        // The CR before an LF is the terminal's.
        let line = line.strip_suffix('\r').filter(|_| tty).unwrap_or(line);
        if !line.is_empty() {
            self.lines.push(line.as_bytes().to_vec());
            let seconds = stamp.get(..19).unwrap_or_default();
            self.stamps.push(seconds.replacen('T', " ", 1));
        }
    }
}

/// The lines of one stream that Docker's json-file driver has stored of the container `name`, oldest first, rotated
/// files included. What a container that was killed had written of a line counts as one. Lines of a TTY lose the
/// terminal's CR.
///
/// # Errors
/// A file can't be read or holds an entry that is not JSON.
pub fn container_lines(name: &str, live: &Path, stream: &str, tty: bool) -> anyhow::Result<Source> {
    let mut files: Vec<PathBuf> = Vec::new();
    for number in 1.. {
        let rotated = PathBuf::from(format!("{}.{number}", live.display()));
        if !rotated.exists() {
            break;
        }
        files.push(rotated);
    }
    files.reverse();
    files.push(live.to_path_buf());
    let mut source = Source {
        name: name.to_owned(),
        ..Source::default()
    };
    let (mut rest, mut stamp) = (String::new(), String::new());
    for file in files {
        let reader = BufReader::new(
            std::fs::File::open(&file).with_context(|| format!("open {}", file.display()))?,
        );
        for entry in reader.split(b'\n') {
            let entry: serde_json::Value = serde_json::from_slice(&entry?)?;
            if entry["stream"].as_str() != Some(stream) {
                continue;
            }
            let time = entry["time"].as_str().context("entry without time")?;
            if time != stamp {
                // All pieces of a line have one stamp: what is left is the end of a container that was killed in a line.
                source.push(&std::mem::take(&mut rest), &stamp, tty);
                time.clone_into(&mut stamp);
            }
            rest.push_str(entry["log"].as_str().context("entry without log")?);
            if rest.ends_with('\n') {
                source.push(&rest[..rest.len() - 1], &stamp, tty);
                rest.clear();
            }
        }
    }
    source.push(&rest, &stamp, tty);
    Ok(source)
}

/// A line of a `.log` without the header that the collector put before it: the container that the header names, if
/// there is one, and the bytes as the container wrote them.
pub fn unwrap_line(line: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let native = (None, line);
    let mut fields = line.splitn(7, |&b| b == b' ');
    let (Some(pri), Some(msgid), Some(rest)) = (fields.next(), fields.nth(4), fields.next()) else {
        return native;
    };
    if msgid != b"raw" || !(pri == b"<134>1" || pri == b"<131>1") {
        return native;
    }
    let Some(element) = rest.strip_prefix(b"[logferry@32473 container=\"") else {
        return native;
    };
    let Some(quote) = memchr::memchr(b'"', element) else {
        return native;
    };
    match memchr::memmem::find(element, b"\"] ") {
        Some(end) => (Some(&element[..quote]), &element[end + 3..]),
        None => native,
    }
}

/// The lines of a file, without their LF.
///
/// # Errors
/// The file can't be read, or its last line has no LF.
pub fn merged_lines(path: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let mut lines: Vec<Vec<u8>> = bytes.split(|&b| b == b'\n').map(<[u8]>::to_vec).collect();
    let last = lines.pop().unwrap_or_default();
    anyhow::ensure!(last.is_empty(), "{} ends in a torn line", path.display());
    Ok(lines)
}

/// What comparing a file with its sources found.
#[derive(Debug, Default)]
pub struct Interleaving {
    /// Source lines that are not in the file where they belong.
    pub lost: u64,
    /// Lines that a source has, but not again.
    pub repeated: u64,
    /// Lines of no source.
    pub foreign: u64,
    /// Lines that stand right.
    pub matched: u64,
    /// The first problems, in words.
    pub problems: Vec<String>,
    /// For each line of the file, which source it is of, and its number there.
    pub places: Vec<Option<(usize, usize)>>,
}

impl Interleaving {
    /// Whether every source line stands once, in order, and nothing else does.
    pub fn is_exact(&self) -> bool {
        self.lost == 0 && self.repeated == 0 && self.foreign == 0
    }

    fn problem(&mut self, what: String) {
        if self.problems.len() < PROBLEMS_KEPT {
            self.problems.push(what);
        }
    }
}

/// Tells whether `lines` (each perhaps wrapped) is an interleaving of the sources.
pub fn interleaving(lines: &[Vec<u8>], sources: &[Source]) -> Interleaving {
    let mut found = Interleaving {
        places: vec![None; lines.len()],
        ..Interleaving::default()
    };
    let mut next = vec![0_usize; sources.len()];
    let by_name: HashMap<&[u8], usize> = sources
        .iter()
        .enumerate()
        .map(|(i, source)| (source.name.as_bytes(), i))
        .collect();
    for (number, line) in lines.iter().enumerate() {
        let (container, bytes) = unwrap_line(line);
        let candidates: Vec<usize> = match container.and_then(|c| by_name.get(c)) {
            Some(&source) => vec![source],
            None => (0..sources.len()).collect(),
        };
        let expected = |&&s: &&usize| sources[s].lines.get(next[s]).is_some_and(|l| l == bytes);
        if let Some(&source) = candidates.iter().find(expected) {
            found.places[number] = Some((source, next[source]));
            next[source] += 1;
            found.matched += 1;
            continue;
        }
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(160)]).into_owned();
        let ahead = candidates.iter().find_map(|&s| {
            let rest = &sources[s].lines[next[s]..];
            rest.iter()
                .take(LOOK_AHEAD)
                .position(|l| l == bytes)
                .map(|skipped| (s, skipped))
        });
        if let Some((source, skipped)) = ahead {
            found.lost += skipped as u64;
            found.matched += 1;
            found.problem(format!(
                "line {number}: {skipped} lines of {} missing before {shown}",
                sources[source].name
            ));
            next[source] += skipped + 1;
        } else if candidates
            .iter()
            .any(|&s| sources[s].lines[..next[s]].iter().any(|l| l == bytes))
        {
            found.repeated += 1;
            found.problem(format!("line {number}: repeated: {shown}"));
        } else {
            found.foreign += 1;
            found.problem(format!("line {number}: of no source: {shown}"));
        }
    }
    for (source, Source { name, lines, .. }) in sources.iter().enumerate() {
        let missing = lines.len() - next[source];
        if missing > 0 {
            found.lost += missing as u64;
            found.problem(format!("{missing} last lines of {name} missing"));
        }
    }
    found
}

#[cfg(test)]
mod tests;
