//! Why a program ended, and the exit code that says so.

use std::process::ExitCode;

use crate::config::{Problem, Problems};
use crate::status::BindError;

/// Why a command failed. One exit code each; printed once, by [`finish`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// Exit code 78: whatever `check` would find.
    Config(Problems),
    /// Exit code 2: the command line asks for something that does not exist.
    Usage(String),
    /// Exit code 1: something failed while running.
    Runtime(anyhow::Error),
    /// Exit code 0: whoever read our output has seen enough (`… | head`).
    Closed,
}

/// 78 is `EX_CONFIG` of sysexits.h.
const EX_CONFIG: u8 = 78;

impl Failure {
    /// The failure of a command that is not built yet.
    pub fn not_built(command: &str) -> Self {
        Self::Usage(format!("`{command}` is not built yet"))
    }

    /// The exit code: 0, 1, 2 or 78.
    pub fn code(&self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::Runtime(_) => 1,
            Self::Usage(_) => 2,
            Self::Config(_) => EX_CONFIG,
        }
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Config(problems)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Config(problem.into())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Runtime(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Runtime(error.into())
    }
}

impl From<BindError> for Failure {
    fn from(error: BindError) -> Self {
        Self::Runtime(error.into())
    }
}

/// Prints the failure, if any, on stderr, and gives the exit code. The last line of every `main`.
#[expect(
    clippy::print_stderr,
    reason = "the one place where a program's last words are printed"
)]
pub fn finish(result: Result<(), Failure>) -> ExitCode {
    let Err(failure) = result else {
        return ExitCode::SUCCESS;
    };
    match &failure {
        Failure::Config(problems) => eprintln!("{problems}"),
        Failure::Usage(what) => eprintln!("error: {what}"),
        Failure::Runtime(error) => eprintln!("error: {error:#}"),
        Failure::Closed => {}
    }
    failure.code().into()
}

#[cfg(test)]
mod tests;
