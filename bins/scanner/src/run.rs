//! The `run` command: puts the parts together.

use std::path::Path;

use service::Failure;

/// Runs the scanner until SIGTERM or SIGINT.
///
/// # Errors
/// A bad configuration, a state directory in use, damaged state.
pub(crate) fn run(_path: &Path) -> Result<(), Failure> {
    Err(Failure::not_built("run"))
}
