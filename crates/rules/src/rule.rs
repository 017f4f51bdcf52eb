//! A rule as its file states it, and the reader of rules files.

use std::{sync::Arc, time::Duration};

use crate::{
    Pattern, Problem, Stream,
    document::{self, Section},
};

/// The longest name of a rule or trigger, in octets.
pub const MAX_NAME: usize = 120;

/// The longest cooldown.
pub const MAX_COOLDOWN: Duration = Duration::from_secs(24 * 60 * 60);

/// The cooldown of a rule that states none.
pub const DEFAULT_COOLDOWN: Duration = Duration::from_secs(60);

/// Labels of one rule, and the longest name and value of one, in octets: they are copied into each event.
pub const MAX_LABELS: usize = 32;
const MAX_LABEL: usize = 256;

const KEYS: &[&str] = &[
    "name",
    "pattern",
    "severity",
    "cooldown",
    "cooldown_scope",
    "stream",
    "on",
    "enabled",
    "workload",
    "overrides",
    "stop",
    "labels",
];

/// How much a hit matters. Ordered: `Info < Warn < Error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth looking at.
    Warn,
    /// Worth acting on.
    Error,
}

impl Severity {
    /// All, in order.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warn, Self::Error];

    pub(crate) const CHOICES: [(&'static str, Self); 3] = [
        ("info", Self::Info),
        ("warn", Self::Warn),
        ("error", Self::Error),
    ];

    /// The severity of this name, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        let known = |severity: &Self| severity.name().eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(known)
    }

    /// The name in configuration and events: `info`, `warn` or `error`.
    pub fn name(self) -> &'static str {
        Self::CHOICES[self as usize].0
    }
}

/// What of a line a pattern is matched against.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The line, or the message of a wrapped one.
    Line,
    /// The message of a syslog line.
    Msg,
    /// One field of its structured data.
    Field(String),
}

/// What shares one cooldown.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CooldownScope {
    /// The hits in one container.
    Container,
    /// The hits in one workload, whatever container runs it.
    Workload,
    /// All hits of the rule.
    Rule,
    /// The hits in one container whose group of this name matched the same.
    Capture(String),
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rule {
    /// What it is called, unique among the globals or among its workload's.
    pub name: String,
    /// What it looks for. Only an override that is switched off may have none.
    pub pattern: Option<Pattern>,
    /// How much a hit matters.
    pub severity: Severity,
    /// How long after an event no further one is made of the same key; zero: off.
    pub cooldown: Duration,
    /// What that key is.
    pub cooldown_scope: CooldownScope,
    /// The stream that is looked at; `None`: both.
    pub stream: Option<Stream>,
    /// What is matched.
    pub on: Subject,
    /// Whether it takes part. An override that does not switches its global off for its workload.
    pub enabled: bool,
    /// The workload it is for; `None`: a global.
    pub workload: Option<String>,
    /// The global that it stands for in its workload.
    pub overrides: Option<String>,
    /// Whether a line that it matches is shown to no later rule.
    pub stop: bool,
    /// What its events carry along, sorted by name.
    pub labels: Vec<(String, String)>,
    /// The line of the file on which it begins.
    pub line: u32,
    /// Its place among the `[[rule]]` tables of the file.
    pub position: usize,
}

impl Rule {
    /// What tells it from every other rule: its name, and `@WORKLOAD` after it if it is not a global. Stays the same
    /// when the rule changes.
    pub fn id(&self) -> String {
        match &self.workload {
            None => self.name.clone(),
            Some(workload) => format!("{}@{workload}", self.name),
        }
    }

    /// The key of the file under which a problem of the rule is reported (`rule.3.overrides`).
    pub(crate) fn problem(&self, key: &str, what: String) -> Problem {
        Problem {
            line: self.line,
            key: format!("rule.{}.{key}", self.position),
            what,
        }
    }
}

/// Reads a rules file.
///
/// # Errors
///
/// Everything that is wrong with it, in order of line. What only shows beside other files is
/// [`RuleSet::build`](crate::RuleSet::build)'s to find.
pub fn parse_rules(text: &str) -> Result<Vec<Arc<Rule>>, Vec<Problem>> {
    let position = std::cell::Cell::new(0);
    document::rows(text, "rule", KEYS, |section| {
        let at = position.replace(position.get() + 1);
        read(section, at).map(Arc::new)
    })
}

