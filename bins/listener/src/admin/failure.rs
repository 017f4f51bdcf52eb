//! Which exit code a failed command ends with: 2 for an argument that can never be right, 78 when a file is
//! missing, unreadable or unusable, since `check` would find the same; 1 otherwise.

use std::error::Error;
use std::path::Path;

use pki::{AuthorityError, EnrolError, ImportError, RegistryError};
use service::Failure;
use service::config::Problem;

/// An error that may be a file's fault.
pub(crate) trait Blame: Error + Send + Sync + 'static {
    /// The file that `check` would name.
    fn file(&self) -> Option<&Path>;

    /// Whether an argument of the command line is at fault.
    fn is_usage(&self) -> bool {
        false
    }
}

/// Turns an error into the program's last words.
pub(crate) fn explain(error: impl Blame) -> Failure {
    if error.is_usage() {
        return Failure::Usage(error.to_string());
    }
    let Some(file) = error.file().map(Path::to_owned) else {
        return Failure::Runtime(anyhow::Error::new(error));
    };
    let text = error.to_string();
    let what = text
        .strip_prefix(&format!("{}: ", file.display()))
        .unwrap_or(&text)
        .to_owned();
    Failure::Config(
        Problem {
            file,
            line: 0,
            key: String::new(),
            what,
        }
        .into(),
    )
}

impl Blame for AuthorityError {
    fn file(&self) -> Option<&Path> {
        match self {
            Self::File(error) => Some(&error.path),
            Self::Identity(error) => Some(&error.path),
            Self::Registry(error) => error.file(),
            Self::NotInitialised(path) | Self::NoKey(path) | Self::BadArchiveId(path) => Some(path),
            Self::BadKey { path, .. } | Self::KeyMismatch { key: path, .. } => Some(path),
            _ => None,
        }
    }

    fn is_usage(&self) -> bool {
        matches!(self, Self::BadName(_))
    }
}

impl Blame for RegistryError {
    fn file(&self) -> Option<&Path> {
        match self {
            Self::Missing(path) => Some(path),
            Self::File(error) => Some(&error.path),
            Self::Database { path, .. }
            | Self::Version { path, .. }
            | Self::Damaged { path, .. } => Some(path),
            _ => None,
        }
    }
}

impl Blame for EnrolError {
    fn file(&self) -> Option<&Path> {
        match self {
            Self::Authority(error) => error.file(),
            Self::Registry(error) => error.file(),
            Self::File(error) => Some(&error.path),
            _ => None,
        }
    }

    fn is_usage(&self) -> bool {
        matches!(self, Self::SubjectName(_))
    }
}

impl Blame for ImportError {
    fn file(&self) -> Option<&Path> {
        match self {
            Self::File(error) => Some(&error.path),
            Self::Identity(error) => Some(&error.path),
            Self::Authority(error) => error.file(),
            Self::Registry(error) => error.file(),
            Self::OtherCa(path) => Some(path),
            _ => None,
        }
    }
}
