//! Pieces of the command line that all programs share.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{Failure, out};

/// `--config FILE`.
#[derive(Debug, Clone, Args)]
pub struct ConfigArg {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// `--config FILE [--json]` of the `status` command.
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// Configuration file of the running program
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Print the status as JSON
    #[arg(long)]
    pub json: bool,
}

/// `--config FILE [--json]` of a `gaps` command.
#[derive(Debug, Clone, Args)]
pub struct GapsArgs {
    /// Configuration file (TOML)
    #[command(flatten)]
    pub config: ConfigArg,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// `completions SHELL`.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    /// The shell to complete for
    pub shell: Shell,
}

impl CompletionsArgs {
    /// Prints the completion script of the program `C`.
    ///
    /// # Errors
    /// Stdout can't be written.
    pub fn print<C: CommandFactory>(&self) -> Result<(), Failure> {
        let mut command = C::command();
        let name = command.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        out::bytes(&script)
    }
}
