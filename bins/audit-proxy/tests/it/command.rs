//! The command line: exit codes, and one clear error each.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use audit_proxy::Config;
use serde_json::{Value, json};
use service::config::Environment;

use crate::bed::{Bed, SESSION, hex};

fn program(args: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_logferry-audit-proxy"))
        .args(args)
        .env_remove("CODER_AGENT_BOUNDARY_LOG_PROXY_SOCKET_PATH")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    child.wait_with_output().unwrap()
}

fn check(bed: &Bed, code: i32, words: &[&str]) {
    let path = bed.path("audit-proxy.toml");
    let output = program(&["check", "--config", path.to_str().unwrap()], b"");
    let text = String::from_utf8_lossy(if code == 0 {
        &output.stdout
    } else {
        &output.stderr
    });
    assert_eq!(output.status.code(), Some(code), "{text}");
    for word in words {
        assert!(text.contains(word), "no `{word}` in: {text}");
    }
}

#[test]
fn says_what_is_wrong_all_at_once() {
    let bed = Bed::new();
    check(&bed, 0, &["ok"]);
    bed.configure("mode = \"0666\"");
    check(&bed, 0, &["note", "everybody"]);
    bed.configure("mode = \"rw\"\ngroup = \"no-such-group\"\nconnections = 5\n[limits]\nconnections = 0\nfull_wait = \"1h\"\n[commit]\nmax_delay = \"1s\"\nmax_bytes = 1");
    check(
        &bed,
        78,
        &[
            "audit-proxy.toml:4: mode",
            "audit-proxy.toml:5: group: there is no group `no-such-group`",
            "audit-proxy.toml:6: connections",
            "limits.connections",
            "limits.full_wait",
            "commit.max_delay",
            "commit.max_bytes",
        ],
    );
    let text = |socket: &str, log: &str, state: &str| {
        let text = format!("socket = {socket:?}\nlog = {log:?}\nstate = {state:?}\n");
        fs::write(bed.path("audit-proxy.toml"), text).unwrap();
    };
    let file = bed.path("file");
    fs::write(&file, "").unwrap();
    let file = file.to_str().unwrap();
    text(file, "/x/audit.json", &format!("{file}/state"));
    check(
        &bed,
        78,
        &["socket: ", "is no socket", "log: ends in .json", "state: "],
    );
    text("/nonexistent/a.sock", &format!("{file}/audit.log"), "/tmp");
    check(&bed, 78, &["/nonexistent can't be used", "log: "]);
    text(&format!("/tmp/{}", "x".repeat(103)), "/tmp/a.log", "/tmp");
    check(&bed, 78, &["108 octets", "107"]);
}

#[test]
fn decodes_frames() {
    let stream: Vec<u8> = [
        "020000900a8d010a580801120c0883f2d6ca0610ff93ebdc031a400a0644454c455445121a68747470733a2f2f682e6578616d706c653a383434332f612f621a1a646f6d61696e3d682e6578616d706c6520706174683d2f612f2a20ffffffff07122435663063326638652d366433622d346237652d396135312d3064326338663465376131301a0b636c617564652d636f6465",
        "02000006120408051003",
        "01000005ffffffffff",
        "01000000",
        "02000000",
        "010000020a00",
    ]
    .iter()
    .flat_map(|vector| hex(vector))
    .collect();
    let output = program(&["decode"], &stream);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    let values: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let expected = [
        json!({"tag": 2, "decision": "allow", "session_id": SESSION, "sequence_number": 2_147_483_647,
               "http_method": "DELETE", "http_url": "https://h.example:8443/a/b",
               "event_time": "2026-01-01T00:00:03.999999999Z", "matched_rule": "domain=h.example path=/a/*",
               "process": "claude-code"}),
        json!({"tag": 2, "dropped_channel_full": 5, "dropped_batch_full": 3}),
        json!({"tag": 1, "error": "message ends inside a field", "at": 0}),
        json!({"tag": 2, "error": "unknown variant"}),
        json!({"tag": 1, "decision": "deny"}),
    ];
    assert_eq!(values, expected);
}

#[test]
fn bad_framing_ends_with_1_after_what_was_whole() {
    for (end, word) in [
        ("03000000", "tag 3"),
        ("01008001", "32769"),
        ("0100", "inside the frame at octet 6"),
    ] {
        let stream: Vec<u8> = ["010000020a00", end]
            .iter()
            .flat_map(|vector| hex(vector))
            .collect();
        let output = program(&["decode"], &stream);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(output.stdout, b"{\"tag\":1,\"decision\":\"deny\"}\n");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn asks_nobody() {
    let bed = Bed::new();
    let path = bed.path("audit-proxy.toml");
    let config = ["--config", path.to_str().unwrap()];
    let gaps = program(&[&["gaps"], &config[..]].concat(), b"");
    assert_eq!((gaps.status.code(), gaps.stdout.len()), (Some(0), 0));
    let status = program(&[&["status"], &config[..]].concat(), b"");
    assert_eq!(status.status.code(), Some(1));
    assert_eq!(program(&["nonsense"], b"").status.code(), Some(2));
    assert_eq!(program(&["--version"], b"").status.code(), Some(0));
    let script = program(&["completions", "bash"], b"");
    assert!(String::from_utf8_lossy(&script.stdout).contains("logferry-audit-proxy"));
}

#[test]
fn the_sample_configuration_is_one() {
    let sample = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../deploy/etc/logferry/audit-proxy.toml"
    );
    let text = fs::read_to_string(sample).unwrap();
    let config = |text: &str| {
        // A group of the sample exists only where it is installed.
        let bed = Bed::new();
        let path = bed.path("sample.toml");
        fs::write(&path, text.replace("logferry-audit\"", "0\"")).unwrap();
        Config::read(&path, &Environment::of([])).unwrap().0
    };
    // What is commented out are keys and their defaults.
    let uncommented: Vec<&str> = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(key) if key.contains(" = ") || key.starts_with('[') => key,
            _ => line,
        })
        .collect();
    let (plain, whole) = (config(&text), config(&uncommented.join("\n")));
    let shown = |config: &Config| {
        format!(
            "{:?} {:?} {:?} {:?} {:o}",
            config.commit, config.limits, config.status, config.log, config.place.mode
        )
    };
    assert_eq!(shown(&plain), shown(&whole));
    assert_eq!((plain.place.group, whole.place.group), (None, Some(0)));
}
