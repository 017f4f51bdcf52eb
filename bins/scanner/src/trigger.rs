//! The directory of trigger files: read, checked, and read again when it changes. The unit is the file: one with a
//! mistake keeps its last good triggers, the others change.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rules::{MAX_FILE, parse_triggers};
use service::config::Problem;
use webhook::{Policy, Secrets};

/// A trigger and where it stands. Its `Debug` leaves the URL out.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Trigger {
    /// What the file says.
    pub(crate) row: rules::Trigger,
    /// The file.
    pub(crate) file: PathBuf,
    /// What may be shown of the URL.
    pub(crate) target: String,
}

impl std::fmt::Debug for Trigger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trigger")
            .field("name", &self.row.name)
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// All triggers that are in force, in order of file name and position, and what is wrong with files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Triggers {
    pub(crate) rows: Vec<Arc<Trigger>>,
    pub(crate) problems: Vec<Problem>,
}

impl Triggers {
    /// The trigger of a name.
    pub(crate) fn find(&self, name: &str) -> Option<&Arc<Trigger>> {
        self.rows.iter().find(|trigger| trigger.row.name == name)
    }
}

/// The directory, with the last good triggers of each of its files.
#[derive(Debug)]
pub(crate) struct Directory {
    dir: PathBuf,
    policy: Policy,
    good: BTreeMap<PathBuf, Vec<Arc<Trigger>>>,
}

impl Directory {
    /// Nothing is read yet. `policy` is what URLs are checked by.
    pub(crate) fn new(dir: &Path, policy: Policy) -> Self {
        Self {
            dir: dir.to_owned(),
            policy,
            good: BTreeMap::new(),
        }
    }

    /// Reads all files and the secrets that they name. Blocks; a directory that is not there has no files.
    pub(crate) fn read(&mut self) -> Triggers {
        let mut problems = Vec::new();
        let files = match list(&self.dir) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                // Whether files are gone is not known, so none is.
                problems.push(whole(&self.dir, format!("cannot be read: {error}")));
                self.good.keys().cloned().collect()
            }
        };
        if files.len() > MAX_FILES {
            let what = format!("holds more than {MAX_FILES} files; the rest is left out");
            problems.push(whole(&self.dir, what));
        }
        let files = &files[..files.len().min(MAX_FILES)];
        self.good.retain(|file, _| files.contains(file));
        let mut parsed = Vec::new();
        for file in files {
            match self.parse(file) {
                Ok(rows) => parsed.push((file.clone(), rows)),
                Err(found) => problems.extend(found),
            }
        }
        let mut bad = Vec::new();
        let rows = |(_, rows): &(PathBuf, Vec<rules::Trigger>)| rows.clone();
        let all: Vec<Vec<rules::Trigger>> = parsed.iter().map(rows).collect();
        for (at, problem) in rules::check_triggers(all.iter().map(Vec::as_slice)) {
            problems.push(placed(&parsed[at].0, problem));
            bad.push(at);
        }
        for (at, (file, rows)) in parsed.into_iter().enumerate() {
            if !bad.contains(&at) {
                let placed = rows.into_iter().map(|row| {
                    let target = self.policy.check_url(&row.url);
                    let target = target.map(|target| target.to_string()).unwrap_or_default();
                    let file = file.clone();
                    Arc::new(Trigger { row, file, target })
                });
                self.good.insert(file.clone(), placed.collect());
            }
        }
        problems.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        let rows = self.in_force(&mut problems);
        Triggers { rows, problems }
    }

    /// What each file's last good state says, a name once.
    fn in_force(&self, problems: &mut Vec<Problem>) -> Vec<Arc<Trigger>> {
        let mut rows: Vec<Arc<Trigger>> = Vec::new();
        for trigger in self.good.values().flatten() {
            if rows.len() == MAX_TRIGGERS {
                let what =
                    format!("there are more than {MAX_TRIGGERS} triggers; the rest is left out");
                problems.push(whole(&trigger.file, what));
                break;
            }
            if rows.iter().all(|row| row.row.name != trigger.row.name) {
                rows.push(Arc::clone(trigger));
            }
        }
        rows
    }

    fn parse(&self, file: &Path) -> Result<Vec<rules::Trigger>, Vec<Problem>> {
        let text = text(file, MAX_FILE).map_err(|what| vec![whole(file, what)])?;
        let place = |found: Vec<rules::Problem>| -> Vec<Problem> {
            found
                .into_iter()
                .map(|problem| placed(file, problem))
                .collect()
        };
        let rows = parse_triggers(&text).map_err(place)?;
        let mut problems = Vec::new();
        for row in &rows {
            if let Err(refusal) = self.policy.check_url(&row.url) {
                problems.push(row.url_problem(refusal.to_string()));
            }
            if let Err(what) = secrets(&row.secret_files) {
                problems.push(row.secret_problem(what));
            }
        }
        if problems.is_empty() {
            return Ok(rows);
        }
        Err(place(problems))
    }
}

/// Reads the secrets of a trigger, as they are now. No error shows any of them.
///
/// # Errors
/// A file that cannot be read, or holds what is no secret.
pub(crate) fn secrets(files: &[String]) -> Result<Option<Secrets>, String> {
    if files.is_empty() {
        return Ok(None);
    }
    let mut all = String::new();
    for file in files {
        let text =
            text(Path::new(file), MAX_SECRET_FILE).map_err(|what| format!("{file} {what}"))?;
        if text.trim().is_empty() {
            return Err(format!("{file} is empty"));
        }
        all.push_str(&text);
        all.push('\n');
    }
    let secrets = Secrets::parse(&all);
    secrets
        .map(Some)
        .map_err(|error| format!("{}: {error}", files.join(", ")))
}

/// The files of a directory that end in `.toml`, by name. Hidden ones are editors'.
fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| name.ends_with(".toml") && !name.starts_with('.')) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn text(file: &Path, most: usize) -> Result<String, String> {
    let mut bytes = Vec::new();
    fs::File::open(file)
        .and_then(|open| open.take(most as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() > most {
        return Err(format!("is longer than {most} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())
}

fn placed(file: &Path, problem: rules::Problem) -> Problem {
    Problem {
        file: file.to_owned(),
        line: problem.line,
        key: problem.key,
        what: problem.what,
    }
}

fn whole(file: &Path, what: String) -> Problem {
    Problem {
        file: file.to_owned(),
        line: 0,
        key: String::new(),
        what,
    }
}

/// Triggers in force: each may have a connection open, and is matched against every event.
pub(crate) const MAX_TRIGGERS: usize = 256;

/// Files that are read, the first by name.
const MAX_FILES: usize = 1024;

/// A secret has less than a hundred bytes.
const MAX_SECRET_FILE: usize = 8 << 10;

#[cfg(test)]
mod tests;
