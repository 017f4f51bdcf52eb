//! The ledger: one JSON line per fact, each with the hash of the line before, so that a fact that was
//! once written can neither vanish nor change unnoticed.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

mod entries;
mod fact;
mod time;

pub use entries::{Entries, Verified};
pub use fact::Fact;
use fact::{Loss, Losses};

/// A ledger file, open for appending, of which its user is the only writer. All calls block: they are
/// for a blocking thread.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    file: File,
    next_seq: u64,
    head: String,
    len: u64,
    losses: Losses,
    failed: bool,
    stood: usize,
}

/// Where a ledger ends, for its only writer to go on there without reading it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEnd {
    /// The number that the next fact will get.
    pub next_seq: u64,
    /// Hash of the last line (64 hex digits); of an empty ledger, 64 zeros.
    pub head: String,
    /// Bytes in the file.
    pub len: u64,
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
        /// Line number from 1; 0 for the last line, when only the file's tail was read.
        line: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A fact uses a fixed name among its further fields, or its line is over [`LINE_BYTES`]; the
    /// caller's mistake. Nothing was written.
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
    /// Opens or makes the ledger at `path`. Only its last [`TAIL_BYTES`] are read, whatever its size. A
    /// torn last line is moved to `NAME.torn-POSITION` beside the ledger, and reported.
    ///
    /// # Errors
    /// [`LedgerError`], also when the last whole line is not a ledger's.
    pub fn open(path: impl AsRef<Path>) -> Result<OpenedLedger, LedgerError> {
        let path = path.as_ref().to_path_buf();
        let io = |source| LedgerError::Io {
            path: path.clone(),
            source,
        };
        let made = !path.exists();
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .append(true)
            .create(true)
            .mode(0o640)
            .open(&path)
            .map_err(io)?;
        if made {
            crate::appender::sync_dir(path.parent().unwrap_or(Path::new(""))).map_err(io)?;
        }
        let size = file.metadata().map_err(io)?.len();
        let from = size.saturating_sub(TAIL_BYTES);
        let mut tail = vec![0; usize::try_from(size - from).unwrap_or(0)];
        file.read_exact_at(&mut tail, from).map_err(io)?;
        let whole = memchr::memrchr(b'\n', &tail).map_or(0, |lf| lf + 1);
        if whole == 0 && from > 0 {
            return Err(LedgerError::Damaged {
                path,
                line: 0,
                what: "it is longer than a line may be",
            });
        }
        let torn = (whole < tail.len()).then(|| (from + whole as u64, tail.split_off(whole)));
        let torn = torn
            .map(|(at, bytes)| cut(&path, &file, at, &bytes))
            .transpose()
            .map_err(io)?;
        let len = size - torn.as_ref().map_or(0, |torn| torn.len);
        let mut ledger = Self {
            path,
            file,
            next_seq: 0,
            head: GENESIS.to_owned(),
            len,
            losses: Losses::default(),
            failed: false,
            stood: 0,
        };
        ledger.take_tail(&tail, from > 0)?;
        Ok(OpenedLedger { ledger, torn })
    }

    /// Opens the ledger at `path` where its only writer left it, reading nothing. `None` when the file has another
    /// length, or is gone. The losses that it holds are not known: they can be told again.
    ///
    /// # Errors
    /// [`LedgerError::Io`].
    pub fn resume(path: impl AsRef<Path>, end: &LedgerEnd) -> Result<Option<Ledger>, LedgerError> {
        let path = path.as_ref().to_path_buf();
        let opened = OpenOptions::new().read(true).append(true).open(&path);
        let looked = opened.and_then(|file| Ok((file.metadata()?.len(), file)));
        match looked {
            Ok((len, file)) if len == end.len => Ok(Some(Self {
                path,
                file,
                next_seq: end.next_seq,
                head: end.head.clone(),
                len,
                losses: Losses::default(),
                failed: false,
                stood: 0,
            })),
            Ok(_) => Ok(None),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LedgerError::Io { path, source }),
        }
    }

    /// Opens the ledger again where a write failed before; otherwise nothing is done. A line that the failure tore is set
    /// aside, and reported.
    ///
    /// # Errors
    /// [`LedgerError`], as of [`Ledger::open`].
    pub fn mend(&mut self) -> Result<Option<Torn>, LedgerError> {
        if !self.failed {
            return Ok(None);
        }
        let OpenedLedger { ledger, torn } = Self::open(&self.path)?;
        *self = ledger;
        Ok(torn)
    }

    /// Where it ends now.
    #[must_use]
    pub fn end(&self) -> LedgerEnd {
        LedgerEnd {
            next_seq: self.next_seq,
            head: self.head.clone(),
            len: self.len,
        }
    }

    /// Appends `facts` with one write and one sync, all with the time `at`. Returns how many were
    /// written: a `gap` or `uncertain` fact whose kind, epoch, base, `path` and `uid` are those of one of
    /// the newest [`REPEAT_WINDOW`] such facts, and whose length is not greater, is a repeat and left out. A `recovery`
    /// fact with a field `segment` takes back the losses of its epoch from its base on: they can be told again.
    ///
    /// # Errors
    /// [`LedgerError`]; after an IO error the ledger has to be [mended](Ledger::mend), and [`Ledger::stood`] says what is
    /// left to be told.
    pub fn append(&mut self, facts: &[Fact], at: SystemTime) -> Result<usize, LedgerError> {
        if self.failed {
            return Err(LedgerError::Failed {
                path: self.path.clone(),
            });
        }
        if let Some(what) = facts.iter().find_map(Fact::fault) {
            return Err(LedgerError::Refused {
                path: self.path.clone(),
                what,
            });
        }
        let at = time::rfc3339(at);
        let (mut out, mut head, mut seq) = (Vec::new(), self.head.clone(), self.next_seq);
        // Of each line where it ends, and how many facts are told with it.
        let mut ends = Vec::new();
        // Taken over only when the lines stand; most facts are no losses, and then this is empty.
        let lossy = facts
            .iter()
            .any(|fact| fact.loss().is_some() || fact.takes_back().is_some());
        let mut losses = if lossy {
            self.losses.clone()
        } else {
            Losses::default()
        };
        for (number, fact) in (1..).zip(facts) {
            if let Some(taken) = fact.takes_back() {
                losses.take_back(taken);
            }
            if fact.loss().is_some_and(|loss| !losses.tell(loss, fact.len)) {
                continue;
            }
            let line = fact.line(seq, &at, &head);
            if line.len() > LINE_BYTES {
                return Err(LedgerError::Refused {
                    path: self.path.clone(),
                    what: "it is too long for a line",
                });
            }
            head = hash(&line);
            out.extend_from_slice(&line);
            out.push(b'\n');
            seq += 1;
            ends.push((out.len() as u64, number));
        }
        if ends.is_empty() {
            return Ok(0);
        }
        self.write(&out, &ends)?;
        (self.head, self.next_seq) = (head, seq);
        self.len += out.len() as u64;
        if lossy {
            self.losses = losses;
        }
        Ok(ends.len())
    }

    /// Writes lines and syncs them. `ends` as [`Ledger::append`] has them.
    fn write(&mut self, out: &[u8], ends: &[(u64, usize)]) -> Result<(), LedgerError> {
        let io = |source| LedgerError::Io {
            path: self.path.clone(),
            source,
        };
        self.failed = true;
        if let Err(source) = self.file.write_all(out) {
            let size = self.file.metadata().map_or(0, |meta| meta.len());
            let stands = size.saturating_sub(self.len);
            let whole = ends.iter().rfind(|(end, _)| *end <= stands);
            self.stood = whole.map_or(0, |(_, facts)| *facts);
            return Err(io(source));
        }
        self.file.sync_data().map_err(io)?;
        self.failed = false;
        Ok(())
    }

    /// Of the facts that an append was given which failed, how many from the first on stand all the same: a full disk
    /// takes the first lines. None after a failed sync, of which nobody knows what it left. They are durable with the
    /// next append that succeeds.
    #[must_use]
    pub fn stood(&self) -> usize {
        self.stood
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

    /// Checks every line of the ledger at `path`: form, numbers, chain.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] with the first line that is wrong.
    pub fn verify(path: impl AsRef<Path>) -> Result<Verified, LedgerError> {
        entries::verify(path.as_ref())
    }

    /// Takes number, head and losses from the whole lines of the tail.
    fn take_tail(&mut self, tail: &[u8], partial: bool) -> Result<(), LedgerError> {
        let mut lines: Vec<&[u8]> = tail.split_inclusive(|byte| *byte == b'\n').collect();
        if partial && !lines.is_empty() {
            lines.remove(0);
        }
        let Some(last) = lines.last() else {
            return Ok(());
        };
        let last = last.strip_suffix(b"\n").unwrap_or(last);
        let damaged = |what| LedgerError::Damaged {
            path: self.path.clone(),
            line: 0,
            what,
        };
        let value: Value = serde_json::from_slice(last).map_err(|_| damaged("no JSON object"))?;
        let seq = value
            .get("seq")
            .and_then(Value::as_u64)
            .ok_or_else(|| damaged("no seq"))?;
        self.next_seq = seq + 1;
        self.head = hash(last);
        for line in lines {
            // Older lines are for `verify` to judge.
            let line = serde_json::from_slice::<Value>(line).unwrap_or_default();
            if let Some(taken) = fact::takes_back(&line) {
                self.losses.take_back(taken);
            }
            if let Some(loss) = Loss::of(&line) {
                self.losses
                    .tell(loss, line.get("len").and_then(Value::as_u64));
            }
        }
        Ok(())
    }
}

