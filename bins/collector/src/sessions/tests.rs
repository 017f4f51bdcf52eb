//! What DECNET's own aggregator answers to the same records, and the bounds that it does not have.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Limits, MAX_TOLD, Sessions};

const NOW: i64 = 1_900_000_000;
const SID: &str = "0d4bb7a2-9c1e-4f0a-8d3e-5a0d4c1b2e77";

struct Stage {
    sessions: Sessions,
    now_s: i64,
}

impl Stage {
    fn new(limits: Limits) -> Stage {
        Stage {
            sessions: Sessions::new(limits),
            now_s: NOW,
        }
    }

    fn record(
        &mut self,
        ip: &str,
        time: &str,
        event: &str,
        fields: Value,
        msg: &str,
    ) -> Option<Value> {
        let service = if event == "command" {
            "bash"
        } else {
            "sessrec"
        };
        let line = json!({
            "timestamp": format!("2026-06-20 {time}"), "decky": "omega", "service": service,
            "event_type": event, "attacker_ip": ip, "fields": fields, "msg": msg, "raw_line": "", "container": "c",
        });
        let line = line.to_string();
        let ended = self
            .sessions
            .record(&serde_json::from_str(&line).unwrap(), self.now_s);
        ended.map(|ended| serde_json::to_value(ended).unwrap())
    }

    fn command(&mut self, ip: &str, time: &str, fields: Value, msg: &str) {
        assert!(self.record(ip, time, "command", fields, msg).is_none());
    }

    fn end(&mut self, ip: &str, time: &str, fields: Value) -> Value {
        self.record(ip, time, "session_recorded", fields, "")
            .unwrap()
    }
}

fn stage() -> Stage {
    Stage::new(Limits::default())
}

/// The texts of the commands that an end tells, and their ids.
fn told(ended: &Value) -> Vec<(&str, &str)> {
    let commands = ended["commands"].as_array().unwrap().iter();
    commands
        .map(|c| {
            (
                c["id"].as_str().unwrap(),
                c["command_text"].as_str().unwrap(),
            )
        })
        .collect()
}

#[test]
fn tells_what_decnet_tells() {
    let mut stage = stage();
    let ip = "1.2.3.4";
    stage.command(
        ip,
        "14:03:07",
        json!({}),
        "CMD uid=0 user=root src=1.2.3.4 pwd=/root cmd=ls -la /x",
    );
    stage.command(
        ip,
        "14:03:08",
        json!({}),
        "CMD uid=0 user=root src=1.2.3.4 pwd=/ro ot cmd=echo a=b cmd=z",
    );
    stage.command(ip, "14:03:09", json!({"command": "whoami"}), "");
    stage.command(
        ip,
        "14:03:10",
        json!({"cmd": "id", "uid": "5", "user": "u", "src": "9.9.9.9", "pwd": "/"}),
        "",
    );
    stage.command(ip, "14:03:11", json!({}), "just text");
    stage.command(ip, "14:01:00", json!({}), "before the session");
    stage.command(ip, "14:03:12", json!({}), "");
    stage.command(ip, "14:03:13", json!({}), "CMD cmd=");
    stage.command(ip, "14:03:14", json!({"command": "", "cmd": "c2"}), "zz");
    stage.command(
        ip,
        "14:03:15",
        json!({}),
        "  CMD uid=0   user=a cmd= spaced  x ",
    );
    stage.command(ip, "14:03:15", json!({}), "xcmd=1 cmd=2");
    stage.command(ip, "14:03:18", json!({}), "after");
    let fields = json!({"sid": SID, "service": "ssh", "duration_s": "60.5", "src_ip": ip});
    let id = |n| format!("{SID}#{n}");
    let bash = |n: u32, text: &str, time: &str| json!({"id": id(n), "command_text": text, "ts": format!("2026-06-20T14:03:{time}"), "decky": "omega", "service": "bash"});
    let with = |mut command: Value, more: Value| {
        command
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        command
    };
    let root = |pwd: &str| json!({"uid": "0", "user": "root", "src": "1.2.3.4", "pwd": pwd});
    let expected = json!({
        "session_id": SID, "attacker_uuid": null, "attacker_ip": ip, "decky_id": "omega", "service": "ssh",
        "ended_at": "2026-06-20T14:03:17", "duration_s": 60.5,
        "commands": [
            with(bash(0, "ls -la /x", "07"), root("/root")),
            with(bash(1, "echo a=b cmd=z", "08"), root("/ro")),
            bash(2, "whoami", "09"),
            with(bash(3, "id", "10"), json!({"uid": "5", "user": "u", "src": "9.9.9.9", "pwd": "/"})),
            bash(4, "just text", "11"),
            bash(6, "", "12"),
            bash(7, "CMD cmd=", "13"),
            bash(8, "c2", "14"),
            bash(9, "  CMD uid=0   user=a cmd= spaced  x ", "15"),
            bash(10, "xcmd=1 cmd=2", "15"),
            bash(11, "after", "18"),
        ],
        "shard_path": null,
    });
    assert_eq!(stage.end(ip, "14:03:17", fields), expected);
    // Without an id; and commands are told again.
    let ended = stage.end(ip, "14:03:17", json!({"duration_s": "10", "sid": ""}));
    assert_eq!(
        (&ended["session_id"], &ended["service"]),
        (&Value::Null, &"sessrec".into())
    );
    assert_eq!(
        told(&ended)[0],
        ("1.2.3.4-2026-06-20T14:03:07", "ls -la /x")
    );
    assert_eq!(told(&ended).len(), 11);
}

