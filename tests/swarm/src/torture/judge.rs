//! Comparing what came out with what went in, line by line, in bounded memory.

use std::collections::HashMap;

use super::voice::{Voice, number};
use crate::check::unwrap_line;
use crate::verdict::{Verdict, show};

/// How far ahead of its place a line without a number is looked for.
const LOOK_AHEAD: u64 = 64;

/// Where a file stands in what each voice has said.
#[derive(Debug)]
struct Place {
    voice: Voice,
    said: u64,
    next: u64,
    /// Numbers passed over, which may still come: then they are out of place, not lost.
    missing: Vec<u64>,
}

/// The lines that a comparison is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// Every line that is kept.
    Lines,
    /// Those that become records.
    Records,
}

impl Place {
    fn counts(&self, n: u64, of: Of) -> Option<Vec<u8>> {
        let said = self.voice.line(n);
        let counts = self.voice.kept(&said)
            && match of {
                Of::Lines => true,
                Of::Records => said.record,
            };
        counts.then_some(said.bytes)
    }

    /// The next line that should come, and its number.
    fn expected(&self, of: Of) -> Option<(u64, Vec<u8>)> {
        (self.next..self.said).find_map(|n| Some((n, self.counts(n, of)?)))
    }
}

/// Compares lines with what the voices said.
#[derive(Debug)]
pub(super) struct Comparison<'a> {
    name: &'a str,
    of: Of,
    places: HashMap<Vec<u8>, Place>,
    verdict: Verdict,
    /// Lines that stand right.
    pub(super) matched: u64,
}

impl<'a> Comparison<'a> {
    /// Of a file, with each voice and how many lines it has said.
    pub(super) fn new(name: &'a str, of: Of, voices: &[(Voice, u64)]) -> Comparison<'a> {
        let place = |(voice, said): &(Voice, u64)| {
            let place = Place {
                voice: voice.clone(),
                said: *said,
                next: 0,
                missing: Vec::new(),
            };
            (voice.name.as_bytes().to_vec(), place)
        };
        Comparison {
            name,
            of,
            places: voices.iter().map(place).collect(),
            verdict: Verdict::default(),
            matched: 0,
        }
    }

    /// The next line of the file.
    pub(super) fn line(&mut self, line: &[u8]) {
        let (wrapped, bytes) = unwrap_line(line);
        let speaker = wrapped.map_or_else(|| self.speaker(bytes), |name| Some(name.to_vec()));
        let Some(place) = speaker.and_then(|name| self.places.get_mut(&name)) else {
            self.verdict.foreign += 1;
            let what = format!("{}: a line of nobody: {}", self.name, show(line));
            return self.verdict.problem(what);
        };
        match place.expected(self.of) {
            Some((n, expected)) if expected == bytes => {
                place.next = n + 1;
                self.matched += 1;
            }
            expected => {
                let at = expected.map(|(n, _)| n);
                self.misplaced(bytes, at);
            }
        }
    }

    /// Whose line it is: voices are called `torture-N`, and a line without octets can be one program's only.
    fn speaker(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        if bytes.is_empty() {
            let program = self.places.values().find(|place| !place.voice.container);
            return program.map(|place| place.voice.name.as_bytes().to_vec());
        }
        let at = memchr::memmem::find(bytes, b"torture-")?;
        let digits = bytes[at + 8..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
        Some(bytes[at..at + 8 + digits].to_vec())
    }

    fn misplaced(&mut self, bytes: &[u8], expected: Option<u64>) {
        let Some(name) = self.speaker(bytes) else {
            return;
        };
        let Some(place) = self.places.get_mut(&name) else {
            return;
        };
        let shown = format!(
            "{}: {} at {expected:?}: {}",
            self.name,
            place.voice.name,
            show(bytes)
        );
        let from = place.next;
        let found = match number(bytes) {
            Some(n) if n < place.said && place.voice.line(n).bytes == bytes => Some(n),
            Some(_) => None,
            None => (from..place.said.min(from + LOOK_AHEAD))
                .find(|n| place.voice.line(*n).bytes == bytes),
        };
        match found {
            Some(n) if n >= from => {
                let passed: Vec<u64> = (from..n)
                    .filter(|n| place.counts(*n, self.of).is_some())
                    .collect();
                let missing = passed.len();
                place.missing.extend(passed);
                place.next = n + 1;
                self.verdict
                    .problem(format!("{missing} lines missing before {shown}"));
            }
            Some(n) => match place.missing.iter().position(|missing| *missing == n) {
                Some(at) => {
                    place.missing.swap_remove(at);
                    self.verdict.reordered += 1;
                    self.verdict.problem(format!("late: {shown}"));
                }
                None => {
                    self.verdict.repeated += 1;
                    self.verdict.problem(format!("again: {shown}"));
                }
            },
            None if number(bytes).is_some() => {
                self.verdict.foreign += 1;
                self.verdict.problem(format!("nobody said: {shown}"));
            }
            None => {
                self.verdict.repeated += 1;
                self.verdict.problem(format!("again: {shown}"));
            }
        }
    }

    /// The file is over.
    pub(super) fn finish(mut self) -> Verdict {
        let mut places: Vec<&Place> = self.places.values().collect();
        places.sort_by(|a, b| a.voice.name.cmp(&b.voice.name));
        for place in places {
            let end = (place.next..place.said)
                .filter(|n| place.counts(*n, self.of).is_some())
                .count() as u64;
            self.verdict.lost += end + place.missing.len() as u64;
            if end > 0 {
                let what = format!(
                    "{}: the last {end} lines of {} are missing",
                    self.name, place.voice.name
                );
                self.verdict.problem(what);
            }
        }
        self.verdict
    }
}

#[cfg(test)]
mod tests;
