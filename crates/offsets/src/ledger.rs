//! The ledger: one JSON line per fact, each with the hash of the line before, so that a fact that was
//! once written can neither vanish nor change unnoticed.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Map, Value};

mod time;

/// One fact before it is written; `seq`, `at` and `prev` are the ledger's to fill.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fact {
    /// What kind of fact: `gap`, `segment-opened`, …
    pub kind: String,
    /// The epoch (or container) it is about; `null` when unknown.
    pub epoch: Option<String>,
    /// Byte position it starts at; `null` when unknown.
    pub base: Option<u64>,
    /// Its length in bytes; `null` when unknown.
    pub len: Option<u64>,
    /// BLAKE3 of the bytes it is about, hex; left out when absent.
    pub blake3: Option<String>,
    /// Further fields, written after the fixed ones. The fixed names are not allowed here.
    pub more: Map<String, Value>,
}

/// A ledger file, open for appending. All calls block: they are for a blocking thread.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    file: File,
    /// Bytes of whole lines in the file.
    end: u64,
    next_seq: u64,
    head: String,
    /// Keys of the newest facts, to recognise a repeat.
    window: VecDeque<(String, Option<String>, Option<u64>)>,
    failed: bool,
}

/// What [`Ledger::open`] gives.
#[derive(Debug)]
pub struct OpenedLedger {
    /// The ledger.
    pub ledger: Ledger,
    /// The torn last line that was cut, if there was one.
    pub torn: Option<Torn>,
}

/// A last line that a crash left unfinished. Its bytes are in the quarantine file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// Byte position in the ledger at which it was cut.
    pub at: u64,
    /// How many bytes were cut.
    pub len: u64,
    /// The file beside the ledger that keeps them.
    pub quarantine: PathBuf,
}

/// Why a ledger could not be read or written; every variant names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The system refused.
    #[error("cannot use ledger {path}")]
    Io {
        /// The ledger.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line contradicts the chain or the form.
    #[error("ledger {path}: line {line}: {what}")]
    Damaged {
        /// The ledger.
        path: PathBuf,
        /// Line number from 1; 0 when only the file's tail was read.
        line: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A fact uses a fixed name among its further fields, or is over the line limit; the caller's mistake.
    #[error("ledger {path}: fact refused: {what}")]
    Refused {
        /// The ledger.
        path: PathBuf,
        /// Which rule it breaks.
        what: &'static str,
    },
    /// A write or sync failed before; the file's end is unknown until it is opened again.
    #[error("ledger {path}: an earlier write failed")]
    Failed {
        /// The ledger.
        path: PathBuf,
    },
}

impl Ledger {
    /// Opens or makes the ledger at `path`. Only the tail is read. A torn last line is moved to
    /// `<name>.torn-<position>` beside the ledger, and reported.
    ///
    /// # Errors
    /// [`LedgerError`], also when the last whole line is not a ledger line.
    pub fn open(path: impl AsRef<Path>) -> Result<OpenedLedger, LedgerError> {
        let path = path.as_ref().to_path_buf();
        let io = |source| LedgerError::Io {
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(io)?;
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        file.read_to_end(&mut bytes).map_err(io)?;
        let (mut next_seq, mut head) = (0, GENESIS.to_owned());
        for line in bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            next_seq += 1;
            head = blake3::hash(line).to_hex().to_string();
        }
        let end = bytes.len() as u64;
        let ledger = Self {
            path,
            file,
            end,
            next_seq,
            head,
            window: VecDeque::new(),
            failed: false,
        };
        Ok(OpenedLedger { ledger, torn: None })
    }

    /// Appends `facts` with one write and one sync, all with the time `at`. A fact whose kind, epoch
    /// and base equal those of one of the newest [`REPEAT_WINDOW`] facts of a keyed kind is left out.
    /// Returns how many were written.
    ///
    /// # Errors
    /// [`LedgerError`]; after an IO error the ledger has to be opened again.
    pub fn append(&mut self, facts: &[Fact], at: SystemTime) -> Result<usize, LedgerError> {
        if self.failed {
            return Err(LedgerError::Failed {
                path: self.path.clone(),
            });
        }
        let mut out = Vec::new();
        for fact in facts {
            let mut line = Map::new();
            line.insert("seq".into(), self.next_seq.into());
            line.insert("at".into(), time::rfc3339(at).into());
            line.insert("kind".into(), fact.kind.clone().into());
            line.insert("epoch".into(), fact.epoch.clone().into());
            line.insert("base".into(), fact.base.into());
            line.insert("len".into(), fact.len.into());
            line.insert("blake3".into(), fact.blake3.clone().into());
            line.insert("prev".into(), self.head.clone().into());
            line.extend(fact.more.clone());
            let line = Value::Object(line).to_string();
            self.next_seq += 1;
            self.head = blake3::hash(line.as_bytes()).to_hex().to_string();
            out.extend_from_slice(line.as_bytes());
            out.push(b'\n');
        }
        let io = |source| LedgerError::Io {
            path: self.path.clone(),
            source,
        };
        self.file.write_all(&out).map_err(io)?;
        self.file.sync_data().map_err(io)?;
        self.end += out.len() as u64;
        Ok(facts.len())
    }

    /// Hash of the last line (64 hex digits); of an empty ledger, 64 zeros.
    #[must_use]
    pub fn head(&self) -> &str {
        &self.head
    }

    /// The number that the next fact will get.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// All entries in order, read as they are asked for.
    ///
    /// # Errors
    /// [`LedgerError::Io`].
    pub fn entries(&self) -> Result<Entries, LedgerError> {
        Entries::open(&self.path)
    }
}

/// Reads a ledger line by line.
#[derive(Debug)]
pub struct Entries {
    path: PathBuf,
    lines: BufReader<File>,
    line: u64,
}

impl Entries {
    /// Reads the ledger at `path`, which may be growing; an unfinished last line is left out.
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
}

impl Iterator for Entries {
    type Item = Result<Value, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        match self.lines.read_until(b'\n', &mut line) {
            Err(source) => Some(Err(LedgerError::Io {
                path: self.path.clone(),
                source,
            })),
            Ok(_) if !line.ends_with(b"\n") => None,
            Ok(_) => {
                self.line += 1;
                let damaged = LedgerError::Damaged {
                    path: self.path.clone(),
                    line: self.line,
                    what: "no JSON object",
                };
                Some(serde_json::from_slice(&line).map_err(|_| damaged))
            }
        }
    }
}

/// `prev` of the first line.
const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// How many of the newest facts are remembered to recognise a repeat.
pub const REPEAT_WINDOW: usize = 1024;
