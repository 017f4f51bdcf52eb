//! The end: everything is stopped, and every place on the way is compared with what was said.

use std::io::Read;

use anyhow::Context as _;

use super::judge::{Comparison, Of};
use super::voice::Voice;
use super::{Swarm, WORKER};
use crate::archived::{self, Run};
use crate::audit::{self, hearing::Hearing};
use crate::demo::say;
use crate::verdict::{self, Provenance, Verdict};

/// What came out.
#[derive(Debug)]
pub(super) struct Outcome {
    verdict: Verdict,
    gaps: u64,
    kills: u64,
}

impl Outcome {
    /// Nothing is lost, repeated, out of place, left out or made up.
    pub(super) fn is_clean(&self) -> bool {
        self.verdict.is_clean() && self.gaps == 0
    }

    /// The last line.
    pub(super) fn line(&self, seed: u64) -> String {
        let Verdict {
            lost,
            repeated,
            reordered,
            ..
        } = self.verdict;
        let (gaps, kills) = (self.gaps, self.kills);
        format!(
            "lost {lost} repeated {repeated} reordered {reordered} gaps {gaps} kills {kills} seed {seed}"
        )
    }
}

impl Swarm {
    /// Stops everything and compares.
    pub(super) fn judge(&mut self) -> anyhow::Result<Outcome> {
        let kills = self.kills();
        for scribe in &mut self.scribes {
            scribe.finish()?;
        }
        let mut verdict = Verdict::default();
        self.check_books(&mut verdict);
        let gaps = self.gaps().unwrap_or_else(|error| {
            verdict.foreign += 1;
            verdict.problem(format!("{error:#}"));
            0
        });
        for program in self.programs() {
            program.stop()?;
        }
        say(&self.memory());
        let records = self.judge_records(&mut verdict)?;

        let said = |container: Option<bool>| -> Vec<(Voice, u64)> {
            let chosen = self
                .scribes
                .iter()
                .filter(|s| container.is_none_or(|c| s.voice.container == c));
            chosen.map(|s| (s.voice.clone(), s.written())).collect()
        };
        let (containers, program, all) = (said(Some(true)), said(Some(false)), said(None));
        verdict.take(compare(
            ".log",
            Of::Lines,
            &containers,
            self.logs.decky.reader()?,
        )?);
        let json = self.logs.json.reader()?;
        let (records_of_json, _) = compare_records(".json", &containers, json, &mut |_| true)?;
        verdict.take(records_of_json);
        verdict.take(compare(
            "app.log",
            Of::Lines,
            &program,
            self.logs.app.reader()?,
        )?);
        for (stream, source, voices) in [
            ("decky", &self.logs.decky, &containers),
            ("audit", &self.logs.audit, &Vec::new()),
            ("app", &self.logs.app, &program),
        ] {
            let runs = archived::runs(&self.data, WORKER, stream)?;
            let archive = || chain(&runs);
            if let Some(at) = difference(source.reader()?, archive()?)? {
                verdict.foreign += 1;
                verdict.problem(format!(
                    "the archive of {stream} differs from its source at octet {at}"
                ));
                if !voices.is_empty() {
                    let name = format!("archive of {stream}");
                    verdict.take(compare(&name, Of::Lines, voices, archive()?)?);
                }
            }
        }
        self.judge_merged(&mut verdict, &all, records)?;
        self.verify(&mut verdict)?;
        for what in &verdict.problems {
            say(what);
        }
        if verdict.foreign > 0 {
            say(&format!(
                "{} lines, records or places that nobody made",
                verdict.foreign
            ));
        }
        Ok(Outcome {
            verdict,
            gaps,
            kills,
        })
    }

    /// Audit records: each once and in order, and those that are missing are told. Gives how many there are.
    fn judge_records(&mut self, verdict: &mut Verdict) -> anyhow::Result<u64> {
        let written: u64 = self.clients.iter().map(|c| u64::from(c.written())).sum();
        let sent = audit::finish(&mut self.clients)?;
        let gaps = audit::gaps(&self.audit_proxy)?;
        let sessions = self.clients.iter().map(|client| client.session.clone());
        let mut hearing = Hearing::new(sessions);
        hearing.files(self.logs.audit.reader()?, self.logs.audit_json.reader()?)?;
        let stand = hearing.matched;
        let (found, losses) = hearing.finish(&sent, &gaps);
        verdict.take(found);
        let missing: u64 = losses.iter().map(|loss| u64::from(loss.records)).sum();
        say(&format!(
            "audit.log: {stand} of {written} records right, {missing} lost in kills of the proxy and told"
        ));
        Ok(stand)
    }

    /// The merged outputs: every line and record, and so many audit records among them, whose own order the archive
    /// shows.
    fn judge_merged(
        &self,
        verdict: &mut Verdict,
        all: &[(Voice, u64)],
        records: u64,
    ) -> anyhow::Result<()> {
        let mut check = |name: &str, found: u64| {
            if found != records {
                verdict.foreign += 1;
                verdict.problem(format!("{name} has {found} of {records} audit records"));
            }
        };
        let mut found = 0;
        let log = self.logs.merged_log.reader()?;
        let mut not_audit = |line: &[u8]| {
            found += u64::from(is_audit(line));
            !is_audit(line)
        };
        let lines = compare_some("merged .log", Of::Lines, all, log, &mut not_audit)?;
        check("merged .log", found);
        let mut last = std::collections::HashMap::new();
        let mut ascends = |place: Provenance| {
            let before = last.insert(place.epoch, place.offset);
            before.is_none_or(|before| before < place.offset)
        };
        let json = self.logs.merged_json.reader()?;
        let (objects, found) = compare_records("merged .json", all, json, &mut ascends)?;
        check("merged .json", found);
        verdict.take(lines);
        verdict.take(objects);
        Ok(())
    }

