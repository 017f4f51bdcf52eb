//! Key files on disk: written whole or not at all, never readable by others, owned by the data directory's
//! owner.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The largest PEM file that is read. A CA bundle with a hundred certificates has 200 KiB.
const MAX_FILE: u64 = 1 << 20;

/// How long a command waits for another that is writing to the same CA.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// A file operation that failed: what was tried on which path, and why it did not work.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot {verb}: {source}", path.display())]
pub struct FileError {
    /// The file or directory.
    pub path: PathBuf,
    /// What was tried: `read`, `write`, `create`, `lock`.
    pub verb: &'static str,
    /// Why it failed.
    pub source: io::Error,
}

impl FileError {
    pub(crate) fn new(path: &Path, verb: &'static str, source: io::Error) -> Self {
        Self {
            path: path.to_owned(),
            verb,
            source,
        }
    }
}

/// Who is to own what is written: nobody in particular, or, for root, the owner of the directory that the
/// files belong to, since the daemon that reads them does not run as root.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner(Option<(u32, u32)>);

impl Owner {
    /// The owner of `dir`, or of the nearest existing directory above it.
    pub(crate) fn of(dir: &Path) -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self(None);
        }
        let owner = dir.ancestors().find_map(|dir| fs::metadata(dir).ok());
        Self(owner.map(|dir| (dir.uid(), dir.gid())))
    }

    /// The owner of `dir` when it exists, root otherwise.
    pub(crate) fn of_existing(dir: &Path) -> Self {
        if dir.is_dir() {
            Self::of(dir)
        } else {
            Self(None)
        }
    }

    fn take(self, file: &File) -> io::Result<()> {
        match self.0 {
            Some((uid, gid)) => std::os::unix::fs::fchown(file, Some(uid), Some(gid)),
            None => Ok(()),
        }
    }
}

/// Makes `dir` and what is missing above it, mode 0700; an existing directory keeps its mode.
pub(crate) fn make_dir(dir: &Path, owner: Owner) -> Result<(), FileError> {
    let fail = |error| FileError::new(dir, "create", error);
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_dir(parent, owner)?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => return Ok(()),
        Err(error) => return Err(fail(error)),
    }
    let made = File::open(dir).map_err(fail)?;
    owner.take(&made).map_err(fail)?;
    sync_parent(dir).map_err(fail)
}

/// Makes `dir` as [`make_dir`] does and takes other people's access from it if it was there before.
pub(crate) fn make_private_dir(dir: &Path, owner: Owner) -> Result<(), FileError> {
    make_dir(dir, owner)?;
    let fail = |error| FileError::new(dir, "restrict", error);
    let mode = fs::metadata(dir).map_err(fail)?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(fail)?;
    }
    Ok(())
}

/// Writes `bytes` to `path`, mode 0600: a reader sees the old file or the whole new one, also after a power
/// loss, and nobody else can open it at any moment.
pub(crate) fn write_private(path: &Path, bytes: &[u8], owner: Owner) -> Result<(), FileError> {
    let attempt = || -> io::Result<()> {
        let temporary = temporary_name(path)?;
        // What a crash left behind goes first, so that the file below is new and has our mode.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        owner.take(&file)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_parent(path)
    };
    attempt().map_err(|error| FileError::new(path, "write", error))
}

/// Reads a whole file of at most 1 MiB.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let attempt = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?
            .take(MAX_FILE + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("over {MAX_FILE} bytes"),
            ));
        }
        Ok(bytes)
    };
    attempt().map_err(|error| FileError::new(path, "read", error))
}

/// Whether users other than owner and group may read the file.
pub(crate) fn is_open_to_all(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o004 != 0)
}

/// Reads a file that may be absent.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// An exclusive lock on a directory, held by the commands that write to the CA, freed when dropped. The
/// listener does not take it: certificates are enrolled and revoked while it runs.
#[derive(Debug)]
pub(crate) struct DirLock {
    _dir: File,
}

impl DirLock {
    /// Waits at most ten seconds.
    pub(crate) fn take(dir: &Path) -> Result<Self, FileError> {
        let fail = |error| FileError::new(dir, "lock", error);
        let file = File::open(dir).map_err(fail)?;
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { _dir: file }),
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(fail(io::Error::new(
                        io::ErrorKind::WouldBlock,
                        "another command holds it",
                    )));
                }
                Err(error) => return Err(fail(error.into())),
            }
        }
    }
}

fn temporary_name(path: &Path) -> io::Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(".tmp");
    Ok(path.with_file_name(temporary))
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
