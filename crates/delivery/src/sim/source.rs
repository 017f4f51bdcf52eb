//! The worker's disk: a log file that is written, rotated, copied and cut, and what of it survives a loss of power.

use super::{Chance, MAX_FRAME, PROOF};

#[derive(Clone)]
pub(super) struct File {
    pub(super) ino: u64,
    pub(super) bytes: Vec<u8>,
    /// So many survive a loss of power for certain.
    pub(super) synced: usize,
    /// The history that it is a prefix of.
    truth: usize,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}: {:?}",
            self.ino,
            String::from_utf8_lossy(&self.bytes)
        )
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Source {
    /// By name: the live file first, then the rotated ones, the newest first.
    pub(super) files: Vec<File>,
}

/// Everything that ever stood in a file, for comparison; the programs do not see it.
#[derive(Debug, Default)]
pub(super) struct Truths {
    pub(super) histories: Vec<Vec<u8>>,
    lines: u64,
    inodes: u64,
    free: Vec<u64>,
}

impl Truths {
    fn fork(&mut self, of: &[u8]) -> usize {
        self.histories.push(of.to_vec());
        self.histories.len() - 1
    }

    /// An inode, most often one that was in use a moment ago.
    fn inode(&mut self) -> u64 {
        self.free.pop().unwrap_or_else(|| {
            self.inodes += 1;
            self.inodes
        })
    }

    fn file(&mut self) -> File {
        File {
            ino: self.inode(),
            bytes: Vec::new(),
            synced: 0,
            truth: self.fork(b""),
        }
    }

    fn line(&mut self, chance: &mut Chance) -> Vec<u8> {
        self.lines += 1;
        let long = chance.below(3 * MAX_FRAME as usize);
        let text: String = (0..long)
            .map(|_| char::from(b'a' + chance.below(26) as u8))
            .collect();
        match chance.below(20) {
            0 => b"\n".to_vec(),
            1 => b"# begins\n".to_vec(),
            2 => format!("={}:{text}\n", self.lines).into_bytes(),
            3 => format!("={}:unfinished", self.lines).into_bytes(),
            _ => format!("={}:{}\n", self.lines, &text[..long.min(20)]).into_bytes(),
        }
    }
}

/// Rotated files that are kept.
const KEPT: usize = 4;

impl Source {
    pub(super) fn new(truths: &mut Truths) -> Self {
        Self {
            files: vec![truths.file()],
        }
    }

    pub(super) fn by_ino(&self, ino: u64) -> Option<&File> {
        self.files.iter().find(|file| file.ino == ino)
    }

    pub(super) fn by_ino_mut(&mut self, ino: u64) -> Option<&mut File> {
        self.files.iter_mut().find(|file| file.ino == ino)
    }

    /// A line into the live file, now and then a late one into the file before.
    pub(super) fn write(&mut self, truths: &mut Truths, chance: &mut Chance) {
        let at = usize::from(self.files.len() > 1 && chance.one_in(25));
        let line = truths.line(chance);
        let file = &mut self.files[at];
        file.bytes.extend(&line);
        truths.histories[file.truth].extend(&line);
    }

    pub(super) fn rotate(&mut self, truths: &mut Truths) {
        self.files.insert(0, truths.file());
        self.drop_oldest(truths);
    }

    pub(super) fn copytruncate(&mut self, truths: &mut Truths) {
        let mut copy = self.files[0].clone();
        copy.ino = truths.inode();
        copy.synced = 0;
        let live = &mut self.files[0];
        live.bytes.clear();
        live.synced = 0;
        live.truth = truths.fork(b"");
        self.files.insert(1, copy);
        self.drop_oldest(truths);
    }

    pub(super) fn delete_oldest(&mut self, truths: &mut Truths) {
        if self.files.len() > 1
            && let Some(file) = self.files.pop()
        {
            truths.free.push(file.ino);
        }
    }

    fn drop_oldest(&mut self, truths: &mut Truths) {
        while self.files.len() > KEPT {
            self.delete_oldest(truths);
        }
    }

    /// Whether every file is longer than what proves a beginning: a shorter one can't be recognised without state.
    pub(super) fn has_long_files(&self) -> bool {
        self.files
            .iter()
            .all(|file| file.bytes.is_empty() || file.bytes.len() >= PROOF)
    }

    pub(super) fn lose_power(&mut self, truths: &mut Truths, chance: &mut Chance) {
        for file in &mut self.files {
            // What is left is long enough to be recognised: see `has_long_files`.
            let least = file.synced.max(PROOF).min(file.bytes.len());
            let lost = chance.below(file.bytes.len() - least + 1);
            if lost > 0 {
                file.bytes.truncate(file.bytes.len() - lost);
                file.truth = truths.fork(&file.bytes);
            }
            file.synced = file.bytes.len();
        }
    }

    /// The disk is as it was when `copy` was made; from here on it has another history.
    pub(super) fn restore(&mut self, copy: &Self, truths: &mut Truths) {
        *self = copy.clone();
        for file in &mut self.files {
            file.synced = file.bytes.len();
            file.truth = truths.fork(&file.bytes);
            truths.free.retain(|ino| *ino != file.ino);
        }
        truths.inodes += 100;
    }
}
