//! Rotation as logrotate does it, by rename or by copy and truncate, with numbers and gzip. Beside each file that is
//! rotated away a second name keeps its content, so that the end can be compared with all that was ever written.

use std::fs::{self, File};
use std::io::{Read, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

/// Rotated files that may lie around; more only while the oldest may not have been delivered.
const SIBLINGS: usize = 12;

/// One rotated log.
#[derive(Debug)]
pub(super) struct Rotator {
    live: PathBuf,
    /// Content of files rotated away, oldest first.
    kept: Vec<PathBuf>,
    dir: PathBuf,
    /// Rotated files that still lie beside the live one, oldest first: what is kept of each.
    siblings: Vec<usize>,
}

impl Rotator {
    /// A rotator of `live` that keeps what it rotates in `dir`, which must be on the same file system.
    pub(super) fn new(live: &Path, dir: &Path) -> anyhow::Result<Rotator> {
        fs::create_dir_all(dir)?;
        Ok(Rotator {
            live: live.to_path_buf(),
            kept: Vec::new(),
            dir: dir.to_path_buf(),
            siblings: Vec::new(),
        })
    }

    /// Renames the live file to number 1; whoever writes to it goes on in it until he notices.
    pub(super) fn rename(&mut self) -> anyhow::Result<()> {
        if fs::metadata(&self.live).is_ok_and(|m| m.len() > 0) {
            self.shift()?;
            let rotated = self.numbered(1);
            fs::rename(&self.live, &rotated)?;
            self.keep(&rotated)?;
        }
        Ok(())
    }

    /// Copies the live file to number 1 and truncates it. What is written in between is lost: nobody must write. So the
    /// file is left alone while half a line stands at its end, of which a writer still has the rest.
    pub(super) fn copy_and_truncate(&mut self) -> anyhow::Result<()> {
        if ends_a_line(&self.live) {
            self.shift()?;
            let rotated = self.numbered(1);
            fs::copy(&self.live, &rotated)?;
            self.keep(&rotated)?;
            File::options().write(true).open(&self.live)?.set_len(0)?;
        }
        Ok(())
    }

    /// Compresses the oldest rotated file that is not, unless it is the newest or one that `held` names by device and
    /// inode, since that may still be written to.
    pub(super) fn compress(&mut self, held: &[(u64, u64)]) -> anyhow::Result<()> {
        for number in (2..=self.siblings.len()).rev() {
            let plain = self.numbered(number);
            let Ok(meta) = fs::metadata(&plain) else {
                continue;
            };
            if held.contains(&(meta.dev(), meta.ino())) {
                continue;
            }
            let status = Command::new("gzip")
                .arg("--force")
                .arg(&plain)
                .status()
                .context("start gzip")?;
            // It warns (2) of the second name and compresses all the same.
            anyhow::ensure!(
                status.code() != Some(1),
                "gzip {} ended with {status}",
                plain.display()
            );
            return Ok(());
        }
        Ok(())
    }

    /// Removes the oldest rotated files as logrotate would, if the first `delivered` octets of all are safe elsewhere.
    pub(super) fn prune(&mut self, delivered: u64) -> anyhow::Result<()> {
        while self.siblings.len() > SIBLINGS {
            let oldest = self.siblings[0];
            let end: u64 = self.kept[..=oldest].iter().map(|path| size(path)).sum();
            if end > delivered {
                return Ok(());
            }
            let path = self.numbered(self.siblings.len());
            let gone = fs::remove_file(&path).or_else(|_| fs::remove_file(gz(&path)));
            gone.with_context(|| format!("remove {}", path.display()))?;
            self.siblings.remove(0);
        }
        Ok(())
    }

    /// All that was ever written, oldest first.
    pub(super) fn reader(&self) -> anyhow::Result<Box<dyn Read + Send>> {
        let mut all: Box<dyn Read + Send> = Box::new(std::io::empty());
        for path in self.kept.iter().chain(Some(&self.live)) {
            match File::open(path) {
                Ok(file) => all = Box::new(all.chain(file)),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound && *path == self.live => {}
                Err(e) => return Err(e).with_context(|| format!("open {}", path.display())),
            }
        }
        Ok(all)
    }

    /// Octets of all that was ever written.
    pub(super) fn total(&self) -> u64 {
        self.kept
            .iter()
            .chain(Some(&self.live))
            .map(|path| size(path))
            .sum()
    }

    fn shift(&mut self) -> anyhow::Result<()> {
        for number in (1..=self.siblings.len()).rev() {
            let (from, to) = (self.numbered(number), self.numbered(number + 1));
            fs::rename(&from, &to).or_else(|_| fs::rename(gz(&from), gz(&to)))?;
        }
        Ok(())
    }

    fn keep(&mut self, rotated: &Path) -> anyhow::Result<()> {
        let kept = self.dir.join(format!("{:06}", self.kept.len()));
        fs::hard_link(rotated, &kept).with_context(|| format!("link {}", rotated.display()))?;
        self.siblings.push(self.kept.len());
        self.kept.push(kept);
        Ok(())
    }

    fn numbered(&self, number: usize) -> PathBuf {
        PathBuf::from(format!("{}.{number}", self.live.display()))
    }
}

/// Whether a file's last octet is an LF.
fn ends_a_line(path: &Path) -> bool {
    let last = || -> std::io::Result<u8> {
        let mut octet = [0];
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut octet)?;
        Ok(octet[0])
    };
    last().is_ok_and(|octet| octet == b'\n')
}

fn gz(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}.gz", path.display()))
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |m| m.len())
}
