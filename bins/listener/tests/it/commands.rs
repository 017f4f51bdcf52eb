//! `run`, `check` and `status` from the command line, and bad input.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output};

use crate::support::Master;

fn listener(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_logferry-listener"))
        .args(args)
        .output()
        .unwrap()
}

/// Runs `run` and `check`, which must fail alike, and gives what they say.
fn fails(master: &Master, code: i32) -> String {
    let config = master.path("listener.toml");
    let mut said = Vec::new();
    for command in ["check", "run"] {
        let output = listener(&[command, "--config", &config.to_string_lossy()]);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{command}: {stderr}");
        said.push(stderr);
    }
    said.remove(0)
}

fn rewrite(master: &Master, from: &str, to: &str) {
    let path = master.path("listener.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn every_problem_of_a_configuration_is_named() {
    let master = Master::init();
    rewrite(&master, "listen =", "max_frame = 1\nlisten =");
    rewrite(&master, "[merged]", "[limits]\nconnections = 0\n[merged]");
    let said = fails(&master, 78);
    for what in [
        "listener.toml:1: max_frame: ",
        "listener.toml:5: limits.connections: ",
    ] {
        assert!(said.contains(what), "{what}: {said}");
    }
    rewrite(&master, "max_frame = 1\n", "maxframe = 1\n");
    let said = fails(&master, 78);
    assert!(
        said.contains("maxframe") && said.contains("max_frame"),
        "a suggestion: {said}"
    );
}

#[test]
fn a_missing_file_or_identity_is_named() {
    let master = Master::init();
    fs::remove_file(master.data().join("ca/master/worker.crt")).unwrap();
    let said = fails(&master, 78);
    assert!(
        said.contains("data: ") && said.contains("ca/master/worker.crt"),
        "{said}"
    );
    fs::remove_file(master.path("listener.toml")).unwrap();
    let said = fails(&master, 78);
    assert!(said.contains("listener.toml: "), "{said}");
}

#[test]
fn a_taken_port_is_named() {
    let master = Master::init();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    rewrite(&master, "127.0.0.1:0", &format!("127.0.0.1:{port}"));
    let output = listener(&[
        "run",
        "--config",
        &master.path("listener.toml").to_string_lossy(),
    ]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("127.0.0.1:{port}")), "{said}");
}

#[tokio::test]
async fn a_second_process_on_the_same_data_is_refused() {
    let master = Master::started().await;
    let output = listener(&[
        "run",
        "--config",
        &master.path("listener.toml").to_string_lossy(),
    ]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&master.data().to_string_lossy().into_owned()),
        "{said}"
    );
    assert!(
        said.contains(&format!("{}", master.pid().as_raw_nonzero())),
        "the holder: {said}"
    );
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    // A file where a directory should be stops root as well.
    let master = Master::init();
    let merged = master.path("m");
    let _ = fs::remove_dir_all(&merged);
    fs::write(&merged, "").unwrap();
    let said = fails(&master, 78);
    assert!(said.contains("merged.log: "), "{said}");
}

#[tokio::test]
async fn check_and_status_of_a_good_one() {
    let master = Master::started().await;
    let config = master.path("listener.toml").to_string_lossy().into_owned();
    let output = master.command(&["check", "--config", &config]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said, format!("{config}: ok\n"));
    let output = master.command(&["status", "--config", &config, "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["archive"].as_str().unwrap().len(), 32, "{status}");
    assert!(status["workers"].is_object(), "{status}");
    master.command(&["status", "--config", &config]);
    let ready = master.page("/readyz").await.unwrap();
    assert!(!ready.is_empty());
}

#[tokio::test]
async fn decnet_environment_beats_the_file() {
    let master = Master::init();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_logferry-listener"))
        .args([
            "run",
            "--config",
            &master.path("listener.toml").to_string_lossy(),
        ])
        .env("DECNET_SWARM_SYSLOG_PORT", &port)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&port));
}

#[test]
fn gaps_and_verify_refuse_what_can_never_be() {
    let master = Master::init();
    let data = master.data();
    let data = data.to_string_lossy();
    let nowhere = master.path("nowhere");
    for command in ["gaps", "verify"] {
        let output = listener(&[command, "--data", &data, "--worker", "../etc"]);
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("../etc"), "{said}");
        let output = listener(&[command, "--data", &nowhere.to_string_lossy()]);
        assert_eq!(output.status.code(), Some(78));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("nowhere") && said.contains("init"), "{said}");
    }
}
