//! The worker's disk: a log file that is written, rotated, copied, cut and compressed, and what of it survives a loss of
//! power.

use super::{Chance, MAX_FRAME, PROOF, met};

#[derive(Clone)]
pub(super) struct File {
    pub(super) ino: u64,
    pub(super) bytes: Vec<u8>,
    /// So many survive a loss of power for certain.
    pub(super) synced: usize,
    /// The history that it is a prefix of.
    truth: usize,
    /// Compressed.
    gz: bool,
    /// Nobody writes to it: it was made from another one.
    copy: bool,
    /// Still being compressed: nobody can read it yet.
    partial: bool,
    /// A medium error: it is there, and can't be read.
    pub(super) broken: bool,
}

impl File {
    /// Its first bytes, as many as prove something.
    pub(super) fn head(&self) -> Vec<u8> {
        self.bytes[..self.bytes.len().min(PROOF)].to_vec()
    }
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = String::from_utf8_lossy(&self.bytes);
        let gz = if self.gz { "gz " } else { "" };
        write!(f, "{gz}{}: {text:?}", self.ino)
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Source {
    /// By name: the live file first, then the rotated ones, the newest first.
    pub(super) files: Vec<File>,
    /// The live file is being copied, to be cut then.
    copying: bool,
    inodes: u64,
    free: Vec<u64>,
}

/// Everything that ever stood in a file, for comparison; the programs do not see it.
#[derive(Debug, Default)]
pub(super) struct Truths {
    pub(super) histories: Vec<Vec<u8>>,
    lines: u64,
}

impl Truths {
    fn fork(&mut self, of: &[u8]) -> usize {
        self.histories.push(of.to_vec());
        self.histories.len() - 1
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
        let mut source = Self::default();
        let live = source.file(truths);
        source.files.push(live);
        source
    }

    /// An inode, most often one that was in use a moment ago.
    fn inode(&mut self) -> u64 {
        if let Some(ino) = self.free.pop() {
            met("inode used again");
            return ino;
        }
        self.inodes += 1;
        self.inodes
    }

    fn file(&mut self, truths: &mut Truths) -> File {
        File {
            ino: self.inode(),
            bytes: Vec::new(),
            synced: 0,
            truth: truths.fork(b""),
            gz: false,
            copy: false,
            partial: false,
            broken: false,
        }
    }

    /// The files that a program finds, by name.
    pub(super) fn seen(&self) -> impl DoubleEndedIterator<Item = &File> {
        self.files.iter().filter(|file| !file.partial)
    }

    pub(super) fn by_ino(&self, ino: u64) -> Option<&File> {
        self.seen().find(|file| file.ino == ino)
    }

    pub(super) fn by_ino_mut(&mut self, ino: u64) -> Option<&mut File> {
        self.files.iter_mut().find(|file| file.ino == ino)
    }

    /// A line into the live file, now and then a late one into the file before.
    pub(super) fn write(&mut self, truths: &mut Truths, chance: &mut Chance) {
        let late = self.files.get(1).is_some_and(|file| !file.copy)
            && !self.copying
            && !self.is_compressing()
            && chance.one_in(25);
        if late {
            met("late write");
        }
        let line = truths.line(chance);
        let file = &mut self.files[usize::from(late)];
        file.bytes.extend(&line);
        let history = &mut truths.histories[file.truth];
        if history.len() + line.len() == file.bytes.len() {
            history.extend(&line);
        } else {
            // Another file went on with this history.
            file.truth = truths.fork(&file.bytes);
        }
    }

    pub(super) fn rotate(&mut self, truths: &mut Truths) {
        met("rotation by rename");
        self.finish(truths);
        let live = self.file(truths);
        self.files.insert(0, live);
        self.drop_oldest(truths);
    }

    /// Copies the live file; [`Source::finish`] cuts it. What is written between is in neither.
    pub(super) fn copytruncate(&mut self, truths: &mut Truths) {
        self.finish(truths);
        if self.files[0].broken {
            return;
        }
        let mut copy = self.files[0].clone();
        copy.ino = self.inode();
        (copy.copy, copy.synced) = (true, 0);
        self.files.insert(1, copy);
        self.copying = true;
    }