#[test]
fn a_bad_duration_is_none() {
    let mut stage = stage();
    stage.command("1.2.3.4", "14:00:00", json!({}), "x");
    for bad in ["bad", "", "-5", "inf", "NaN", "1e999"] {
        let ended = stage.end(
            "1.2.3.4",
            "14:00:01",
            json!({"sid": SID, "duration_s": bad}),
        );
        assert_eq!(
            (&ended["duration_s"], told(&ended).len()),
            (&json!(0.0), 0),
            "{bad}"
        );
    }
    assert_eq!(
        stage.end("1.2.3.4", "14:00:01", json!({}))["duration_s"],
        json!(0.0)
    );
    let ended = stage.end("1.2.3.4", "14:00:01", json!({"duration_s": "1e9"}));
    assert_eq!(told(&ended).len(), 1);
}

#[test]
fn knows_nobody_without_an_address() {
    let mut stage = stage();
    for ip in ["", "Unknown"] {
        stage.command(ip, "14:00:00", json!({}), "x");
        assert!(
            stage
                .record(ip, "14:00:00", "session_recorded", json!({}), "")
                .is_none()
        );
    }
    assert_eq!(stage.sessions.attackers(), 0);
    assert!(
        stage
            .record("1.2.3.4", "14:00:00", "connect", json!({}), "")
            .is_none()
    );
}

#[test]
fn keeps_attackers_apart() {
    let mut stage = stage();
    stage.command("1.2.3.4", "14:00:00", json!({}), "one");
    stage.command("2001:db8::1", "14:00:00", json!({}), "two");
    let ended = stage.end(
        "2001:db8::1",
        "14:00:01",
        json!({"sid": "s", "duration_s": "9"}),
    );
    assert_eq!(told(&ended), [("s#0", "two")]);
}

#[test]
fn forgets_after_the_time_to_live() {
    let ttl = Duration::from_secs(60);
    let mut stage = Stage::new(Limits {
        ttl,
        ..Limits::default()
    });
    let all = json!({"sid": "s", "duration_s": "9e9"});
    stage.command("1.2.3.4", "14:00:00", json!({}), "a");
    stage.command("1.2.3.4", "14:00:50", json!({}), "b");
    stage.command("1.2.3.4", "14:01:01", json!({}), "c");
    // Numbers are given once: forgetting does not move them.
    assert_eq!(
        told(&stage.end("1.2.3.4", "14:01:02", all.clone())),
        [("s#1", "b"), ("s#2", "c")]
    );
    // Another attacker's time is enough to forget one who is silent.
    stage.command("5.6.7.8", "14:02:02", json!({}), "d");
    assert_eq!(stage.sessions.attackers(), 1);
    assert_eq!(told(&stage.end("1.2.3.4", "14:02:03", all)).len(), 0);
}

