//! A TOML file of one kind of table, read key by key, with every problem noted at its line.

use std::time::Duration;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::Problem;

/// The largest file that is read, in octets: as for every other configuration file.
pub const MAX_FILE: usize = 1 << 20;

/// Tables in one file. More is a generator run wild, and each may cost a compiled pattern.
pub const MAX_ROWS: usize = 5_000;

/// A suggestion is given for names at most this far from a known one.
const SUGGESTION_DISTANCE: usize = 3;

/// Reads every `[[kind]]` table of `text` with `read`, which is given one table and notes what is wrong with it.
/// Rows that `read` refused are missing from the result.
pub(crate) fn rows<T>(
    text: &str,
    kind: &'static str,
    keys: &'static [&'static str],
    read: impl Fn(&mut Section<'_, '_>) -> Option<T>,
) -> Result<Vec<T>, Vec<Problem>> {
    let whole = |what: String| {
        vec![Problem {
            line: 0,
            key: String::new(),
            what,
        }]
    };
    if text.len() > MAX_FILE {
        return Err(whole(format!(
            "{} octets, longer than {MAX_FILE}",
            text.len()
        )));
    }
    let (root, errors) = DeTable::parse_recoverable(text);
    let lines = Lines::new(text);
    if !errors.is_empty() {
        return Err(syntax(&errors, &lines));
    }
    let mut problems = Vec::new();
    let mut rows = Vec::new();
    for (key, value) in root.get_ref() {
        let (name, line) = (key.get_ref().as_ref(), lines.at(key.span().start));
        match value.get_ref() {
            DeValue::Array(tables) if name == kind => {
                for (at, table) in tables.iter().take(MAX_ROWS).enumerate() {
                    let path = format!("{kind}.{at}");
                    let line = lines.at(table.span().start);
                    let DeValue::Table(entries) = table.get_ref() else {
                        let what = format!("not a table: write [[{kind}]]");
                        problems.push(Problem {
                            line,
                            key: path,
                            what,
                        });
                        continue;
                    };
                    let before = problems.len();
                    let mut section = Section {
                        entries,
                        lines: &lines,
                        path,
                        line,
                        problems: &mut problems,
                    };
                    section.refuse_unknown(keys);
                    let row = read(&mut section);
                    if problems.len() == before {
                        rows.extend(row);
                    }
                }
                if tables.len() > MAX_ROWS {
                    let what = format!("{} tables, more than {MAX_ROWS}", tables.len());
                    problems.push(Problem {
                        line,
                        key: name.to_owned(),
                        what,
                    });
                }
            }
            _ if name == kind => problems.push(Problem {
                line,
                key: name.to_owned(),
                what: format!("not a list of tables: write [[{kind}]]"),
            }),
            _ => problems.push(Problem {
                line,
                key: name.to_owned(),
                what: unknown(name, &[kind]),
            }),
        }
    }
    if problems.is_empty() {
        return Ok(rows);
    }
    problems.sort_by_key(|problem| problem.line);
    Err(problems)
}

fn syntax(errors: &[toml::de::Error], lines: &Lines) -> Vec<Problem> {
    let mut problems: Vec<_> = errors
        .iter()
        .map(|error| Problem {
            line: error.span().map_or(1, |span| lines.at(span.start)),
            key: String::new(),
            what: error.message().replace('\n', ", "),
        })
        .collect();
    problems.dedup();
    problems
}

/// One table of a file.
pub(crate) struct Section<'a, 't> {
    entries: &'a DeTable<'t>,
    lines: &'a Lines,
    path: String,
    line: u32,
    problems: &'a mut Vec<Problem>,
}

impl<'a, 't> Section<'a, 't> {
    /// The line on which the table begins.
    pub(crate) fn line(&self) -> u32 {
        self.line
    }

    /// The line of `key`, or of the table if the key is not there.
    pub(crate) fn line_of(&self, key: &str) -> u32 {
        let entry = self.entries.get_key_value(key);
        entry.map_or(self.line, |(key, _)| self.lines.at(key.span().start))
    }

    /// Notes that something is wrong with `key`.
    pub(crate) fn problem(&mut self, key: &str, what: impl Into<String>) {
        self.problems.push(Problem {
            line: self.line_of(key),
            key: format!("{}.{key}", self.path),
            what: what.into(),
        });
    }

    /// Takes the value, or notes its error at `key`.
    pub(crate) fn take<T>(&mut self, key: &str, value: Result<T, impl ToString>) -> Option<T> {
        value
            .map_err(|error| self.problem(key, error.to_string()))
            .ok()
    }

