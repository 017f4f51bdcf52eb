//! A small disk of its own for a program's files, which can be filled up: an ext4 file system in a file. Only root may
//! mount one; without it the files lie where all others do, and the disk is never full.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;

/// A folder, perhaps with a disk of its own.
#[derive(Debug)]
pub(super) struct Disk {
    dir: PathBuf,
    mounted: bool,
    /// Whether the image stays for whoever looks for a cause.
    pub(super) kept: bool,
}

impl Disk {
    /// A folder at `dir` on a disk of `bytes`.
    pub(super) fn mount(dir: &Path, bytes: u64) -> anyhow::Result<Disk> {
        fs::create_dir_all(dir)?;
        let image = dir.with_extension("img");
        File::create(&image)?.set_len(bytes)?;
        let run = |program: &str, args: &[&str]| {
            let mut command = Command::new(program);
            command
                .args(args)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        let (image, at) = (text(&image)?, text(dir)?);
        let mounted = run("mkfs.ext4", &["-q", "-m", "0", "-F", image])
            && run("mount", &["-o", "loop", image, at]);
        if !mounted {
            fs::remove_file(image)?;
        }
        Ok(Disk {
            dir: dir.to_path_buf(),
            mounted,
            kept: false,
        })
    }

    /// The folder.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether it can be full.
    pub(super) fn can_fill(&self) -> bool {
        self.mounted
    }

    /// Takes all the room there is.
    pub(super) fn fill(&self) -> anyhow::Result<()> {
        let file = File::create(self.ballast()).context("make the ballast")?;
        let mut end = 0;
        // Large pieces first, until not even the smallest fits.
        for piece in [64 << 20, 1 << 20, 64 << 10, 4 << 10] {
            while rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), end, piece)
                .is_ok()
            {
                end += piece;
            }
        }
        Ok(())
    }

    /// Gives it back.
    pub(super) fn drain(&self) -> anyhow::Result<()> {
        match fs::remove_file(self.ballast()) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(e).context("remove the ballast")
            }
            _ => Ok(()),
        }
    }

    fn ballast(&self) -> PathBuf {
        self.dir.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            let _ = Command::new("umount").arg("--lazy").arg(&self.dir).status();
            if !self.kept {
                let _ = fs::remove_file(self.dir.with_extension("img"));
            }
        }
    }
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("path is not UTF-8")
}
