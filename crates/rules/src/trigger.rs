//! A trigger as its file states it, and the reader of triggers files.

use std::{fmt, time::Duration};

use crate::{
    Problem, Severity,
    document::{self, Section},
    filter::Filter,
    pattern::Pattern,
    rule::MAX_NAME,
};

/// The longest wait for further events of one delivery.
pub const MAX_GROUP_WAIT: Duration = Duration::from_secs(60 * 60);

/// Deliveries a minute of a trigger that states no rate, and the most that can be stated.
pub const DEFAULT_RATE: u32 = 60;
const MAX_RATE: u32 = 6000;

/// Secrets of one trigger: while one is being replaced there are two.
const MAX_SECRETS: usize = 4;

/// Entries of a filter's list.
const MAX_ENTRIES: usize = 100;

/// The longest URL and path, in octets.
const MAX_TEXT: usize = 4096;

const KEYS: &[&str] = &[
    "name",
    "url",
    "secret_file",
    "severity",
    "min_severity",
    "source",
    "message",
    "format",
    "enabled",
    "mute_until",
    "group_wait",
    "rate",
];

/// The shape of a delivery's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Standard Webhooks.
    Standard,
    /// Alertmanager's webhook, version 4.
    Alertmanager,
}

impl Format {
    /// The name in configuration: `standard` or `alertmanager`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Alertmanager => "alertmanager",
        }
    }
}

/// One trigger. Its URL and its secret files are as they were written: what they mean is checked elsewhere.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trigger {
    /// What it is called: letters, digits, `-` and `_`, as it stands in identifiers. Unique among all files.
    pub name: String,
    /// Where deliveries go. Not to be shown: it may hold a token.
    pub url: String,
    /// Files with secrets: none (unsigned), one, or several while one is being replaced.
    pub secret_files: Vec<String>,
    /// Which events it is for.
    pub filter: Filter,
    /// The shape of the body.
    pub format: Format,
    /// Whether it takes part.
    pub enabled: bool,
    /// Until when nothing is delivered, in seconds since 1970.
    pub mute_until: Option<i64>,
    /// How long to wait for further events before a delivery; zero: not at all.
    pub group_wait: Duration,
    /// Deliveries a minute; what is more is folded.
    pub rate: u32,
    /// The line of the file on which it begins.
    pub line: u32,
    /// Its place among the `[[trigger]]` tables of the file.
    pub position: usize,
    /// The lines of `url` and `secret_file`.
    lines: [u32; 2],
}

impl Trigger {
    /// A problem with the meaning of its URL.
    pub fn url_problem(&self, what: impl Into<String>) -> Problem {
        self.problem(self.lines[0], "url", what.into())
    }

    /// A problem with its secret files.
    pub fn secret_problem(&self, what: impl Into<String>) -> Problem {
        self.problem(self.lines[1], "secret_file", what.into())
    }

    /// A problem with its name.
    pub(crate) fn name_problem(&self, what: String) -> Problem {
        self.problem(self.line, "name", what)
    }

    fn problem(&self, line: u32, key: &str, what: String) -> Problem {
        Problem {
            line,
            key: format!("trigger.{}.{key}", self.position),
            what,
        }
    }
}

/// Without the URL and the secret files.
impl fmt::Debug for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trigger")
            .field("name", &self.name)
            .field("filter", &self.filter)
            .field("format", &self.format)
            .field("enabled", &self.enabled)
            .finish_non_exhaustive()
    }
}

/// Reads a triggers file.
///
/// # Errors
///
/// Everything that is wrong with it, in order of line, but the meaning of URLs and what secret files hold.
pub fn parse_triggers(text: &str) -> Result<Vec<Trigger>, Vec<Problem>> {
    let position = std::cell::Cell::new(0);
    document::rows(text, "trigger", KEYS, |section| {
        read(section, position.replace(position.get() + 1))
    })
}

/// The problems of triggers that have the name of an earlier one, with the place of their file in `files`.
pub fn check_triggers<'t>(files: impl IntoIterator<Item = &'t [Trigger]>) -> Vec<(usize, Problem)> {
    let mut names = std::collections::HashSet::new();
    let mut problems = Vec::new();
    for (file, triggers) in files.into_iter().enumerate() {
        for trigger in triggers {
            if !names.insert(&trigger.name) {
                let what = format!("there is a trigger `{}` already", trigger.name);
                problems.push((file, trigger.name_problem(what)));
            }
        }
    }
    problems
}

fn read(section: &mut Section<'_, '_>, position: usize) -> Option<Trigger> {
    let name = section.required("name");
    let name = name.and_then(|text| checked_name(section, text));
    let url = section.required("url").map(str::to_owned);
    if url.as_ref().is_some_and(|url| url.len() > MAX_TEXT) {
        section.problem("url", format!("longer than {MAX_TEXT} octets"));
    }
    let secret_files = section.texts("secret_file", MAX_SECRETS);
    if secret_files.iter().any(|file| file.len() > MAX_TEXT) {
        section.problem("secret_file", format!("longer than {MAX_TEXT} octets"));
    }
    let formats = [Format::Standard, Format::Alertmanager].map(|format| (format.name(), format));
    Some(Trigger {
        secret_files: secret_files.into_iter().map(str::to_owned).collect(),
        filter: filter(section),
        format: section.choice("format", &formats, Format::Standard),
        enabled: section.boolean("enabled", true),
        mute_until: mute_until(section),
        group_wait: section.duration("group_wait", Duration::ZERO, MAX_GROUP_WAIT),
        rate: section.count("rate", DEFAULT_RATE, MAX_RATE),
        line: section.line(),
        position,
        lines: ["url", "secret_file"].map(|key| section.line_of(key)),
        name: name?,
        url: url?,
    })
}

fn checked_name(section: &mut Section<'_, '_>, text: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !text.is_empty() && text.len() <= MAX_NAME && text.chars().all(fits) {
        return Some(text.to_owned());
    }
    let what = format!("`{text}` is not 1 to {MAX_NAME} letters, digits, `-` or `_`");
    section.problem("name", what);
    None
}

fn mute_until(section: &mut Section<'_, '_>) -> Option<i64> {
    let text = section.moment("mute_until")?;
    let moment = text.parse::<jiff::Timestamp>();
    let what = || format!("`{text}` is not a time: write \"2026-12-31T23:59:59Z\"");
    let moment = section.take("mute_until", moment.map_err(|_| what()))?;
    Some(moment.as_second())
}

fn filter(section: &mut Section<'_, '_>) -> Filter {
    let mut severities = Vec::new();
    for text in section.texts("severity", MAX_ENTRIES) {
        severities.extend(severity(section, "severity", text));
    }
    let least = section.text("min_severity");
    let least = least.and_then(|text| severity(section, "min_severity", text.trim()));
    let sources = section.texts("source", MAX_ENTRIES);
    let message = section.text("message").filter(|text| !text.is_empty());
    if let Some(text) = message {
        section.take("message", Pattern::filter(text));
    }
    Filter::new(severities, least, &sources, message)
}

fn severity(section: &mut Section<'_, '_>, key: &str, text: &str) -> Option<Severity> {
    let found = Severity::parse(text);
    if found.is_none() {
        section.problem(key, format!("`{text}` is none of info, warn, error"));
    }
    found
}

#[cfg(test)]
mod tests;
