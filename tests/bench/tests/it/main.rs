//! Short runs of the bench itself: that it measures what it says, and stops.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn bench(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logferry-bench"));
    command.args(args).output().expect("the bench starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn measures_ours_the_copy_a_peer_and_the_latency() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("measures");
    let dir = dir.to_str().unwrap();
    let output = bench(&[
        "--json",
        "--lines",
        "20000",
        "--rounds",
        "2",
        "--only",
        "logferry,copy,rsyslog,latency",
        "--rate",
        "1000",
        "--seconds",
        "2",
        "--dir",
        dir,
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |kind: &str| {
        let of = lines.iter().filter(|line| line["measurement"] == kind);
        of.cloned().collect::<Vec<_>>()
    };
    let mut expected = vec!["logferry", "copy", "rsyslog"];
    if let [skipped] = &of("skipped")[..] {
        service::testing::skip("bench", skipped["why"].as_str().unwrap());
        expected.pop();
    }
    // Forwards, then backwards.
    expected.extend(expected.clone().into_iter().rev());
    let transfers = of("transfer");
    let names: Vec<&str> = transfers
        .iter()
        .filter_map(|one| one["pipeline"].as_str())
        .collect();
    assert_eq!(names, expected);
    for one in &transfers {
        assert_eq!(one["intact"], true, "{one}");
        assert!(one["lines_per_second"].as_f64() > Some(0.0), "{one}");
        for side in ["sender", "receiver"] {
            assert!(one[side]["peak_rss_kib"].as_u64() > Some(1000), "{one}");
        }
    }
    let ratios = of("ratio");
    assert_eq!(ratios.len(), expected.len() / 2 - 1);
    assert!(
        ratios.iter().all(|ratio| ratio["rounds"] == 2),
        "{ratios:?}"
    );
    let latency = &of("latency")[..];
    assert_eq!(latency.len(), 1);
    assert!(latency[0]["lines"].as_u64() > Some(3000), "{latency:?}");
    assert!(latency[0]["p50_ms"].as_f64() > Some(0.0), "{latency:?}");
    let left = std::fs::read_dir(dir).unwrap().count();
    assert_eq!(left, 0, "a run leaves nothing behind");
}

#[test]
fn refuses_a_folder_in_memory() {
    let memory = "/dev/shm";
    let kind = rustix::fs::statfs(memory).map(|found| found.f_type);
    if kind.ok() != Some(0x0102_1994) {
        service::testing::skip("bench in memory", "no tmpfs at /dev/shm");
        return;
    }
    // Nothing is started before the folder was looked at.
    let mut command = Command::new(env!("CARGO_BIN_EXE_logferry-bench"));
    let output = command
        .args(["--only", "copy", "--dir", memory])
        .env("LOGFERRY_BIN_DIR", "/nowhere")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("/dev/shm is in memory"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn names_what_there_is_when_asked_for_another() {
    let output = bench(&["--only", "logferry,fluentd"]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(
        said.contains("fluentd") && said.contains("syslog-ng-disk"),
        "{said}"
    );
}
