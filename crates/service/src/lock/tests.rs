//! One holder a directory.

use std::os::unix::fs::PermissionsExt as _;

use super::{LockError, check_writable, lock};
use crate::Failure;
use crate::config;

#[test]
fn a_second_lock_names_directory_and_holder() {
    let dir = tempfile::tempdir().expect("a directory");
    let state = dir.path().join("above/state");
    let held = lock(&state).expect("the first one gets it");
    assert_eq!(held.dir(), state);
    let error = lock(&state).expect_err("the second does not");
    let expected = format!(
        "{} is in use by process {}",
        state.display(),
        std::process::id()
    );
    assert_eq!(error.to_string(), expected);
    assert!(matches!(error, LockError::Held { .. }));
    drop(held);
    lock(&state).expect("free again");
}

#[test]
fn the_directory_is_private_and_those_above_are_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let state = dir.path().join("above/state");
    let _held = lock(&state).expect("made");
    let mode = |path: &std::path::Path| {
        let found = path.metadata().expect("it is there");
        found.permissions().mode() & 0o777
    };
    assert_eq!(mode(&state), 0o700);
    assert_eq!(mode(&state.join("lock")), 0o600);
    assert_eq!(mode(&dir.path().join("above")) & 0o500, 0o500);
    assert_ne!(mode(&dir.path().join("above")), 0o700);
}

#[test]
fn failures_have_their_exit_codes() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("x.toml");
    std::fs::write(&file, "state = '/x'\n").expect("written");
    let (_, source) =
        config::load::<std::collections::BTreeMap<String, String>>(&file).expect("right");
    let _held = lock(dir.path()).expect("free");
    let failure = lock(dir.path())
        .expect_err("held")
        .failure(&source, "state");
    assert_eq!(failure.code(), 1);
    let failure = lock(&file).expect_err("a file").failure(&source, "state");
    assert_eq!(failure.code(), 78);
    let Failure::Config(problems) = failure else {
        panic!("a problem of the configuration");
    };
    let text = problems.to_string();
    assert!(
        text.contains("x.toml:1: state: ") && text.contains("cannot be used"),
        "{text}"
    );
}

#[test]
fn writable_is_asked_without_touching() {
    let dir = tempfile::tempdir().expect("a directory");
    let missing = dir.path().join("a/b");
    check_writable(&missing).expect("could be made");
    assert!(!dir.path().join("a").exists());
    let file = dir.path().join("file");
    std::fs::write(&file, "").expect("written");
    check_writable(&file.join("below")).expect_err("below a file");
    check_writable("relative/below/here".as_ref()).expect("the directory we are in");
}