    /// What was read of each container is what was written plus what was dropped; what each stream has is acknowledged.
    fn check_books(&self, verdict: &mut Verdict) {
        let collector = self.collector.status().unwrap_or_default();
        for container in collector["containers"].as_array().into_iter().flatten() {
            if container["balanced"] != true {
                verdict.foreign += 1;
                verdict.problem(format!("books that do not balance: {container}"));
            }
        }
        let forwarder = self.forwarder.status().unwrap_or_default();
        for stream in forwarder["streams"].as_array().into_iter().flatten() {
            let books = &stream["books"];
            if books["balanced"] != true || books["written"] != books["acknowledged"] {
                verdict.foreign += 1;
                verdict.problem(format!("books that do not balance: {stream}"));
            }
        }
    }

    /// Gaps in the ledgers of worker and master.
    fn gaps(&self) -> anyhow::Result<u64> {
        let data = self.data.to_str().context("path is not UTF-8")?;
        let worker = self.collector.command(&["gaps", "--json"])?;
        let master = self.listener.bare(&["gaps", "--json", "--data", data])?;
        let all: Vec<&str> = worker.lines().chain(master.lines()).collect();
        for gap in all.iter().take(8) {
            say(gap);
        }
        Ok(all.len() as u64)
    }

    /// The archive agrees with its ledger.
    fn verify(&self, verdict: &mut Verdict) -> anyhow::Result<()> {
        let data = self.data.to_str().context("path is not UTF-8")?;
        if let Err(error) = self.listener.bare(&["verify", "--data", data]) {
            verdict.foreign += 1;
            verdict.problem(format!("{error:#}"));
        }
        Ok(())
    }
}

fn compare(
    name: &str,
    of: Of,
    voices: &[(Voice, u64)],
    reader: impl Read,
) -> anyhow::Result<Verdict> {
    compare_some(name, of, voices, reader, &mut |_| true)
}

/// Lines that `choose` agrees to.
fn compare_some(
    name: &str,
    of: Of,
    voices: &[(Voice, u64)],
    reader: impl Read,
    choose: &mut dyn FnMut(&[u8]) -> bool,
) -> anyhow::Result<Verdict> {
    let mut comparison = Comparison::new(name, of, voices);
    verdict::lines(reader, |line| {
        if choose(line) {
            comparison.line(line);
        }
        Ok(())
    })
    .with_context(|| name.to_owned())?;
    say(&format!("{name}: {} lines right", comparison.matched));
    Ok(comparison.finish())
}

/// Whether a line is the audit proxy's.
fn is_audit(line: &[u8]) -> bool {
    memchr::memmem::find(line, b" boundary - boundary_request [boundary@32473 ").is_some()
}

/// Records, each once and in order; those with a place, at places that `in_place` agrees to. Audit records are counted
/// only.
fn compare_records(
    name: &str,
    voices: &[(Voice, u64)],
    reader: impl Read,
    in_place: &mut dyn FnMut(Provenance) -> bool,
) -> anyhow::Result<(Verdict, u64)> {
    let mut comparison = Comparison::new(name, Of::Records, voices);
    let (mut misplaced, mut of_audit) = (0, 0);
    verdict::lines(reader, |text| {
        let (raw, place) = verdict::record(text)?;
        misplaced += u64::from(place.is_some_and(|place| !in_place(place)));
        if is_audit(&raw) {
            of_audit += 1;
        } else {
            comparison.line(&raw);
        }
        Ok(())
    })
    .with_context(|| name.to_owned())?;
    say(&format!("{name}: {} records right", comparison.matched));
    let mut verdict = comparison.finish();
    if misplaced > 0 {
        verdict.foreign += misplaced;
        verdict.problem(format!(
            "{name}: {misplaced} records whose place is not behind the one before"
        ));
    }
    Ok((verdict, of_audit))
}

/// The octets of all runs, one after the other.
fn chain(runs: &[Run]) -> anyhow::Result<Box<dyn Read>> {
    let mut all: Box<dyn Read> = Box::new(std::io::empty());
    for path in runs.iter().flat_map(|run| &run.segments) {
        let file = std::fs::File::open(path).with_context(|| format!("open {}", path.display()))?;
        all = Box::new(all.chain(file));
    }
    Ok(all)
}

/// The first octet in which two readers differ.
fn difference(a: impl Read, b: impl Read) -> anyhow::Result<Option<u64>> {
    use std::io::BufRead as _;
    let (mut a, mut b) = (
        std::io::BufReader::with_capacity(1 << 16, a),
        std::io::BufReader::with_capacity(1 << 16, b),
    );
    let mut at = 0;
    loop {
        let (left, right) = (a.fill_buf()?, b.fill_buf()?);
        let len = left.len().min(right.len());
        if left[..len] != right[..len] {
            let same = left.iter().zip(right).take_while(|(l, r)| l == r).count();
            return Ok(Some(at + same as u64));
        }
        if len == 0 {
            return Ok((left.len() != right.len()).then_some(at));
        }
        at += len as u64;
        a.consume(len);
        b.consume(len);
    }
}
