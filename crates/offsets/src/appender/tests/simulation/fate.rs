//! What happens to a process and its disk: chance, the step at which it ends, and what a power loss would take.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::*;
use crate::appender::disk::Gate;

/// xorshift64*; the simulation needs the same numbers for the same seed, and no more.
#[derive(Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % end
    }

    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// Ends the world at a step, and knows what a power loss would take.
#[derive(Debug)]
pub(super) struct Fate(pub(super) Mutex<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    dice: Dice,
    /// Steps until the end; `None`: for ever.
    left: Option<usize>,
    pub(super) over: bool,
    /// In 8 steps of appending, how many are short or refused.
    trouble: usize,
    /// What a rotation does in the middle of a batch, once.
    pub(super) meddle: Option<(usize, Vec<PathBuf>)>,
    /// Slot files as they were before their first write that is not synced.
    pub(super) before: BTreeMap<PathBuf, Vec<u8>>,
    /// Bytes of a target file (by inode) that are on the disk.
    pub(super) durable: BTreeMap<u64, u64>,
    pub(super) meddled: Vec<(PathBuf, PathBuf)>,
}

impl Fate {
    /// An end after `left` steps, and `trouble` in 8 appends before it.
    pub(super) fn new(dice: Dice, left: Option<usize>, trouble: usize) -> Self {
        let inner = Inner {
            dice,
            left,
            over: false,
            trouble,
            meddle: None,
            before: BTreeMap::new(),
            durable: BTreeMap::new(),
            meddled: Vec::new(),
        };
        Self(inner.into())
    }
}

impl Gate for Fate {
    fn ask(&self, step: Step, path: &Path, len: usize) -> io::Result<usize> {
        let mut inner = self.0.lock().unwrap();
        let inner = &mut *inner;
        if inner.over {
            return Err(io::Error::other("the world is over"));
        }
        if let Some((steps, paths)) = &mut inner.meddle {
            if *steps == 0 {
                for path in paths.iter().filter(|path| path.exists()) {
                    let to = fresh_name(path);
                    fs::rename(path, &to).unwrap();
                    inner.meddled.push((path.clone(), to));
                }
                inner.meddle = None;
            } else {
                *steps -= 1;
            }
        }
        if matches!(step, Step::Redo | Step::Mark) {
            inner
                .before
                .entry(path.to_path_buf())
                .or_insert_with(|| fs::read(path).unwrap());
        }
        let end = match &mut inner.left {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        };
        inner.over |= end;
        let part = |dice: &mut Dice| Ok(dice.below(len + 1));
        match step {
            // A killed process may have written a part; the call that would say so never returns.
            Step::Append | Step::Redo if end => part(&mut inner.dice),
            _ if end => Err(io::Error::other("the world ends")),
            Step::Append if inner.dice.below(8) < inner.trouble => match inner.dice.below(3) {
                0 => Err(io::ErrorKind::StorageFull.into()),
                _ => Ok(1 + inner.dice.below(len)),
            },
            Step::Redo if inner.dice.below(16) < inner.trouble => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(len),
        }
    }

    fn synced(&self, path: &Path, file: &File) {
        let mut inner = self.0.lock().unwrap();
        inner.before.remove(path);
        if let Ok(meta) = file.metadata() {
            use std::os::unix::fs::MetadataExt;
            inner.durable.insert(meta.ino(), meta.len());
        }
    }
}

/// A name for a rotated file that sorts by age and that logrotate could have given.
pub(super) fn fresh_name(path: &Path) -> PathBuf {
    static AGE: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let age = AGE.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    PathBuf::from(format!("{}-{age:010}", path.display()))
}
