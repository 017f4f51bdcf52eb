//! Skipped tests are counted, and are failures in CI.

use std::process::Stdio;

use crate::child::{command, is_child};

#[test]
fn child() {
    if is_child() {
        service::testing::skip("swarm::docker", "no Docker:\nstart dockerd");
    }
}

#[test]
fn a_skip_is_one_line_in_the_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("skips");
    for _ in 0..2 {
        let mut command = command("skips::child");
        command
            .env(service::testing::SKIPS, &file)
            .stderr(Stdio::null());
        assert!(command.status().expect("it ran").success());
    }
    let line = "swarm::docker: no Docker: start dockerd\n";
    assert_eq!(
        std::fs::read_to_string(&file).expect("written"),
        line.repeat(2)
    );
}

#[test]
fn ci_skips_nothing() {
    let mut command = command("skips::child");
    command.env("CI", "true").stderr(Stdio::null());
    assert!(!command.status().expect("it ran").success());
}
