//! Finishes the batch that was announced and not known to be closed when the process before ended.

use super::core::{Core, blocked};
use super::locate::{Found, locate};
use super::record::{Note, Plan, Record};
use super::target::{Progress, Target};
use super::{AppendError, Recovered};
use crate::appender::disk::Step;

impl Core {
    /// Completes the batch of `record` in its targets, wherever they are now. The rules:
    ///
    /// - a line of ours that stands unfinished is finished where it stands, if that can be written;
    /// - whole lines that are missing go to the file at the announced path: to the announced file itself
    ///   when it is still there, else, announced anew, to the one that took its place, so that order in
    ///   time holds from the rotated file to the live one;
    /// - a part whose file is gone without a copy is noted as uncertain, and not written again.
    ///
    /// Every step can be interrupted and done again: until a new announcement all counting starts from
    /// this one, and content decides.
    pub(super) fn recover(&mut self, record: &Record) -> Result<Vec<Recovered>, AppendError> {
        let mut recovered: Vec<Recovered> = record.notes.iter().map(Recovered::from).collect();
        self.notes.clone_from(&record.notes);
        let mut rest: Vec<(Target, Vec<u8>)> = Vec::new();
        for (plan, part) in record.plans.iter().zip(&record.parts) {
            if part.is_empty() {
                continue;
            }
            let (found, missing) = self.finish(plan, part)?;
            let Some(found) = found else {
                let lines = memchr::memchr_iter(b'\n', part).count() as u64;
                let note = Note {
                    path: plan.path.clone(),
                    bytes: part.len() as u64,
                    lines,
                    batch: record.seq,
                };
                recovered.push((&note).into());
                self.notes.push(note);
                continue;
            };
            let written = (part.len() - found) as u64;
            recovered.push(Recovered::Completed {
                path: plan.path.clone(),
                found: found as u64,
                written,
            });
            if missing < part.len() {
                rest.push((Target::new(plan.path.clone()), part[missing..].to_vec()));
            }
        }
        if rest.is_empty() {
            self.close()?;
        } else {
            let (targets, parts) = rest.into_iter().unzip();
            self.go_on_elsewhere(targets, parts)?;
        }
        Ok(recovered)
    }

    /// Finishes one part as far as its announced file allows. Returns how many bytes were found
    /// (`None`: the file was not), and from where on the part is missing still.
    fn finish(&mut self, plan: &Plan, part: &[u8]) -> Result<(Option<usize>, usize), AppendError> {
        let at = |path| blocked(path);
        let (path, open, standing, here) = match locate(plan, part).map_err(at(&plan.path))? {
            Found::Lost => return Ok((None, 0)),
            Found::Here { open, standing } => (plan.path.clone(), Some(open), standing, true),
            Found::Moved {
                path,
                open,
                standing,
            } => (path, open, standing, false),
        };
        let done = standing.whole + standing.torn;
        let mut progress = Progress { done, written: 0 };
        let mut target = Target {
            path: path.clone(),
            open,
        };
        if here {
            target
                .write(&self.disk, part, &mut progress)
                .map_err(at(&path))?;
        } else if target.open.is_some() {
            target
                .finish_line(&self.disk, part, &mut progress)
                .map_err(at(&path))?;
        } else {
            progress.done = standing.whole;
        }
        if let Some(open) = &target.open {
            let synced = self.disk.sync(Step::TargetSync, &open.file, &path);
            synced.map_err(|source| AppendError::Sync { path, source })?;
        }
        Ok((Some(done), progress.done))
    }
}

impl From<&Note> for Recovered {
    fn from(note: &Note) -> Self {
        Self::Uncertain {
            path: note.path.clone(),
            bytes: note.bytes,
            lines: note.lines,
            batch: note.batch,
        }
    }
}