    /// Compresses the newest rotated file that is not; [`Source::finish`] removes the plain one.
    pub(super) fn compress(&mut self, truths: &mut Truths) {
        self.finish(truths);
        let can = |at: &usize| !self.files[*at].gz && !self.files[*at].broken;
        if let Some(at) = (1..self.files.len()).find(can) {
            let mut gz = self.files[at].clone();
            gz.ino = self.inode();
            (gz.gz, gz.copy, gz.partial) = (true, true, true);
            self.files.insert(at + 1, gz);
        }
    }

    fn is_compressing(&self) -> bool {
        self.pair().is_some()
    }

    /// The plain file that is being compressed.
    fn pair(&self) -> Option<usize> {
        let pair = |at: &usize| {
            let (plain, gz) = (&self.files[*at], &self.files[at + 1]);
            !plain.gz && gz.gz && plain.bytes == gz.bytes && plain.truth == gz.truth
        };
        (1..self.files.len().saturating_sub(1)).find(pair)
    }

    /// What was begun goes on by one step: a copy is whole, and then the original is cut or removed.
    pub(super) fn go_on(&mut self, truths: &mut Truths) {
        if let Some(gz) = self.files.iter_mut().find(|file| file.partial) {
            gz.partial = false;
            met("compressed beside the plain one");
        } else if let Some(at) = self.pair() {
            met("rotation by compression");
            let plain = self.files.remove(at);
            self.free.push(plain.ino);
            self.drop_oldest(truths);
        } else if self.copying {
            met("rotation by copy and cut");
            self.copying = false;
            let live = &mut self.files[0];
            live.bytes.clear();
            live.synced = 0;
            live.truth = truths.fork(b"");
            self.drop_oldest(truths);
        }
    }

    /// What was begun comes to its end.
    pub(super) fn finish(&mut self, truths: &mut Truths) {
        while self.copying || self.is_compressing() {
            self.go_on(truths);
        }
    }

    pub(super) fn delete_oldest(&mut self, truths: &mut Truths) {
        self.finish(truths);
        if self.files.len() > 1
            && let Some(file) = self.files.pop()
        {
            met("deletion");
            self.free.push(file.ino);
        }
    }

    fn drop_oldest(&mut self, truths: &mut Truths) {
        while self.files.len() > KEPT {
            self.delete_oldest(truths);
        }
    }

    /// A file can't be read for a while.
    pub(super) fn break_one(&mut self, truths: &mut Truths, chance: &mut Chance) {
        // Nobody copies what can't be read.
        self.finish(truths);
        let at = chance.below(self.files.len());
        let file = &mut self.files[at];
        file.broken = !file.broken;
    }

    pub(super) fn repair(&mut self) {
        self.files.iter_mut().for_each(|file| file.broken = false);
    }

    /// Whether every file is longer than what proves a beginning: a shorter one can't be recognised without state.
    pub(super) fn has_long_files(&self) -> bool {
        self.files
            .iter()
            .all(|file| file.bytes.is_empty() || file.bytes.len() >= PROOF)
    }

    pub(super) fn lose_power(&mut self, truths: &mut Truths, chance: &mut Chance) {
        self.finish(truths);
        for file in &mut self.files {
            // What is left is long enough to be recognised: see `has_long_files`.
            let least = file.synced.max(PROOF).min(file.bytes.len());
            let lost = chance.below(file.bytes.len() - least + 1);
            if lost > 0 {
                met("worker's unsynced bytes lost");
                file.bytes.truncate(file.bytes.len() - lost);
                file.truth = truths.fork(&file.bytes);
            }
            file.synced = file.bytes.len();
        }
    }

    /// The same disk with histories of its own from here on: of a worker that was copied.
    pub(super) fn copy(&self, truths: &mut Truths) -> Self {
        let mut copy = self.clone();
        copy.finish(truths);
        for file in &mut copy.files {
            file.synced = file.bytes.len();
            file.truth = truths.fork(&file.bytes);
        }
        copy
    }

    /// The disk is as it was when `copy` was made; from here on it has another history.
    pub(super) fn restore(&mut self, copy: &Self, truths: &mut Truths) {
        *self = copy.copy(truths);
    }
}
