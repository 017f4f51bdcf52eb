//! Trying rules: which apply, which match, what they capture. Nothing fires, no cooldown is touched.

use rules::{Found, Origin, Pattern, Rule, RuleSet, Stream};
use serde_json::{Value, json};

use crate::config::Config;
use crate::line::{self, Reader};

/// How lines are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    strip_leading_time: bool,
    matched: usize,
}

impl Options {
    /// As configured.
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            strip_leading_time: config.strip_leading_time,
            matched: config.matched,
        }
    }
}

/// A line to be tried, and whose it is said to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trial<'a> {
    pub(crate) line: &'a [u8],
    pub(crate) stream: Option<&'a str>,
    pub(crate) workload: Option<&'a str>,
}

impl Trial<'_> {
    /// What the rules that apply make of it.
    ///
    /// # Errors
    /// What is wrong with the question.
    pub(crate) fn rules(&self, set: &RuleSet, options: &Options) -> Result<Value, String> {
        self.with(options, |facts| {
            let tried = set.explain(facts, options.matched);
            let matched = tried.iter().any(|(.., found)| found.is_some());
            let rows = tried
                .iter()
                .map(|(rule, origin, found)| row(rule, *origin, found.as_ref()));
            json!({"matched": matched, "rules": rows.collect::<Vec<_>>()})
        })
    }

    /// What one pattern makes of it.
    ///
    /// # Errors
    /// What is wrong with the question or the pattern.
    pub(crate) fn pattern(&self, pattern: &str, options: &Options) -> Result<Value, String> {
        let pattern = Pattern::new(pattern).map_err(|error| error.to_string())?;
        self.with(options, |facts| {
            let found = pattern.find(facts.text, options.matched);
            let mut answer = json!({"matched": found.is_some()});
            if let (Some(found), Some(object)) = (&found, answer.as_object_mut()) {
                object.insert("captures".to_owned(), captures(found));
                object.insert("span".to_owned(), json!([found.span.start, found.span.end]));
            }
            answer
        })
    }

    fn with(
        &self,
        options: &Options,
        ask: impl FnOnce(&rules::Line<'_>) -> Value,
    ) -> Result<Value, String> {
        let stream = match self.stream {
            None => None,
            Some("stdout") => Some(Stream::Stdout),
            Some("stderr") => Some(Stream::Stderr),
            Some(other) => return Err(format!("stream `{other}` is neither stdout nor stderr")),
        };
        let worker = self.workload.and_then(|workload| workload.split_once('/'));
        if self.workload.is_some() && worker.is_none() {
            return Err("a workload is WORKER/NAME".to_owned());
        }
        let octets = self.line.strip_suffix(b"\n").unwrap_or(self.line);
        let mut whole = Reader::new(worker.map_or("-", |(worker, _)| worker), false);
        let mut reader = Reader::new(
            worker.map_or("-", |(worker, _)| worker),
            options.strip_leading_time,
        );
        let would_strip = {
            let text = whole.read(octets).text;
            line::strip_time(text).len() < text.len()
        };
        let line = reader.read(octets);
        let mut facts = line.facts();
        facts.stream = stream.unwrap_or(facts.stream);
        if let Some(workload) = self.workload {
            (facts.workload, facts.container) = (workload, workload);
        }
        let mut answer = ask(&facts);
        if let Some(object) = answer.as_object_mut() {
            object.insert("workload_id".to_owned(), facts.workload.into());
            object.insert("stream".to_owned(), facts.stream.name().into());
            let text = String::from_utf8_lossy(facts.text);
            object.insert("text".to_owned(), text.into());
            object.insert("would_strip_time".to_owned(), would_strip.into());
        }
        Ok(answer)
    }
}

/// The rules that apply to a workload, in order.
pub(crate) fn effective(set: &RuleSet, workload: &str) -> Value {
    let rows = set
        .effective(workload)
        .map(|(rule, origin)| describe(rule, origin));
    Value::Array(rows.collect())
}

fn row(rule: &Rule, origin: Origin, found: Option<&Found>) -> Value {
    let mut row = json!({
        "rule_id": rule.id(),
        "rule_name": rule.name,
        "origin": origin.name(),
        "severity": rule.severity.name(),
        "matched": found.is_some(),
    });
    if let (Some(found), Some(object)) = (found, row.as_object_mut()) {
        object.insert("captures".to_owned(), captures(found));
        object.insert("span".to_owned(), json!([found.span.start, found.span.end]));
    }
    row
}

fn captures(found: &Found) -> Value {
    let pairs = found.captures.iter();
    let pairs = pairs.map(|capture| (capture.name.to_string(), capture.text.clone().into()));
    Value::Object(pairs.collect())
}

fn describe(rule: &Rule, origin: Origin) -> Value {
    let labels = rule
        .labels
        .iter()
        .map(|(name, value)| (name.clone(), value.clone().into()));
    json!({
        "rule_id": rule.id(),
        "rule_name": rule.name,
        "origin": origin.name(),
        "severity": rule.severity.name(),
        "pattern": rule.pattern.as_ref().map(Pattern::text),
        "stream": rule.stream.map_or("any", Stream::name),
        "cooldown_seconds": rule.cooldown.as_secs_f64(),
        "overrides": rule.overrides,
        "labels": labels.collect::<serde_json::Map<_, _>>(),
    })
}
