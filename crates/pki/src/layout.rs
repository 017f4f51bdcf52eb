//! Where the files of a CA are.

use std::path::{Path, PathBuf};

/// The paths of a CA directory in DECNET's layout.
#[derive(Debug, Clone)]
pub(crate) struct CaFiles {
    pub(crate) dir: PathBuf,
}

impl CaFiles {
    pub(crate) fn in_data(data: &Path) -> Self {
        Self {
            dir: data.join("ca"),
        }
    }
    pub(crate) fn key(&self) -> PathBuf {
        self.dir.join("ca.key")
    }
    pub(crate) fn certificate(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }
    pub(crate) fn crl(&self) -> PathBuf {
        self.dir.join("crl.pem")
    }
    pub(crate) fn master(&self) -> PathBuf {
        self.dir.join("master")
    }
    pub(crate) fn workers(&self) -> PathBuf {
        self.dir.join("workers")
    }
}
