//! Comparing audit records that came out with what clients have written. Nothing on the socket is acknowledged, so a
//! killed proxy may lose ends of connections; but each record stands once and in order, nothing is missing before one
//! that stands of the same connection, and what is missing is told.

use std::io::Read;
use std::time::Instant;

use anyhow::Context as _;
use serde_json::Value;

use super::client::Connection;
use super::frame::Session;
use crate::verdict::{Verdict, lines, record, show};

/// What a log holds of each session.
#[derive(Debug)]
pub(crate) struct Hearing {
    sessions: Vec<Heard>,
    verdict: Verdict,
    /// Records that stand right.
    pub(crate) matched: u64,
}

#[derive(Debug)]
struct Heard {
    session: Session,
    next: u32,
    /// Numbers passed over, `(from, to)`, ascending.
    missing: Vec<(u32, u32)>,
}

/// The end of a connection that never came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loss {
    pub(crate) records: u32,
    /// When the first of them was written.
    pub(crate) since: Instant,
}

impl Hearing {
    pub(crate) fn new(sessions: impl IntoIterator<Item = Session>) -> Hearing {
        let heard = |session| Heard {
            session,
            next: 0,
            missing: Vec::new(),
        };
        Hearing {
            sessions: sessions.into_iter().map(heard).collect(),
            verdict: Verdict::default(),
            matched: 0,
        }
    }

    /// Takes all records of a log and its JSON, which must go together line by line.
    pub(crate) fn files(&mut self, log: impl Read, json: impl Read) -> anyhow::Result<()> {
        let mut raw_lines = Vec::new();
        lines(json, |text| {
            let (raw, _) = record(text)?;
            raw_lines.push(digest(&raw));
            Ok(())
        })
        .context("audit.json")?;
        let mut records = raw_lines.into_iter();
        lines(log, |line| {
            if records.next() != Some(digest(line)) {
                self.foreign("not in both of audit.log and audit.json", line);
            }
            self.line(line);
            Ok(())
        })
        .context("audit.log")?;
        if records.next().is_some() {
            self.foreign("records in audit.json that audit.log does not have", b"");
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let word = |key: &str| Some(text.split_once(key)?.1.split_once('"')?.0);
        let place = word(" session_id=\"").and_then(|id| {
            let n: u32 = word(" sequence_number=\"")?.parse().ok()?;
            let at = self.sessions.iter().position(|s| s.session.id == id)?;
            Some((at, n))
        });
        let Some((at, n)) = place else {
            return self.foreign("of nobody", line);
        };
        let heard = &mut self.sessions[at];
        let (begin, said) = heard.session.line(n);
        if !(text.starts_with(begin) && text[begin.len()..].contains(&said)) {
            return self.foreign("nobody said", line);
        }
        if n >= heard.next {
            if n > heard.next {
                heard.missing.push((heard.next, n));
            }
            heard.next = n + 1;
            self.matched += 1;
        } else if heard
            .missing
            .iter()
            .any(|(from, to)| (*from..*to).contains(&n))
        {
            self.verdict.reordered += 1;
            self.verdict
                .problem(format!("audit.log: late: {}", show(line)));
        } else {
            self.verdict.repeated += 1;
            self.verdict
                .problem(format!("audit.log: again: {}", show(line)));
        }
    }

    fn foreign(&mut self, what: &str, line: &[u8]) {
        self.verdict.foreign += 1;
        let what = format!("audit.log: {what}: {}", show(line));
        self.verdict.problem(what);
    }

    /// Holds it against what each session wrote, and against the `gaps` that the proxy tells. What is missing and not
    /// told is lost.
    pub(crate) fn finish(
        mut self,
        written: &[Vec<Connection>],
        gaps: &[Value],
    ) -> (Verdict, Vec<Loss>) {
        let mut losses = Vec::new();
        for (mut heard, connections) in self.sessions.into_iter().zip(written) {
            let end = connections.last().map_or(0, |last| last.end);
            let name = &heard.session.id;
            if heard.next < end {
                heard.missing.push((heard.next, end));
            } else if heard.next > end {
                self.verdict.foreign += u64::from(heard.next - end);
                let what = format!("audit.log: {name} has more than the {end} that were written");
                self.verdict.problem(what);
            }
            let told: Vec<(u32, u32)> = told(gaps, name);
            for missing in heard
                .missing
                .iter()
                .filter(|missing| !told.contains(missing))
            {
                self.verdict.lost += u64::from(missing.1 - missing.0);
                let what = format!("{missing:?} of {name} are missing and not told: {told:?}");
                self.verdict.problem(what);
            }
            for told in told.iter().filter(|told| !heard.missing.contains(told)) {
                self.verdict.foreign += 1;
                let what = format!("{told:?} of {name} are told to be missing, and are not");
                self.verdict.problem(what);
            }
            losses.extend(ends(&heard, connections, &mut self.verdict));
        }
        (self.verdict, losses)
    }
}

/// What is missing by connections: an end of each, or nothing.
fn ends(heard: &Heard, connections: &[Connection], verdict: &mut Verdict) -> Vec<Loss> {
    let mut losses = Vec::new();
    for connection in connections {
        let Some(&(first, _)) = connection.frames.first() else {
            continue;
        };
        let here = heard
            .missing
            .iter()
            .map(|(from, to)| (*from.max(&first), *to.min(&connection.end)));
        for (from, to) in here.filter(|(from, to)| from < to) {
            if to != connection.end {
                verdict.lost += u64::from(to - from);
                let what = format!(
                    "{from} to {to} of {} are missing in the midst of a connection",
                    heard.session.id
                );
                verdict.problem(what);
            }
            let frames = &connection.frames;
            let at = frames.partition_point(|(number, _)| *number <= from);
            losses.push(Loss {
                records: to - from,
                since: frames[at.saturating_sub(1)].1,
            });
        }
    }
    losses
}

/// Gaps of a session.
fn told(gaps: &[Value], session: &str) -> Vec<(u32, u32)> {
    let number = |value: &Value| u32::try_from(value.as_u64()?).ok();
    let of_session = gaps.iter().filter(|gap| gap["epoch"] == session);
    of_session
        .filter_map(|gap| Some((number(&gap["from"])?, number(&gap["to"])?)))
        .collect()
}

/// A number that stands for some octets, so that a million lines need not be kept.
fn digest(octets: &[u8]) -> u64 {
    use std::hash::{Hash as _, Hasher as _};
    let mut hasher = std::hash::DefaultHasher::new();
    octets.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