fn read(section: &mut Section<'_, '_>, position: usize) -> Option<Rule> {
    let enabled = section.boolean("enabled", true);
    let workload = workload(section);
    let overrides = overrides(section, workload.is_some());
    let name = match &overrides {
        Some(global) if !section.has("name") => Some(global.clone()),
        _ => {
            let text = section.required("name");
            text.and_then(|text| name(section, "name", text))
        }
    };
    let pattern = match overrides.is_some() && !enabled && !section.has("pattern") {
        true => None,
        false => {
            let text = section.required("pattern")?;
            Some(section.take("pattern", Pattern::new(text))?)
        }
    };
    let cooldown_scope = cooldown_scope(section, pattern.as_ref());
    let streams = [
        ("any", None),
        ("stdout", Some(Stream::Stdout)),
        ("stderr", Some(Stream::Stderr)),
    ];
    Some(Rule {
        name: name?,
        pattern,
        severity: section.choice("severity", &Severity::CHOICES, Severity::Warn),
        cooldown: section.duration("cooldown", DEFAULT_COOLDOWN, MAX_COOLDOWN),
        cooldown_scope,
        stream: section.choice("stream", &streams, None),
        on: subject(section),
        enabled,
        workload,
        overrides,
        stop: section.boolean("stop", false),
        labels: labels(section),
        line: section.line(),
        position,
    })
}

/// A name that can stand in a log line, a metric's label and an identifier.
fn name(section: &mut Section<'_, '_>, key: &str, text: &str) -> Option<String> {
    let what = if text.is_empty() || text.len() > MAX_NAME {
        format!("{} octets, not 1 to {MAX_NAME}", text.len())
    } else if let Some(bad) = text.chars().find(|c| c.is_control() || *c == '@') {
        format!("{bad:?} is not allowed in a name")
    } else if text.trim() != text {
        "begins or ends with a blank".to_owned()
    } else {
        return Some(text.to_owned());
    };
    section.problem(key, what);
    None
}

fn workload(section: &mut Section<'_, '_>) -> Option<String> {
    let text = section.text("workload")?;
    let halves = text.split_once('/');
    let empty = halves.is_none_or(|(worker, container)| worker.is_empty() || container.is_empty());
    if empty || text.len() > MAX_LABEL || text.chars().any(char::is_control) {
        let what = format!("`{text}` is not WORKER/CONTAINER");
        section.problem("workload", what);
    }
    Some(text.to_owned())
}

fn overrides(section: &mut Section<'_, '_>, has_workload: bool) -> Option<String> {
    let text = section.text("overrides")?;
    if !has_workload {
        section.problem("overrides", "needs a workload: an override is for one");
    }
    name(section, "overrides", text)
}

fn subject(section: &mut Section<'_, '_>) -> Subject {
    match section.text("on") {
        None | Some("line") => Subject::Line,
        Some("msg") => Subject::Msg,
        Some(text) => match text.strip_prefix("field:") {
            Some(field) if (1..=MAX_LABEL).contains(&field.len()) => {
                Subject::Field(field.to_owned())
            }
            _ => {
                let what = format!("`{text}` is none of line, msg, field:NAME");
                section.problem("on", what);
                Subject::Line
            }
        },
    }
}

fn cooldown_scope(section: &mut Section<'_, '_>, pattern: Option<&Pattern>) -> CooldownScope {
    match section.text("cooldown_scope") {
        None | Some("container") => CooldownScope::Container,
        Some("workload") => CooldownScope::Workload,
        Some("rule") => CooldownScope::Rule,
        Some(text) => {
            let group = text.strip_prefix("capture:");
            let what = match group {
                Some(group) if pattern.is_none_or(|pattern| pattern.has_group(group)) => {
                    return CooldownScope::Capture(group.to_owned());
                }
                Some(group) => format!("the pattern has no group `{group}`"),
                None => {
                    format!("`{text}` is none of container, workload, rule, capture:GROUP")
                }
            };
            section.problem("cooldown_scope", what);
            CooldownScope::Container
        }
    }
}

fn labels(section: &mut Section<'_, '_>) -> Vec<(String, String)> {
    let mut labels = section.pairs("labels");
    if labels.len() > MAX_LABELS {
        section.problem(
            "labels",
            format!("{} of them, more than {MAX_LABELS}", labels.len()),
        );
    }
    let long = |(name, value): &&(String, String)| name.len().max(value.len()) > MAX_LABEL;
    if let Some((name, _)) = labels.iter().find(long) {
        let what = format!("`{name}`: a name or value longer than {MAX_LABEL} octets");
        section.problem("labels", what);
    }
    labels.sort();
    labels
}

#[cfg(test)]
mod tests;
