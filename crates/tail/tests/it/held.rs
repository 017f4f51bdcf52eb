//! Which files are held open, once all of them is delivered.

use std::fs;
use std::time::Duration;

use tail::{Follower, RollCause};

use crate::cases::{Case, rolls};

/// A file that was rotated and delivered.
fn rotated() -> (Case, Follower) {
    let mut case = Case::new();
    case.append("a.log", b"one\n");
    let mut follower = case.follow();
    case.all(&mut follower);
    case.rename("a.log", "a.log.1");
    case.append("a.log", b"two\n");
    let (bytes, steps) = case.all(&mut follower);
    assert_eq!(bytes, b"two\n");
    assert_eq!(rolls(&steps), [RollCause::Rotated]);
    (case, follower)
}

/// Deleted files that this process holds open.
fn deleted(case: &Case) -> usize {
    let ours = case.path("").to_string_lossy().into_owned();
    fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|fd| fs::read_link(fd.unwrap().path()).ok())
        .filter(|link| {
            let link = link.to_string_lossy();
            link.starts_with(&ours) && link.ends_with(" (deleted)")
        })
        .count()
}

#[test]
fn a_file_that_was_packed_is_let_go_of() {
    let (mut case, mut follower) = rotated();
    case.pack("a.log.1", "a.log.2.gz");
    case.rename("a.log", "a.log.1");
    case.append("a.log", b"three\n");
    assert_eq!(case.all(&mut follower).0, b"three\n");
    assert_eq!(deleted(&case), 0);
    case.append("a.log.1", b"late\n");
    case.append("a.log", b"four\n");
    assert_eq!(case.all(&mut follower).0, b"late\nfour\n");
}

#[test]
fn a_file_that_was_deleted_is_let_go_of_after_a_while() {
    let (mut case, mut follower) = rotated();
    fs::remove_file(case.path("a.log.1")).unwrap();
    case.append("a.log", b"three\n");
    assert_eq!(case.all(&mut follower).0, b"three\n");
    assert_eq!(deleted(&case), 1, "who writes there may not know yet");
    case.now = case.now.later(Duration::from_secs(60));
    assert_eq!(case.all(&mut follower).0, b"");
    assert_eq!(deleted(&case), 0);
}