    /// Whether the key is there.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.get(key).is_some()
    }

    /// The text of `key`, if it is there and a text.
    pub(crate) fn text(&mut self, key: &str) -> Option<&'a str> {
        match self.entries.get(key).map(Spanned::get_ref)? {
            DeValue::String(text) => Some(text),
            other => {
                self.problem(key, format!("{}, not a text", other.type_str()));
                None
            }
        }
    }

    /// The point in time of `key`, as a text or as TOML has it.
    pub(crate) fn moment(&mut self, key: &str) -> Option<String> {
        match self.entries.get(key).map(Spanned::get_ref)? {
            DeValue::Datetime(moment) => Some(moment.to_string()),
            _ => self.text(key).map(str::to_owned),
        }
    }

    /// As [`Section::text`]; a key that is not there is a problem.
    pub(crate) fn required(&mut self, key: &str) -> Option<&'a str> {
        if !self.has(key) {
            self.problem(key, "missing");
        }
        self.text(key)
    }

    /// The truth of `key`, or `default`.
    pub(crate) fn boolean(&mut self, key: &str, default: bool) -> bool {
        match self.entries.get(key).map(Spanned::get_ref) {
            None => default,
            Some(DeValue::Boolean(value)) => *value,
            Some(other) => {
                let what = format!("{}, not true or false", other.type_str());
                self.problem(key, what);
                default
            }
        }
    }

    /// The duration of `key` (`"60s"`, `"1h 30m"`, 0), or `default`.
    pub(crate) fn duration(&mut self, key: &str, default: Duration, most: Duration) -> Duration {
        let found = match self.entries.get(key).map(Spanned::get_ref) {
            None => return default,
            Some(DeValue::String(text)) if text.trim() == "0" => Some(Duration::ZERO),
            Some(DeValue::String(text)) => humantime::parse_duration(text).ok(),
            Some(DeValue::Integer(number)) if number.as_str() == "0" => Some(Duration::ZERO),
            Some(_) => None,
        };
        match found {
            Some(found) if found <= most => return found,
            Some(found) => {
                let [found, most] = [found, most].map(humantime::format_duration);
                self.problem(key, format!("{found}, more than {most}"));
            }
            None => self.problem(
                key,
                "not a duration: write a number and a unit, like \"60s\" or \"1h\"",
            ),
        }
        default
    }

    /// The number of `key` between 1 and `most`, or `default`.
    pub(crate) fn count(&mut self, key: &str, default: u32, most: u32) -> u32 {
        let Some(value) = self.entries.get(key).map(Spanned::get_ref) else {
            return default;
        };
        let number = match value {
            DeValue::Integer(number) => number.as_str().parse::<u32>().ok(),
            _ => None,
        };
        if let Some(number) = number.filter(|number| (1..=most).contains(number)) {
            return number;
        }
        self.problem(key, format!("not a number from 1 to {most}"));
        default
    }

    /// The texts of `key`: a list of texts, or one text with commas. Blanks around each are cut, empty ones are left
    /// out.
    pub(crate) fn texts(&mut self, key: &str, most: usize) -> Vec<&'a str> {
        let mut texts: Vec<&'a str> = Vec::new();
        match self.entries.get(key).map(Spanned::get_ref) {
            None => {}
            Some(DeValue::String(text)) => texts.extend(text.split(',')),
            Some(DeValue::Array(items)) => {
                for item in items.iter() {
                    match item.get_ref() {
                        DeValue::String(text) => texts.extend(text.split(',')),
                        other => {
                            let what = format!("holds {}, not a text", other.type_str());
                            self.problem(key, what);
                        }
                    }
                }
            }
            Some(other) => {
                let what = format!("{}, not a list of texts", other.type_str());
                self.problem(key, what);
            }
        }
        texts.iter_mut().for_each(|text| *text = text.trim());
        texts.retain(|text| !text.is_empty());
        if texts.len() > most {
            self.problem(key, format!("{} entries, more than {most}", texts.len()));
            texts.truncate(most);
        }
        texts
    }

    /// The pairs of the table `key`, all of whose values must be texts.
    pub(crate) fn pairs(&mut self, key: &str) -> Vec<(String, String)> {
        let table = match self.entries.get(key).map(Spanned::get_ref) {
            None => return Vec::new(),
            Some(DeValue::Table(table)) => table,
            Some(other) => {
                let what = format!("{}, not a table of texts", other.type_str());
                self.problem(key, what);
                return Vec::new();
            }
        };
        let mut pairs = Vec::new();
        for (name, value) in table {
            match value.get_ref() {
                DeValue::String(text) => {
                    pairs.push((name.get_ref().to_string(), text.to_string()));
                }
                other => {
                    let what = format!("{}: {}, not a text", name.get_ref(), other.type_str());
                    self.problem(key, what);
                }
            }
        }
        pairs
    }

    /// The value that `key` names among `choices`, or `default`.
    pub(crate) fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)], default: T) -> T {
        let Some(text) = self.text(key) else {
            return default;
        };
        let found = choices.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            self.problem(key, format!("`{text}` is none of {}", names.join(", ")));
        }
        found.map_or(default, |(_, value)| *value)
    }

    fn refuse_unknown(&mut self, keys: &[&str]) {
        for (key, _) in self.entries {
            let name = key.get_ref().as_ref();
            if !keys.contains(&name) {
                self.problem(name, unknown(name, keys));
            }
        }
    }
}

/// What is said of an unknown name, with the known one that is nearest to it.
fn unknown(name: &str, known: &[&str]) -> String {
    let near = known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= SUGGESTION_DISTANCE.min(known.len() / 2))
        .min();
    match near {
        Some((_, known)) => format!("unknown key, did you mean `{known}`?"),
        None => format!("unknown key, known are {}", known.join(", ")),
    }
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at + 1).collect())
    }

    fn at(&self, offset: usize) -> u32 {
        let before = self.0.partition_point(|&start| start <= offset);
        u32::try_from(before).map_or(u32::MAX, |line| line.saturating_add(1))
    }
}
