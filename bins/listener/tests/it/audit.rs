//! `gaps` and `verify`, beside a running listener.

use std::fs;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::link::epoch;
use crate::sending::Sending;
use crate::support::{Master, lines};
use crate::upkeep::{fill, segments};

/// Runs a command on the master's data; exit code and what it printed.
fn audit(master: &Master, args: &[&str]) -> (i32, Vec<String>) {
    let Output { status, stdout, .. } = Command::new(env!("CARGO_BIN_EXE_logferry-listener"))
        .args(args)
        .arg("--data")
        .arg(master.data())
        .output()
        .unwrap();
    let lines = String::from_utf8(stdout).unwrap();
    (
        status.code().unwrap(),
        lines.lines().map(str::to_owned).collect(),
    )
}

#[tokio::test]
async fn gaps_are_listed_with_all_that_is_known() {
    let master = Master::started().await;
    let identity = master.enroll("web-1");
    let mut sending = Sending::new("decky", epoch(1), lines(0, 300));
    let (from, to) = (lines(0, 100).len(), lines(0, 200).len());
    sending.gaps.push((from, to));
    sending.send(&master, &identity).await.unwrap();
    let (code, printed) = audit(&master, &["gaps", "--json"]);
    assert_eq!((code, printed.len()), (0, 1), "{printed:?}");
    let gap: Value = serde_json::from_str(&printed[0]).unwrap();
    let at = gap["at"].clone();
    assert!(at.as_str().is_some_and(|at| at.ends_with('Z')), "{at}");
    assert_eq!(
        gap,
        json!({
            "worker": "web-1", "stream": "decky", "epoch": epoch(1).to_string(), "from": from, "to": to,
            "bytes": to - from, "cause": "lag-cap", "at": at,
        })
    );
    let keys = [
        "worker", "stream", "epoch", "from", "to", "bytes", "cause", "at",
    ];
    let places: Vec<_> = keys
        .iter()
        .map(|key| printed[0].find(&format!("\"{key}\":")).unwrap())
        .collect();
    assert!(places.is_sorted(), "{}", printed[0]);
    let (code, printed) = audit(&master, &["gaps", "--worker", "web-1", "--stream", "decky"]);
    let line = format!(
        "{} web-1/decky {} from {from} to {to} bytes {} lag-cap",
        at.as_str().unwrap(),
        epoch(1),
        to - from
    );
    assert_eq!((code, printed), (0, vec![line]));
    for other in [["--worker", "web-2"], ["--stream", "audit"]] {
        let (code, printed) = audit(&master, &["gaps", other[0], other[1]]);
        assert_eq!((code, printed.len()), (0, 0));
    }
    // The merged file has what is there, and no line of two halves.
    let expected = [lines(0, 100), lines(200, 300)].concat();
    master.merged(200).await;
    assert!(master.merged_log() == expected);
    let offsets: Vec<_> = master.records(200).await;
    assert_eq!(offsets[100]["source_offset"], to);
}

#[tokio::test]
async fn damage_is_listed_and_ends_with_a_failure() {
    let mut master = Master::init();
    fill(&master, 5_000).await;
    master.start().await;
    master.merged(10_000).await;
    let (code, printed) = audit(&master, &["verify"]);
    assert_eq!(
        (code, printed),
        (0, Vec::new()),
        "beside the running listener"
    );
    let segment = segments(&master, 0)[2].clone();
    let base: usize = segment
        .file_stem()
        .unwrap()
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[777] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    let (code, printed) = audit(&master, &["verify"]);
    assert_eq!((code, printed.len()), (1, 1), "{printed:?}");
    let rest = printed[0]
        .strip_prefix(&format!("{}: offset ", segment.display()))
        .unwrap();
    let (offset, what) = rest.split_once(": ").unwrap();
    let offset: usize = offset.parse().unwrap();
    assert!(
        (base..=base + 777).contains(&offset) && !what.is_empty(),
        "{rest}"
    );
    let (code, printed) = audit(
        &master,
        &["verify", "--json", "--worker", "web-1", "--stream", "decky"],
    );
    assert_eq!((code, printed.len()), (1, 1));
    let damage: Value = serde_json::from_str(&printed[0]).unwrap();
    assert_eq!(
        damage,
        json!({ "segment": segment, "offset": offset, "what": what })
    );
    let (code, printed) = audit(&master, &["verify", "--stream", "audit"]);
    assert_eq!((code, printed.len()), (0, 0), "not asked for");
}
