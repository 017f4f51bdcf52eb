//! What the end-to-end tests share: folders, decoy files, and waiting for lines.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use swarm::{Daemon, Programs, Source, until};

/// How long lines may take to arrive; a bound against hanging, not a measure.
pub(crate) const ARRIVAL: Duration = Duration::from_secs(180);

/// A folder that goes with the test.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("logferry-e2e-")
        .tempdir()
        .unwrap()
}

/// Lets the decoy write `count` lines of `profile` to `file`.
pub(crate) fn decoy_file(file: &Path, name: &str, profile: &str, count: u64) {
    let decoy = Programs::decoy().unwrap();
    let status = Command::new(decoy)
        .args([
            "--name",
            name,
            "--profile",
            profile,
            "--count",
            &count.to_string(),
            "--rate",
            "0",
            "--out",
        ])
        .arg(file)
        .status()
        .unwrap();
    assert!(status.success(), "decoy ended with {status}");
}

/// Number of LFs in a file; 0 if there is none.
pub(crate) fn line_count(file: &Path) -> u64 {
    let bytes = std::fs::read(file).unwrap_or_default();
    memchr::memchr_iter(b'\n', &bytes).count() as u64
}

/// Waits until a file has at least `count` lines.
pub(crate) fn wait_lines(file: &Path, count: u64) {
    let mut seen = 0;
    let what = format!("{count} lines in {}", file.display());
    let arrived = until(&what, ARRIVAL, || {
        // A look at the size is cheap; lines are counted only when it moved.
        let size = std::fs::metadata(file).map_or(0, |m| m.len());
        if size == seen {
            return Ok(None);
        }
        seen = size;
        Ok((line_count(file) >= count).then_some(()))
    });
    if let Err(error) = arrived {
        panic!("{error}; there are {}", line_count(file));
    }
}

/// Asserts that two files hold the same lines, in order, and names the first difference.
pub(crate) fn assert_same_lines(left: &Path, right: &Path) {
    let a = swarm::merged_lines(left).unwrap();
    let b = swarm::merged_lines(right).unwrap();
    if let Some(at) = a.iter().zip(&b).position(|(x, y)| x != y) {
        let show = |l: &[u8]| String::from_utf8_lossy(&l[..l.len().min(200)]).into_owned();
        panic!("line {at} differs:\n{}\n{}", show(&a[at]), show(&b[at]));
    }
    assert_eq!(
        a.len(),
        b.len(),
        "{} and {} differ in length",
        left.display(),
        right.display()
    );
}

/// Gives what was found, or notes that the running test is skipped because it is missing.
pub(crate) fn need<T, E: std::fmt::Display>(found: Result<T, E>) -> Option<T> {
    found
        .map_err(|missing| {
            let test = std::thread::current().name().unwrap_or("test").to_owned();
            service::testing::skip(&test, &missing.to_string());
        })
        .ok()
}

/// The machine's Docker daemon, or a counted skip.
pub(crate) fn need_docker() -> Option<Daemon> {
    need(Daemon::system().ok_or("no Docker daemon answers"))
}

/// Asserts that a `.log` holds every source line once and in order per container, and nothing else.
pub(crate) fn assert_interleaving(log: &Path, sources: &[Source]) {
    let found = swarm::interleaving(&swarm::merged_lines(log).unwrap(), sources);
    assert!(found.is_exact(), "{}: {found:#?}", log.display());
}
