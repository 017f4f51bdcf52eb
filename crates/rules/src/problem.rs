//! What is wrong with a file, and where.

use std::fmt;

/// One thing that is wrong with a rules or triggers file. The file's name is the caller's to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, counted from 1; 0 when the problem is the whole file's.
    pub line: u32,
    /// The key with its tables, joined by dots (`rule.0.pattern`); empty when the problem is the whole file's.
    pub key: String,
    /// What is wrong, with the value and the limit it broke.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for Problem {}
