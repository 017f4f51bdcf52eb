//! Stdout, for the results of commands. Nothing else in the workspace prints there.

use std::fmt::Display;
use std::io::{self, BufWriter, StdoutLock, Write as _};

use serde::Serialize;

use crate::Failure;

/// Buffered stdout, for commands that print many lines; [`Out::finish`] it.
#[derive(Debug)]
pub struct Out(BufWriter<StdoutLock<'static>>);

impl Out {
    /// Locks stdout.
    pub fn new() -> Self {
        Self(BufWriter::new(io::stdout().lock()))
    }

    /// Prints one line.
    ///
    /// # Errors
    /// [`Failure::Closed`] when the reader went away, else stdout can't be written.
    pub fn line(&mut self, line: impl Display) -> Result<(), Failure> {
        writeln!(self.0, "{line}").map_err(closed)
    }

    /// Prints one JSON value on one line.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.0, value).map_err(|error| closed(error.into()))?;
        self.0.write_all(b"\n").map_err(closed)
    }

    /// Prints bytes as they are.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.0.write_all(bytes).map_err(closed)
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub fn finish(mut self) -> Result<(), Failure> {
        self.0.flush().map_err(closed)
    }
}

impl Default for Out {
    fn default() -> Self {
        Self::new()
    }
}

/// Prints one line.
///
/// # Errors
/// As [`Out::line`].
pub fn line(line: impl Display) -> Result<(), Failure> {
    let mut out = Out::new();
    out.line(line)?;
    out.finish()
}

/// Prints one JSON value on one line.
///
/// # Errors
/// As [`Out::line`].
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let mut out = Out::new();
    out.json(value)?;
    out.finish()
}

/// Prints bytes as they are.
///
/// # Errors
/// As [`Out::line`].
pub fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = Out::new();
    out.bytes(bytes)?;
    out.finish()
}

fn closed(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::Closed;
    }
    Failure::Runtime(anyhow::Error::new(error).context("write to stdout"))
}
