//! A TOML document as an owned tree in which every value knows its line and its key path.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::{Problem, Problems};

/// One value of the document.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) path: String,
    pub(super) line: u32,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Array(Vec<Node>),
    Table(Vec<(String, Node)>),
    /// A kind of value no key of ours takes: a date, or a number out of range.
    Other(String),
}

/// Parses the document; reports every syntax error.
pub(super) fn parse(file: &Path, text: &str) -> Result<Node, Problems> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let lines = Lines::new(text);
    if !errors.is_empty() {
        let problems = errors.iter().map(|error| Problem {
            file: file.to_owned(),
            line: error.span().map_or(1, |span| lines.at(span.start)),
            key: String::new(),
            what: error.message().replace('\n', ", "),
        });
        let mut problems: Vec<_> = problems.collect();
        problems.dedup();
        return Problems(problems)
            .none_or(())
            .map(|()| Node::table(Vec::new()));
    }
    Ok(Node::table(entries("", table.get_ref(), &lines)))
}

impl Node {
    fn table(entries: Vec<(String, Self)>) -> Self {
        Self {
            path: String::new(),
            line: 1,
            value: Value::Table(entries),
        }
    }
}

/// Joins a key to the path of its table.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

fn entries(path: &str, table: &DeTable<'_>, lines: &Lines) -> Vec<(String, Node)> {
    table
        .iter()
        .map(|(key, value)| {
            let name = key.get_ref().to_string();
            let line = lines.at(key.span().start);
            let node = node(join(path, &name), line, value.get_ref(), lines);
            (name, node)
        })
        .collect()
}

fn node(path: String, line: u32, value: &DeValue<'_>, lines: &Lines) -> Node {
    let value = match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::Other(number.to_string()), Value::Integer),
        DeValue::Float(number) => number
            .as_str()
            .parse()
            .map_or_else(|_| Value::Other(number.to_string()), Value::Float),
        DeValue::Boolean(boolean) => Value::Boolean(*boolean),
        DeValue::Datetime(time) => Value::Other(time.to_string()),
        DeValue::Array(array) => Value::Array(
            array
                .iter()
                .enumerate()
                .map(|(at, item)| {
                    let line = lines.at(item.span().start);
                    node(join(&path, &at.to_string()), line, item.get_ref(), lines)
                })
                .collect(),
        ),
        DeValue::Table(table) => Value::Table(entries(&path, table, lines)),
    };
    Node { path, line, value }
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

/// Where each key of a loaded file stands, so that later checks can name file and line.
#[derive(Debug, Clone)]
pub struct Source {
    file: PathBuf,
    lines: BTreeMap<String, u32>,
}

impl Source {
    pub(super) fn new(file: &Path, root: &Node) -> Self {
        let mut lines = BTreeMap::new();
        let mut open = vec![root];
        while let Some(node) = open.pop() {
            lines.insert(node.path.clone(), node.line);
            match &node.value {
                Value::Array(items) => open.extend(items),
                Value::Table(entries) => open.extend(entries.iter().map(|(_, node)| node)),
                _ => {}
            }
        }
        Self {
            file: file.to_owned(),
            lines,
        }
    }

    /// The file that was loaded.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Whether the file sets the key (`stream.0.path`).
    pub fn has(&self, key: &str) -> bool {
        self.lines.contains_key(key)
    }

    /// A problem with the value of `key`. The line is the key's, or, if the file does not set it, its table's.
    pub fn problem(&self, key: &str, what: impl Into<String>) -> Problem {
        let mut path = key;
        let line = loop {
            match self.lines.get(path) {
                Some(line) => break *line,
                None => path = path.rsplit_once('.').map_or("", |(table, _)| table),
            }
        };
        Problem {
            file: self.file.clone(),
            line,
            key: key.to_owned(),
            what: what.into(),
        }
    }
}
