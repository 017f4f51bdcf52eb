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
