//! Bad input of an operator: each gives one clear error that names the key or the path, and the exit code that tells
//! whose fault it is: 78 what `check` would find, 1 what only running shows, 2 a wrong command line.

use std::path::Path;
use std::process::Command;

use swarm::{Master, Programs};

use crate::support::folder;

/// Runs a command to its end and asserts its exit code and that each word stands in what it printed on stderr.
fn fails(programs: &Programs, program: &str, args: &[&str], code: i32, words: &[&str]) {
    let output = Command::new(programs.path(program))
        .args(args)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let shown = format!(
        "{program} {}: {:?}\n{stderr}",
        args.join(" "),
        output.status
    );
    assert_eq!(output.status.code(), Some(code), "{shown}");
    for word in words {
        assert!(stderr.contains(word), "no {word:?} in {shown}");
    }
    assert!(!stderr.contains("panicked"), "{shown}");
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Configuration that `check` and `run` both refuse with 78.
fn refused(programs: &Programs, program: &str, config: &str, words: &[&str]) {
    fails(programs, program, &["check", "--config", config], 78, words);
    fails(programs, program, &["run", "--config", config], 78, words);
}

#[test]
fn unknown_keys_are_named_with_a_suggestion() {
    let dir = folder();
    let programs = Programs::build().unwrap();
    let config = write(
        dir.path(),
        "listener.toml",
        "lisen = \"127.0.0.1:0\"\ndata = \"/nonexistent\"\ntrsut = \"ca\"\n",
    );
    refused(
        &programs,
        "logferry-listener",
        &config,
        &[
            "listener.toml:1",
            "lisen",
            "listen",
            "listener.toml:3",
            "trust",
        ],
    );
    let config = write(
        dir.path(),
        "forwarder.toml",
        "master = [\"a:1\"]\n[[stream]]\nname = \"a\"\npth = \"b\"\n",
    );
    refused(
        &programs,
        "logferry-forwarder",
        &config,
        &["forwarder.toml:1", "masters", "forwarder.toml:4", "pth"],
    );
    let config = write(
        dir.path(),
        "collector.toml",
        "log = \"/tmp/x.log\"\n[dedupe]\nwindw = \"1s\"\n",
    );
    refused(
        &programs,
        "logferry-collector",
        &config,
        &["collector.toml:3", "windw", "window"],
    );
}

#[test]
fn a_missing_configuration_is_named() {
    let programs = Programs::build().unwrap();
    for program in [
        "logferry-collector",
        "logferry-forwarder",
        "logferry-listener",
    ] {
        fails(
            &programs,
            program,
            &["check", "--config", "/nonexistent/x.toml"],
            78,
            &["/nonexistent/x.toml"],
        );
        fails(&programs, program, &["run"], 2, &["--config"]);
        fails(
            &programs,
            program,
            &["no-such-command"],
            2,
            &["no-such-command"],
        );
    }
}

#[test]
fn values_that_make_no_sense_are_named() {
    let dir = folder();
    let programs = Programs::build().unwrap();
    let config = write(
        dir.path(),
        "listener.toml",
        "listen = \"here\"\ndata = 7\nmax_frame = \"1 parsec\"\n",
    );
    fails(
        &programs,
        "logferry-listener",
        &["check", "--config", &config],
        78,
        &["listener.toml:2", "data"],
    );
    let config = write(
        dir.path(),
        "collector.toml",
        "log = \"/tmp/x.log\"\nread = \"telepathy\"\n",
    );
    fails(
        &programs,
        "logferry-collector",
        &["check", "--config", &config],
        78,
        &["collector.toml:2", "read"],
    );
}

#[test]
fn an_identity_that_can_not_be_used_is_named() {
    let dir = folder();
    let programs = Programs::build().unwrap();
    let master = Master::init(&programs, &dir.path().join("master")).unwrap();
    let identity = master.enroll("w1").unwrap();
    let text = |identity: &Path| {
        format!(
            "masters = [\"127.0.0.1:1\"]\nidentity = \"{}\"\nstate = \"{}\"\n[[stream]]\nname = \"decky\"\npath = \"{}\"\n",
            identity.display(),
            dir.path().join("state").display(),
            dir.path().join("decky.log").display()
        )
    };
    let missing = dir.path().join("nowhere");
    let config = write(dir.path(), "a.toml", &text(&missing));
    refused(&programs, "logferry-forwarder", &config, &["nowhere"]);

    std::fs::write(identity.join("worker.key"), "no key at all").unwrap();
    let config = write(dir.path(), "b.toml", &text(&identity));
    refused(&programs, "logferry-forwarder", &config, &["worker.key"]);
}

#[test]
fn a_folder_that_can_not_be_written_is_named() {
    let dir = folder();
    let programs = Programs::build().unwrap();
    let file = write(dir.path(), "file", "not a folder");
    let config = write(
        dir.path(),
        "collector.toml",
        &format!(
            "log = \"{}/x.log\"\nstate = \"{file}/state\"\n",
            dir.path().display()
        ),
    );
    refused(&programs, "logferry-collector", &config, &["state", &file]);
}

#[test]
fn a_second_process_on_the_same_state_is_refused() {
    let dir = folder();
    let programs = Programs::build().unwrap();
    let mut master = Master::init(&programs, &dir.path().join("master")).unwrap();
    master.start().unwrap();
    let config = dir.path().join("master/listener.toml");
    let pid = master.child().unwrap().pid().to_string();
    let data = master.data();
    let words = [data.to_str().unwrap(), pid.as_str()];
    fails(
        &programs,
        "logferry-listener",
        &["run", "--config", config.to_str().unwrap()],
        1,
        &words,
    );
    master.stop().unwrap();
}

#[test]
fn a_taken_port_is_named() {
    let dir = folder();
    let programs = Programs::build().unwrap();
    let master = Master::init(&programs, &dir.path().join("master")).unwrap();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let text = format!(
        "listen = \"{addr}\"\ndata = \"{}\"\n",
        master.data().display()
    );
    let config = write(dir.path(), "listener.toml", &text);
    fails(
        &programs,
        "logferry-listener",
        &["check", "--config", &config],
        0,
        &[],
    );
    fails(
        &programs,
        "logferry-listener",
        &["run", "--config", &config],
        1,
        &[&addr],
    );
}