/// Keeps the torn bytes beside the ledger, durably, and then cuts them off.
fn cut(path: &Path, file: &File, at: u64, bytes: &[u8]) -> io::Result<Torn> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".torn-{at}"));
    let quarantine = PathBuf::from(name);
    // Interrupted and done again it holds the same bytes again, or after further trouble at the same
    // position both, one behind the other.
    let mut kept = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o640)
        .open(&quarantine)?;
    if std::fs::read(&quarantine)? != bytes {
        kept.write_all(bytes)?;
    }
    kept.sync_all()?;
    crate::appender::sync_dir(path.parent().unwrap_or(Path::new("")))?;
    file.set_len(at)?;
    file.sync_all()?;
    Ok(Torn {
        at,
        len: bytes.len() as u64,
        quarantine,
    })
}

/// The hash of a line, without its LF, as the next one's `prev`.
fn hash(line: &[u8]) -> String {
    blake3::hash(line).to_hex().to_string()
}

/// How many of the newest losses are remembered to recognise a repeat.
pub const REPEAT_WINDOW: usize = 1024;

/// Longest line of a ledger in bytes, without LF.
pub const LINE_BYTES: usize = 64 << 10;

/// How much of a ledger's end is read at open: more than a line may have, and enough for
/// [`REPEAT_WINDOW`] usual ones (300 bytes each).
pub const TAIL_BYTES: u64 = 512 << 10;

/// `prev` of the first line.
const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

#[cfg(test)]
mod tests;
