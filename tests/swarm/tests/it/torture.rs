//! A short torture: some kills of everything under load, with every other fault.

use std::process::Command;

use swarm::Programs;

#[test]
fn twenty_kills_of_everything() {
    Programs::build().unwrap();
    // Another seed each day would be another test: one that failed could not be told from one that is new.
    for seed in ["3", "8"] {
        let output = Command::new(env!("CARGO_BIN_EXE_logferry-swarm"))
            .args(["torture", "20", seed, "--lines", "60000"])
            .output()
            .unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stdout}{stderr}");
        let last = stdout.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("lost 0 repeated 0 reordered 0 gaps 0 kills 2"),
            "{last}"
        );
        assert!(last.ends_with(&format!(" seed {seed}")), "{last}");
    }
}
