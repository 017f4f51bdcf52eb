//! Commands and pages, beside a running program.

use std::fs;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::bed::{Bed, Master, NO_RATE, append, until};

const RULES: &str = r#"
[[rule]]
name = "failed-password"
pattern = 'Failed password for (?P<user>\S+)'

[[rule]]
name = "err"
pattern = 'boom'
stream = "stderr"

[[rule]]
name = "own"
pattern = 'boom'
workload = "w1/gate"
"#;

pub(crate) fn lines(output: &std::process::Output) -> Vec<Value> {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

pub(crate) async fn post(bed: &Bed, path: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let mut stream = UnixStream::connect(bed.path("state/status.sock"))
        .await
        .unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    (code, serde_json::from_str(body).unwrap_or(Value::Null))
}

#[test]
fn check_names_file_line_and_reason() {
    let bed = Bed::archive();
    bed.rules("a.toml", RULES);
    for command in [&["rules", "check"][..], &["check"]] {
        let output = bed.command(command);
        assert!(output.status.success(), "{output:?}");
    }
    bed.rules(
        "b.toml",
        "[[rule]]\nname = \"x\"\npattern = 'a*'\n[[rule]]\nname = \"y\"\npatern = 'b'\n",
    );
    bed.rules(
        "c.toml",
        "[[rule]]\nname = \"z\"\noverrides = \"none\"\nworkload = \"w/c\"\npattern = 'b'\n",
    );
    for command in [&["rules", "check"][..], &["check"]] {
        let output = bed.command(command);
        assert_eq!(output.status.code(), Some(78));
        let text = String::from_utf8(output.stderr).unwrap();
        for expected in [
            "rules.d/b.toml:3: ",
            "rules.d/b.toml:6: ",
            "rules.d/c.toml:1: ",
        ] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
    }
}

#[tokio::test]
async fn rules_are_tried_without_consequences() {
    let bed = Bed::archive();
    bed.rules("a.toml", RULES);
    let line = "2026-01-01T00:00:00.123456789Z Failed password for root from 203.0.113.44";
    let tried = lines(&bed.command(&["rules", "test", "--json", "--line", line]));
    let tried = &tried[0];
    assert_eq!(tried["matched"], true);
    assert_eq!(tried["would_strip_time"], true);
    let rule = &tried["rules"][0];
    assert_eq!(
        (&rule["rule_id"], &rule["captures"]["user"]),
        (&json!("failed-password"), &json!("root"))
    );
    assert_eq!(rule["span"], json!([0, 24]));
    let args = [
        "rules",
        "test",
        "--json",
        "--line",
        "boom",
        "--stream",
        "stderr",
        "--workload",
        "w1/gate",
    ];
    let tried = &lines(&bed.command(&args))[0];
    let matched: Vec<&Value> = tried["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| &rule["matched"])
        .collect();
    assert_eq!(matched, [&json!(false), &json!(true), &json!(true)]);
    assert_eq!(
        bed.command(&["rules", "test", "--line", "x", "--stream", "no"])
            .status
            .code(),
        Some(2)
    );
    let human = bed.command(&["rules", "test", "--line", line]);
    assert!(
        String::from_utf8(human.stdout)
            .unwrap()
            .contains("failed-password  warn  global")
    );
    let rows = lines(&bed.command(&["rules", "effective", "--json", "--workload", "w1/gate"]));
    let ids: Vec<&Value> = rows.iter().map(|row| &row["rule_id"]).collect();
    assert_eq!(ids, ["failed-password", "err", "own@w1/gate"]);
    // The same over the socket, of the rules in use.
    let mut master = Master::open(&bed).await;
    let (_, decky) = master.epoch("w1", "decky").await;
    let _program = bed.start();
    until("a start", async || {
        bed.page("/stats")
            .await
            .is_some_and(|(_, stats)| stats["snapshot"]["rules"] == 3)
    })
    .await;
    for _ in 0..3 {
        let (code, tried) = post(
            &bed,
            "/rules/test",
            &json!({"line": line, "workload": "w1/-"}),
        )
        .await;
        assert_eq!((code, &tried["matched"]), (200, &json!(true)), "{tried}");
    }
    let (code, tried) = post(
        &bed,
        "/rules/test",
        &json!({"line": "abc", "pattern": "b(?P<x>.)"}),
    )
    .await;
    assert_eq!(
        (code, &tried["captures"]["x"], &tried["span"]),
        (200, &json!("c"), &json!([1, 3]))
    );
    assert_eq!(
        post(&bed, "/rules/test", &json!({"line": "abc", "pattern": "("}))
            .await
            .0,
        400
    );
    assert_eq!(
        post(&bed, "/rules/test", &json!({"lin": "abc"})).await.0,
        400
    );
    let (code, rows) = bed
        .page("/rules/effective?workload=w1%2Fgate")
        .await
        .unwrap();
    assert_eq!((code, rows.as_array().unwrap().len()), (200, 3));
    // No cooldown was started by any of that.
    master.write(decky, &format!("{line}\n")).await;
    let events = bed.has(1).await;
    assert_eq!(events[0]["suppressed_cooldown"], 0);
    let (_, page) = bed.page("/events?after=0").await.unwrap();
    assert_eq!(page[0]["event"], events[0]);
    let id = events[0]["id"].as_str().unwrap();
    assert_eq!(
        bed.page(&format!("/events/{id}")).await.unwrap().1,
        events[0]
    );
    assert_eq!(bed.page("/events/none").await.unwrap().0, 404);
    master.write(decky, &format!("{line}\n")).await;
    until("a count", async || {
        let stats = lines(&bed.command(&["stats", "--json"]));
        stats[0]["dropped"]["cooldown"] == 1 && stats[0]["rules"][0]["matched"] == 2
    })
    .await;
    let human = bed.command(&["events", "--since", "1h"]);
    let text = String::from_utf8(human.stdout).unwrap();
    assert!(
        text.contains("failed-password  Failed password for root"),
        "{text}"
    );
    assert!(
        bed.command(&["events", "--since", "2099-01-01T00:00:00Z"])
            .stdout
            .is_empty()
    );
}

#[tokio::test]
async fn replay_tells_what_would_have_fired_and_writes_nothing() {
    let bed = Bed::archive();
    bed.configure("archive", NO_RATE);
    bed.rules(
        "a.toml",
        "[[rule]]\nname = \"hit\"\npattern = 'hit (?P<n>\\d+)'\n",
    );
    let mut master = Master::open(&bed).await;
    let (_, decky) = master.epoch("w1", "decky").await;
    let line = |time: &str, n: u32| format!("<134>1 2026-01-01T{time}Z host app - - - hit {n}\n");
    let text =
        line("09:00:00", 1) + &line("10:00:00", 2) + &line("10:00:59", 3) + &line("10:01:00", 4);
    master.write(decky, &text).await;
    let args = [
        "rules",
        "replay",
        "--json",
        "--since",
        "2026-01-01T09:30:00Z",
    ];
    let fired = lines(&bed.command(&args));
    let found: Vec<&Value> = fired.iter().map(|event| &event["captures"]["n"]).collect();
    // The third is within the minute of the second.
    assert_eq!(found, ["2", "4"]);
    let human = bed.command(&["rules", "replay", "--since", "2026-01-01T00:00:00Z"]);
    let text = String::from_utf8(human.stdout).unwrap();
    assert!(
        text.contains("4 lines, 4 matched, 3 would have fired, 1 held back by cooldowns"),
        "{text}"
    );
    assert!(!bed.path("state").exists());
    bed.configure("decky.log", "worker = \"w1\"");
    append(&bed.log(), &line("10:00:00", 7));
    assert_eq!(lines(&bed.command(&args)).len(), 1);
}

#[test]
fn a_port_wants_a_token_file() {
    let bed = Bed::archive();
    bed.configure("archive", "[status]\nlisten = \"127.0.0.1:0\"");
    assert_eq!(bed.command(&["check"]).status.code(), Some(78));
    fs::write(bed.path("token"), "0123456789abcdef").unwrap();
    let token = bed.path("token");
    bed.configure(
        "archive",
        &format!("[status]\nlisten = \"127.0.0.1:0\"\ntoken_file = {token:?}"),
    );
    assert!(bed.command(&["check"]).status.success());
}
