//! The directory of rule files: read as a whole, taken over file by file, watched.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rules::{Catalog, Problem, RuleSet};
use service::config;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::watch::DirWatch;

/// Files by name: their text, or why it could not be read.
pub(crate) type Files = BTreeMap<String, Result<String, String>>;

/// Rules as they stand.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    /// Counts up with each change.
    pub(crate) revision: u64,
    /// What is in use.
    pub(crate) set: Arc<RuleSet>,
    /// What is wrong, by file: each of them kept its last good rows.
    pub(crate) problems: Arc<Vec<(String, Problem)>>,
    /// The files as they were last good, to begin with after a restart.
    pub(crate) last_good: Arc<BTreeMap<String, String>>,
}

/// Reads all files of a directory, `*.toml`; none if it is not there.
pub(crate) fn read(dir: &Path) -> Result<Files, String> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Files::new()),
        Err(error) => return Err(format!("{} can't be read: {error}", dir.display())),
    };
    let mut files = Files::new();
    for entry in entries {
        let entry = entry.map_err(|error| format!("{} can't be read: {error}", dir.display()))?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        // An editor's own files begin with a dot.
        if name.starts_with('.') || !name.ends_with(".toml") || entry.path().is_dir() {
            continue;
        }
        if files.len() >= MAX_FILES {
            return Err(format!("more than {MAX_FILES} files in {}", dir.display()));
        }
        files.insert(name, text(&entry.path()));
    }
    Ok(files)
}

fn text(path: &Path) -> Result<String, String> {
    let most = rules::MAX_FILE as u64;
    let mut octets = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(most + 1).read_to_end(&mut octets))
        .map_err(|error| format!("cannot be read: {error}"))?;
    if octets.len() as u64 > most {
        return Err(format!("longer than {most} octets"));
    }
    String::from_utf8(octets)
        .map_err(|error| format!("not UTF-8 at octet {}", error.utf8_error().valid_up_to()))
}

/// A problem with its file, as configuration has them.
pub(crate) fn problem(dir: &Path, name: &str, problem: &Problem) -> config::Problem {
    config::Problem {
        file: dir.join(name),
        line: problem.line,
        key: problem.key.clone(),
        what: problem.what.clone(),
    }
}

/// Reads all files as if for the first time: what is wrong counts, and keeps nothing.
///
/// # Errors
/// Everything that is wrong, with file and line.
pub(crate) fn check(dir: &Path) -> Result<Arc<RuleSet>, config::Problems> {
    let files = read(dir).map_err(|what| {
        config::Problems::from(config::Problem {
            file: dir.to_owned(),
            line: 0,
            key: String::new(),
            what,
        })
    })?;
    let update = Catalog::new().update(named(&files));
    let found = update
        .problems
        .iter()
        .map(|(name, what)| problem(dir, name, what));
    config::Problems(found.collect()).none_or(update.set)
}

fn named(files: &Files) -> impl Iterator<Item = (&str, Result<&str, String>)> {
    files.iter().map(|(name, text)| {
        let text = text.as_deref().map_err(Clone::clone);
        (name.as_str(), text)
    })
}

/// The rules of a directory over time.
#[derive(Debug)]
pub(crate) struct Keeper {
    dir: PathBuf,
    catalog: Catalog,
    seen: Option<Result<Files, String>>,
    shown: watch::Sender<Snapshot>,
}

impl Keeper {
    /// Begins with the files that were last good, then reads those that are there.
    pub(crate) fn new(dir: &Path, last_good: &BTreeMap<String, String>) -> Self {
        let mut catalog = Catalog::new();
        catalog.update(
            last_good
                .iter()
                .map(|(name, text)| (name.as_str(), Ok(text.as_str()))),
        );
        let mut keeper = Self {
            dir: dir.to_owned(),
            catalog,
            seen: None,
            shown: watch::Sender::default(),
        };
        keeper.reload();
        keeper
    }

    /// Where the rules can be seen as they stand.
    pub(crate) fn shown(&self) -> watch::Receiver<Snapshot> {
        self.shown.subscribe()
    }

    /// Reads the directory, and takes over what changed.
    fn reload(&mut self) {
        let found = read(&self.dir);
        if self.seen.as_ref() == Some(&found) {
            return;
        }
        let files = match &found {
            Ok(files) => files,
            Err(what) => {
                warn!(error = what, "rules stay as they were");
                let name = self.dir.display().to_string();
                let problem = Problem {
                    line: 0,
                    key: String::new(),
                    what: what.clone(),
                };
                self.shown.send_modify(|shown| {
                    shown.revision += 1;
                    shown.problems = Arc::new(vec![(name, problem)]);
                });
                self.seen = Some(found);
                return;
            }
        };
        let update = self.catalog.update(named(files));
        for (name, what) in &update.problems {
            let problem = problem(&self.dir, name, what);
            warn!(error = %problem, "a rule file keeps its last good rows");
        }
        let last_good = self.catalog.last_good();
        let last_good = last_good
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .collect();
        let (rules, problems) = (update.set.rules().len(), update.problems.len());
        info!(files = files.len(), rules, problems, "rules in use");
        self.shown.send_modify(|shown| {
            *shown = Snapshot {
                revision: shown.revision + 1,
                set: update.set,
                problems: Arc::new(update.problems),
                last_good: Arc::new(last_good),
            };
        });
        self.seen = Some(found);
    }

    /// Follows the directory until dropped.
    pub(crate) async fn keep(mut self) {
        let mut watch = DirWatch::new(&self.dir);
        loop {
            // Patterns are compiled beside the loops.
            let task = tokio::task::spawn_blocking(move || {
                self.reload();
                self
            });
            match task.await {
                Ok(keeper) => self = keeper,
                Err(error) => {
                    tracing::error!(%error, "rules are not looked after any more");
                    return;
                }
            }
            watch.changed().await;
        }
    }
}

/// Files in the directory.
const MAX_FILES: usize = 1000;
