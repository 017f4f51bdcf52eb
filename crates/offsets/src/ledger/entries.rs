//! Reading a ledger from its beginning, and checking it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{GENESIS, LINE_BYTES, LedgerError, hash};

/// Reads a ledger line by line; an unfinished last line is left out.
#[derive(Debug)]
pub struct Entries {
    path: PathBuf,
    lines: BufReader<File>,
    line: u64,
}

/// What [`Ledger::verify`](super::Ledger::verify) found in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many facts there are.
    pub facts: u64,
    /// Hash of the last line.
    pub head: String,
}

impl Entries {
    /// Reads the ledger at `path`, which may be growing.
    ///
    /// # Errors
    /// [`LedgerError::Io`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LedgerError> {
        let path = path.as_ref().to_path_buf();
        let file = File::open(&path).map_err(|source| LedgerError::Io {
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            path,
            lines: BufReader::new(file),
            line: 0,
        })
    }

    /// The next line with its LF, which only the last one may lack; empty at the end.
    fn read_line(&mut self) -> Result<Vec<u8>, LedgerError> {
        let mut line = Vec::new();
        let limit = LINE_BYTES as u64 + 1;
        let read = (&mut self.lines).take(limit).read_until(b'\n', &mut line);
        read.map_err(|source| LedgerError::Io {
            path: self.path.clone(),
            source,
        })?;
        self.line += u64::from(!line.is_empty());
        if line.len() as u64 == limit && !line.ends_with(b"\n") {
            return Err(self.damaged("it is longer than a line may be"));
        }
        Ok(line)
    }

    fn damaged(&self, what: &'static str) -> LedgerError {
        LedgerError::Damaged {
            path: self.path.clone(),
            line: self.line,
            what,
        }
    }
}

impl Iterator for Entries {
    type Item = Result<Value, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.read_line() {
            Err(error) => Some(Err(error)),
            Ok(line) if !line.ends_with(b"\n") => None,
            Ok(line) => Some(match serde_json::from_slice(&line) {
                Ok(value @ Value::Object(_)) => Ok(value),
                _ => Err(self.damaged("no JSON object")),
            }),
        }
    }
}

/// Checks form, numbers and chain from the first line to the last.
pub(super) fn verify(path: &Path) -> Result<Verified, LedgerError> {
    let mut entries = Entries::open(path)?;
    let mut verified = Verified {
        facts: 0,
        head: GENESIS.to_owned(),
    };
    loop {
        let line = entries.read_line()?;
        let Some(body) = line.strip_suffix(b"\n") else {
            return if line.is_empty() {
                Ok(verified)
            } else {
                Err(entries.damaged("it is unfinished"))
            };
        };
        let Ok(Value::Object(fields)) = serde_json::from_slice(body) else {
            return Err(entries.damaged("no JSON object"));
        };
        if fields.get("seq").and_then(Value::as_u64) != Some(verified.facts) {
            return Err(entries.damaged("its seq does not follow the line before"));
        }
        if fields.get("prev").and_then(Value::as_str) != Some(&verified.head) {
            return Err(entries.damaged("its prev is not the hash of the line before"));
        }
        verified = Verified {
            facts: verified.facts + 1,
            head: hash(body),
        };
    }
}
