//! TOML configuration: every problem of a file at once, each with its line and key.
//!
//! [`load`] turns a file into the program's raw structure and a [`Source`], which still knows where each key stood;
//! the program then checks meaning and reports with [`Source::problem`]. Structures need no `deny_unknown_fields`:
//! the key list of every structure that serde derives is compared with the file. Do not use `#[serde(flatten)]`:
//! it hides that list.

mod environment;
mod tree;
mod units;
mod walk;

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

pub use environment::Environment;
pub use tree::Source;
pub use units::{ByteSize, Span, UnitError};

/// The largest configuration file that is read, in bytes: more is a mistake (a log file given as `--config`).
pub const MAX_FILE: u64 = 1 << 20;

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, or `environment`.
    pub file: PathBuf,
    /// The line, counted from 1; 0 when the problem is the whole file's.
    pub line: u32,
    /// The key with its tables, joined by dots (`stream.0.path`); empty when the problem is the whole file's.
    pub key: String,
    /// What is wrong, with the value and the limit it broke.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.what)
    }
}

/// All problems of a configuration, in order of line. Displayed one a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// No problem yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Takes the value, or keeps the problem and gives nothing.
    pub fn take<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.push(problem)).ok()
    }

    /// Gives `value` when there is no problem.
    ///
    /// # Errors
    /// All problems, sorted by file and line.
    pub fn none_or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() {
            return Ok(value);
        }
        Err(self.sorted())
    }

    fn sorted(mut self) -> Self {
        self.0
            .sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        self
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Reads a configuration file.
///
/// # Errors
/// Everything that is wrong with its syntax, its keys and the types of its values, at once.
pub fn load<T: DeserializeOwned>(file: &Path) -> Result<(T, Source), Problems> {
    parse(file, &read(file)?)
}

/// Reads a configuration file and has the program check what it means. Unknown keys do not keep `check` from being
/// asked, so that their problems and its come together.
///
/// # Errors
/// As [`load`], and what `check` finds.
pub fn load_checked<T: DeserializeOwned, C>(
    file: &Path,
    check: impl FnOnce(T, &Source) -> Result<C, Problems>,
) -> Result<(C, Source), Problems> {
    let root = tree::parse(file, &read(file)?)?;
    let (value, mut problems) = walk::value(file, &root)?;
    let source = Source::new(file, &root);
    match check(value, &source) {
        Ok(checked) => problems.none_or((checked, source)),
        Err(found) => {
            problems.0.extend(found.0);
            Err(problems.sorted())
        }
    }
}

/// Reads a configuration text; `file` is what problems name.
///
/// # Errors
/// As [`load`].
pub fn parse<T: DeserializeOwned>(file: &Path, text: &str) -> Result<(T, Source), Problems> {
    let root = tree::parse(file, text)?;
    let (value, problems) = walk::value(file, &root)?;
    problems.none_or((value, Source::new(file, &root)))
}

fn read(file: &Path) -> Result<String, Problems> {
    let whole = |what: String| {
        Problems::from(Problem {
            file: file.to_owned(),
            line: 0,
            key: String::new(),
            what,
        })
    };
    let mut bytes = Vec::new();
    std::fs::File::open(file)
        .and_then(|open| open.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(|error| whole(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(whole(format!("longer than {MAX_FILE} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        whole(format!("not UTF-8 at byte {at}"))
    })
}

#[cfg(test)]
mod tests;