#[test]
fn a_record_from_the_future_makes_nothing_forgotten() {
    let mut stage = stage();
    stage.now_s = "2026-06-20T14:00:30Z"
        .parse::<jiff::Timestamp>()
        .unwrap()
        .as_second();
    stage.command("1.2.3.4", "14:00:00", json!({}), "a");
    for _ in 0..10 {
        stage.command("5.6.7.8", "23:59:59", json!({}), "forged");
    }
    assert_eq!(stage.sessions.attackers(), 2);
    stage.now_s += 4 * 3600;
    stage.command("5.6.7.8", "23:59:59", json!({}), "forged");
    assert_eq!(stage.sessions.attackers(), 1);
}

#[test]
fn is_bounded_in_every_direction() {
    let limits = Limits {
        attackers: 3,
        commands: 4,
        attacker_octets: 3000,
        octets: 5000,
        ..Limits::default()
    };
    let all = json!({"sid": "s", "duration_s": "9e9"});
    // Commands of one attacker.
    let mut stage = Stage::new(limits);
    for n in 0..10 {
        stage.command("1.1.1.1", "14:00:00", json!({}), &n.to_string());
    }
    let ended = stage.end("1.1.1.1", "14:00:00", all.clone());
    assert_eq!(
        told(&ended),
        [("s#6", "6"), ("s#7", "7"), ("s#8", "8"), ("s#9", "9")]
    );
    // Octets of one attacker.
    let text = "x".repeat(1000);
    for _ in 0..10 {
        stage.command("1.1.1.1", "14:00:00", json!({}), &text);
    }
    assert_eq!(
        told(&stage.end("1.1.1.1", "14:00:00", all.clone())).len(),
        2
    );
    // Attackers; the one that was silent the longest goes.
    for ip in ["2.2.2.2", "3.3.3.3", "1.1.1.1", "4.4.4.4"] {
        stage.command(ip, "14:00:00", json!({}), "x");
    }
    assert!(told(&stage.end("2.2.2.2", "14:00:00", all.clone())).is_empty());
    assert_eq!(
        told(&stage.end("3.3.3.3", "14:00:00", all.clone())).len(),
        1
    );
    // Octets of all.
    for ip in ["3.3.3.3", "4.4.4.4"] {
        stage.command(ip, "14:00:00", json!({}), &text);
        stage.command(ip, "14:00:00", json!({}), &text);
    }
    assert!(stage.sessions.octets <= limits.octets && stage.sessions.attackers() < 3);
    let sum: usize = stage.sessions.attackers.values().map(|a| a.octets).sum();
    assert_eq!(sum, stage.sessions.octets);
    assert_eq!(stage.sessions.order.len(), stage.sessions.attackers());
}

#[test]
fn one_event_holds_what_a_frame_can() {
    let mut stage = stage();
    // Six octets each in JSON.
    let text = "\u{1}".repeat(9000);
    for n in 0..50 {
        stage.command("1.1.1.1", "14:00:00", json!({}), &format!("{n:02}{text}"));
    }
    let ended = stage.end(
        "1.1.1.1",
        "14:00:00",
        json!({"sid": SID, "duration_s": "1"}),
    );
    assert!(ended.to_string().len() < MAX_TOLD + 1000);
    let omitted = usize::try_from(ended["commands_omitted"].as_u64().unwrap()).unwrap();
    let told = told(&ended);
    assert_eq!(told.len() + omitted, 50);
    assert!(told.len() > 10 && told.last().unwrap().1.starts_with("49"));
    // A text is cut where a character ends.
    stage.command("1.1.1.1", "14:00:01", json!({}), &"é".repeat(9001));
    let ended = stage.end("1.1.1.1", "14:00:01", json!({"sid": "x".repeat(200)}));
    assert_eq!(
        (&ended["session_id"], told_len(&ended)),
        (&Value::Null, 8192)
    );
}

fn told_len(ended: &Value) -> usize {
    told(ended).last().unwrap().1.len()
}
