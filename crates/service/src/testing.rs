//! How a test says that it could not run: loudly, counted, and never in CI.

use std::io::Write as _;

/// The variable that names the file in which skipped tests are counted; the bootstrap script sets it.
pub const SKIPS: &str = "LOGFERRY_SKIPS";

/// Notes that `test` is skipped because of `reason` (say what is missing and how to get it). The test returns next.
///
/// # Panics
/// When `CI=true`: there a missing Docker or peer is a failure. Also when the skip can't be counted.
#[expect(
    clippy::print_stderr,
    reason = "a skip must be seen in the test's output"
)]
pub fn skip(test: &str, reason: &str) {
    let ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    assert!(!ci, "{test}: {reason}; CI skips nothing");
    eprintln!("SKIPPED {test}: {reason}");
    let Some(file) = std::env::var_os(SKIPS) else {
        return;
    };
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(&file)
        .expect("the file of skips can be opened");
    let line = format!("{test}: {}\n", reason.replace('\n', " "));
    // One write, so that lines of tests that run at the same time stay whole.
    file.write_all(line.as_bytes())
        .expect("the file of skips can be written");
}

/// A sample configuration with its commented keys and tables in force. Prose is left as it is: a line with `=` behind
/// one lower-case word is a key, one that begins with `[` a table.
pub fn uncommented(sample: &str) -> String {
    let lines = sample.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest) if key(rest).is_some() || rest.starts_with('[') => rest,
        _ => line,
    });
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// The key of a line of TOML that sets one.
pub fn key(line: &str) -> Option<&str> {
    let key = line.split_once('=')?.0.trim();
    let is_key = |c: char| c.is_ascii_lowercase() || c == '_';
    (!key.is_empty() && key.chars().all(is_key)).then_some(key)
}
