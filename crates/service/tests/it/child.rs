//! Runs one test of this binary again, as a child that plays the program.

use std::process::{Child, Command, Stdio};

/// Set in the child.
const ROLE: &str = "LOGFERRY_TEST_CHILD";

/// Whether this process is the child; elsewhere its test has nothing to do.
pub(crate) fn is_child() -> bool {
    std::env::var_os(ROLE).is_some()
}

/// A command that runs the test `name` as a child.
pub(crate) fn command(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("our own path"));
    command
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(ROLE, "1")
        .env_remove("CI")
        .env_remove("RUST_LOG")
        .env_remove("LOGFERRY_LOG")
        .env_remove("LOGFERRY_SKIPS")
        .env_remove("JOURNAL_STREAM")
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .env_remove("WATCHDOG_PID")
        .stdout(Stdio::null());
    command
}

/// A child that is gone when the test is.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
