//! Log lines on stderr.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;

use crate::child::{command, is_child};

#[test]
fn child() {
    if is_child() {
        service::init_tracing();
        service::init_tracing();
        tracing::warn!(path = "/x", "disk is full");
        tracing::debug!("not shown");
    }
}

fn lines(variables: &[(&str, &str)], journal: bool) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("stderr");
    let file = File::create(&path).expect("made");
    let mut command = command("logging::child");
    command.envs(variables.iter().copied());
    if journal {
        let found = file.metadata().expect("it is there");
        command.env("JOURNAL_STREAM", format!("{}:{}", found.dev(), found.ino()));
    }
    assert!(command.stderr(file).status().expect("it ran").success());
    std::fs::read_to_string(&path).expect("text")
}

#[test]
fn stamped_text_by_default() {
    let text = lines(&[], false);
    assert!(
        text.contains("WARN") && text.contains("disk is full path=\"/x\""),
        "{text}"
    );
    assert!(text.starts_with("20") && !text.contains('\u{1b}'), "{text}");
    assert!(!text.contains("not shown"), "{text}");
}

#[test]
fn json_when_asked() {
    let text = lines(&[("LOGFERRY_LOG", "json"), ("RUST_LOG", "debug")], true);
    let first = text.lines().next().expect("a line");
    let line: serde_json::Value = serde_json::from_str(first).expect("JSON");
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["message"], "disk is full");
    assert_eq!(line["path"], "/x");
    assert!(text.contains("not shown"), "{text}");
}

#[test]
fn the_journal_gets_priorities_and_no_stamp() {
    let text = lines(&[], true);
    assert!(text.starts_with("<4>"), "{text}");
    assert!(
        !text.contains("20") && text.contains("disk is full"),
        "{text}"
    );
    let other = lines(&[("JOURNAL_STREAM", "1:2")], false);
    assert!(
        other.starts_with("20"),
        "a stream that is not ours: {other}"
    );
}

#[test]
fn a_bad_filter_is_reported() {
    let text = lines(&[("RUST_LOG", "a=b=c")], false);
    assert!(
        text.contains("RUST_LOG is not understood") && text.contains("disk is full"),
        "{text}"
    );
}
