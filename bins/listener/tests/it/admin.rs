//! The commands on a data directory, as an operator types them.

use std::path::Path;
use std::process::{Command, Output};

fn listener(args: &[&str], paths: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logferry-listener"));
    command.args(args);
    for (option, path) in paths {
        command.arg(option).arg(path);
    }
    command.output().unwrap()
}

/// Runs a command that must end with `code`, and gives stdout and stderr.
fn ends(code: i32, args: &[&str], paths: &[(&str, &Path)]) -> (String, String) {
    let output = listener(args, paths);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (said, complaint) = (text(output.stdout), text(output.stderr));
    assert_eq!(
        output.status.code(),
        Some(code),
        "{args:?}: {said}{complaint}"
    );
    (said, complaint)
}

#[test]
fn from_init_to_revoke() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("bundle"));
    let data = ("--data", data.as_path());
    let first = ends(
        0,
        &["init", "--san", "127.0.0.1", "--name", "m.example"],
        &[data],
    )
    .0;
    let archive = first
        .lines()
        .last()
        .unwrap()
        .strip_prefix("archive ")
        .unwrap();
    assert_eq!(archive.len(), 32);
    let again = ends(
        0,
        &["init", "--san", "127.0.0.1", "--name", "m.example"],
        &[data],
    )
    .0;
    assert!(
        again.starts_with("nothing to do") && again.ends_with(&format!("archive {archive}\n")),
        "{again}"
    );
    let other = ends(0, &["init", "--san", "late.example"], &[data]).0;
    assert!(other.contains("does not carry late.example"), "{other}");

    assert_eq!(ends(0, &["workers"], &[data]).0, "");
    let enrolled = ends(
        0,
        &["enroll", "w1", "--san", "10.0.0.1"],
        &[data, ("--out", &out)],
    )
    .0;
    assert!(enrolled.starts_with("enrolled w1\n"), "{enrolled}");
    let taken = ends(
        1,
        &["enroll", "w1"],
        &[data, ("--out", &dir.path().join("b"))],
    )
    .1;
    assert_eq!(taken, "error: w1 is already enrolled\n");
    ends(0, &["enroll", "w1", "--replace"], &[data, ("--out", &out)]);

    let listed = ends(0, &["workers"], &[data]).0;
    assert!(
        listed.starts_with("w1 active until ") && listed.lines().count() == 1,
        "{listed}"
    );
    let json = ends(0, &["workers", "--json"], &[data]).0;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["worker"], "w1");
    assert_eq!(json["certificates"].as_array().unwrap().len(), 2);

    assert_eq!(
        ends(0, &["revoke", "w1"], &[data]).0,
        "revoked w1 (certificates: 1)\n"
    );
    assert_eq!(
        ends(0, &["revoke", "w1"], &[data]).0,
        "w1 was revoked before\n"
    );
    assert!(
        ends(0, &["workers"], &[data])
            .0
            .starts_with("w1 revoked until ")
    );
    let taken = ends(1, &["enroll", "w1"], &[data, ("--out", &out)]).1;
    assert_eq!(taken, "error: w1 is already enrolled (and revoked)\n");
}

#[test]
fn arguments_that_can_never_be_right_are_usage() {
    let dir = tempfile::tempdir().unwrap();
    let data = ("--data", dir.path());
    ends(0, &["init"], &[data]);
    let out = dir.path().join("out");
    let (data, out) = (data, ("--out", out.as_path()));
    for (args, expected) in [
        (&["enroll", "decnet-master"][..], "reserved"),
        (&["enroll", "updater@w1"], "not a worker name"),
        (&["enroll", "../w1"], "not a worker name"),
        (
            &["enroll", "w1", "--san", "a b"],
            "neither an IP address nor a DNS name",
        ),
        (
            &["enroll", "w1", "--san", "logferry-master"],
            "a master's name",
        ),
    ] {
        let said = ends(2, args, &[data, out]).1;
        assert!(said.contains(expected), "{args:?}: {said}");
    }
    assert!(!dir.path().join("out").exists());
    ends(2, &["enroll", "w1"], &[data]);
    ends(2, &["init"], &[]);
    ends(
        2,
        &[
            "init",
            "--name",
            "a name of far more than forty characters in all",
        ],
        &[data],
    );
}

#[test]
fn a_file_at_fault_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("out"));
    let (data, out) = (("--data", data.as_path()), ("--out", out.as_path()));
    let names = |args: &[&str], paths: &[(&str, &Path)], file: &str| {
        let said = ends(78, args, paths).1;
        let line = format!("{}", dir.path().join(file).display());
        assert!(
            said.starts_with(&line),
            "{args:?}: {said} instead of {line}"
        );
    };
    names(&["workers"], &[data], "data/registry.sqlite: ");
    names(&["revoke", "w1"], &[data], "data/registry.sqlite: ");
    names(&["enroll", "w1"], &[data, out], "data/ca: ");
    names(&["import"], &[data, ("--ca-dir", dir.path())], "ca.crt: ");

    ends(0, &["init"], &[data]);
    ends(1, &["revoke", "w1"], &[data]);
    std::fs::write(dir.path().join("data/ca/ca.key"), "no key").unwrap();
    names(&["enroll", "w1"], &[data, out], "data/ca/ca.key: ");
    std::fs::write(dir.path().join("data/registry.sqlite"), [b'x'; 4096]).unwrap();
    names(&["workers"], &[data], "data/registry.sqlite: ");
    std::fs::write(dir.path().join("file"), "").unwrap();
    names(
        &["init"],
        &[("--data", &dir.path().join("file/data"))],
        "file",
    );
}

#[test]
fn a_ca_of_ours_can_be_imported_like_decnets() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    ends(0, &["init"], &[("--data", &old)]);
    ends(
        0,
        &["enroll", "w1"],
        &[("--data", &old), ("--out", &dir.path().join("w1"))],
    );
    let paths = [("--data", new.as_path()), ("--ca-dir", &old.join("ca"))];
    let said = ends(0, &["import"], &paths).0;
    assert!(said.starts_with("imported w1 sha-256 "), "{said}");
    assert!(
        said.contains("workers imported 1 known 0 skipped 0\n"),
        "{said}"
    );
    let said = ends(0, &["import"], &paths).0;
    assert!(
        said.contains("workers imported 0 known 1 skipped 0\n"),
        "{said}"
    );
    let other = dir.path().join("other");
    ends(0, &["init"], &[("--data", &other)]);
    let foreign = [("--data", new.as_path()), ("--ca-dir", &other.join("ca"))];
    let said = ends(78, &["import"], &foreign).1;
    assert!(said.contains("new/ca/ca.crt: is another CA"), "{said}");
}

#[test]
fn completions_cover_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = ends(0, &["completions", shell], &[]).0;
        for command in ["enroll", "revoke", "import", "workers", "status"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    assert!(
        ends(0, &["--version"], &[])
            .0
            .starts_with("logferry-listener ")
    );
}

#[test]
fn what_is_not_built_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let said = ends(
        2,
        &["invite", "w1", "--ttl", "1h"],
        &[("--data", dir.path())],
    )
    .1;
    assert_eq!(said, "error: `invite` is not built yet\n");
}
