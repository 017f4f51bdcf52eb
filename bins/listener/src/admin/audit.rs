//! `gaps` and `verify`: what is missing of the archive, and what is damaged. A listener may be using it.

use std::io;
use std::path::Path;

use anyhow::Context as _;
use archive::StreamKey;
use archive::audit::{Damage, GapLine, Scope};
use serde::Serialize;
use service::Failure;
use service::config::Problem;
use service::out::Out;

use crate::args::AuditArgs;

/// Lists the gaps that the ledgers tell of.
pub(crate) fn gaps(args: &AuditArgs) -> Result<(), Failure> {
    let scope = scope(args)?;
    let mut printer = Printer::new(args.json);
    archive::audit::gaps(&args.data, scope, &mut |gap| {
        printer.print(&Gap::from(&gap))
    })
    .with_context(|| format!("read the ledgers of {}", args.data.display()))?;
    printer.finish().map(drop)
}

/// Lists what is damaged; a failure if anything is.
pub(crate) fn verify(args: &AuditArgs) -> Result<(), Failure> {
    let scope = scope(args)?;
    let mut printer = Printer::new(args.json);
    let mut each = |damage| printer.print(&Damaged::from(&damage));
    super::block_on(archive::audit::verify(&args.data, scope, &mut each))?
        .with_context(|| format!("read the archive of {}", args.data.display()))?;
    match printer.finish()? {
        0 => Ok(()),
        count => Err(anyhow::format_err!("damage found: {count}").into()),
    }
}

/// What is looked at; names that nothing can have, and a directory without an archive, are refused.
fn scope(args: &AuditArgs) -> Result<Scope<'_>, Failure> {
    let (worker, stream) = (args.worker.as_deref(), args.stream.as_deref());
    // A name that is not asked for is checked as one that is fine.
    StreamKey::new(worker.unwrap_or("w"), stream.unwrap_or("s"))
        .map_err(|e| Failure::Usage(e.to_string()))?;
    archive::archive_id(&args.data).map_err(|e| no_archive(&args.data, &e))?;
    Ok(Scope { worker, stream })
}

fn no_archive(data: &Path, error: &io::Error) -> Failure {
    let what = match error.kind() {
        io::ErrorKind::NotFound => "holds no archive: run init first".to_owned(),
        _ => format!("archive cannot be read: {error}"),
    };
    Failure::Config(
        Problem {
            file: data.to_owned(),
            line: 0,
            key: String::new(),
            what,
        }
        .into(),
    )
}

/// Prints lines as they come; what can't be printed is told at the end.
struct Printer {
    out: Out,
    json: bool,
    count: usize,
    result: Result<(), Failure>,
}

impl Printer {
    fn new(json: bool) -> Printer {
        Printer {
            out: Out::new(),
            json,
            count: 0,
            result: Ok(()),
        }
    }

    fn print<T: Serialize + ToString>(&mut self, line: &T) {
        self.count += 1;
        if self.result.is_ok() {
            self.result = if self.json {
                self.out.json(line)
            } else {
                self.out.line(line.to_string())
            };
        }
    }

    /// How many lines there were.
    fn finish(self) -> Result<usize, Failure> {
        self.result?;
        self.out.finish()?;
        Ok(self.count)
    }
}

/// A gap, as it is printed; null and `-` where something is not known.
#[derive(Serialize)]
struct Gap<'a> {
    worker: &'a str,
    stream: &'a str,
    epoch: Option<String>,
    from: Option<u64>,
    to: Option<u64>,
    bytes: Option<u64>,
    cause: &'a str,
    at: &'a str,
}

impl<'a> From<&'a GapLine> for Gap<'a> {
    fn from(gap: &'a GapLine) -> Gap<'a> {
        Gap {
            worker: &gap.worker,
            stream: &gap.stream,
            epoch: gap.epoch.map(|epoch| epoch.to_string()),
            from: gap.from,
            to: gap.to,
            bytes: gap.bytes,
            cause: &gap.cause,
            at: &gap.at,
        }
    }
}

impl std::fmt::Display for Gap<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = |number: Option<u64>| number.map_or("-".to_owned(), |n| n.to_string());
        write!(
            f,
            "{} {}/{} {} from {} to {} bytes {} {}",
            self.at,
            self.worker,
            self.stream,
            self.epoch.as_deref().unwrap_or("-"),
            known(self.from),
            known(self.to),
            known(self.bytes),
            self.cause,
        )
    }
}

/// A damage, as it is printed.
#[derive(Serialize)]
struct Damaged<'a> {
    segment: String,
    offset: u64,
    what: &'a str,
}

impl<'a> From<&'a Damage> for Damaged<'a> {
    fn from(damage: &'a Damage) -> Damaged<'a> {
        Damaged {
            segment: damage.segment.display().to_string(),
            offset: damage.offset,
            what: &damage.what,
        }
    }
}

impl std::fmt::Display for Damaged<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: offset {}: {}", self.segment, self.offset, self.what)
    }
}

#[cfg(test)]
mod tests;
