//! Lines and records: what they say, and that no text breaks out of them.

use audit_codec::{Context, Http, Log, Message, Request, Tag, Time, decode_frame};
use proptest::prelude::*;
use rfc5424::Timestamp;
use serde_json::Value;

use crate::vectors::{SESSION, V1, V3, V4, V6, hex};

const CONTEXT: Context<'_> = Context {
    hostname: "web-1",
    arrival: Timestamp::new(1_780_000_000, 7_000),
    pid: Some(4711),
    uid: Some(1000),
    gid: Some(100),
    conn: Some(3),
};

fn lines(request: &Request<'_>) -> Vec<(String, Value)> {
    let render = |log| {
        let (mut line, mut json) = (Vec::new(), Vec::new());
        CONTEXT.write_line(request, log, &mut line);
        CONTEXT.write_json(request, log, &line, &mut json);
        let line = String::from_utf8(line).expect("text");
        let json = serde_json::from_slice(&json).expect("one JSON value");
        (line, json)
    };
    request.logs.iter().map(render).collect()
}

fn of(vector: &str) -> Vec<(String, Value)> {
    let wire = hex(vector);
    let (frame, _) = decode_frame(&wire).unwrap().unwrap();
    match Message::decode(frame.tag, frame.payload) {
        Ok(Message::Logs(request)) => lines(&request),
        other => panic!("{other:?}"),
    }
}

#[test]
fn lines_of_released_clients() {
    let check = |vector, expected: &[&str]| {
        let lines: Vec<String> = of(vector).into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, expected);
    };
    check(
        V1,
        &[
            "<134>1 2026-01-01T00:00:00.123456Z web-1 boundary - boundary_request [boundary@32473 decision=\"allow\" http_method=\"GET\" http_url=\"https://example.com/\" event_time=\"2026-01-01T00:00:00.123456789Z\" matched_rule=\"domain=example.com\" pid=\"4711\" uid=\"1000\" gid=\"100\" conn=\"3\"]\n",
        ],
    );
    check(
        V3,
        &[
            "<134>1 2026-01-01T00:00:01.000000Z web-1 boundary - boundary_request [boundary@32473 decision=\"deny\" http_method=\"POST\" http_url=\"https://pastebin.com/api/api_post.php\" event_time=\"2026-01-01T00:00:01Z\" pid=\"4711\" uid=\"1000\" gid=\"100\" conn=\"3\"]\n",
        ],
    );
    let session =
        "session_id=\"5f0c2f8e-6d3b-4b7e-9a51-0d2c8f4e7a10\" sequence_number=\"N\"".to_owned();
    let numbered = |n: &str| session.replace('N', n);
    check(
        V4,
        &[
            &format!(
                "<134>1 2026-01-01T00:00:02.500000Z web-1 boundary - boundary_request [boundary@32473 decision=\"allow\" {} http_method=\"GET\" http_url=\"https://api.github.com/user\" event_time=\"2026-01-01T00:00:02.5Z\" matched_rule=\"domain=*.github.com\" pid=\"4711\" uid=\"1000\" gid=\"100\" conn=\"3\"]\n",
                numbered("0")
            ),
            &format!(
                "<134>1 2026-01-01T00:00:02.500000Z web-1 boundary - boundary_request [boundary@32473 decision=\"deny\" {} http_method=\"PUT\" http_url=\"http://10.0.0.1/x?q=ü\" event_time=\"2026-01-01T00:00:02.500000001Z\" pid=\"4711\" uid=\"1000\" gid=\"100\" conn=\"3\"]\n",
                numbered("1")
            ),
        ],
    );
    check(
        V6,
        &[&format!(
            "<134>1 2026-01-01T00:00:03.999999Z web-1 boundary - boundary_request [boundary@32473 decision=\"allow\" {} http_method=\"DELETE\" http_url=\"https://h.example:8443/a/b\" event_time=\"2026-01-01T00:00:03.999999999Z\" matched_rule=\"domain=h.example path=/a/*\" process=\"claude-code\" pid=\"4711\" uid=\"1000\" gid=\"100\" conn=\"3\"]\n",
            numbered("2147483647")
        )],
    );
}

#[test]
fn record_of_a_released_client() {
    let (line, json) = of(V6).swap_remove(0);
    let expected = serde_json::json!({
        "timestamp": "2026-01-01 00:00:03", "decky": "web-1", "service": "boundary",
        "event_type": "boundary_request", "attacker_ip": "Unknown", "fields": {}, "msg": "",
        "raw_line": line.trim_end(),
        "decision": "allow", "session_id": SESSION, "sequence_number": 2_147_483_647,
        "http_method": "DELETE", "http_url": "https://h.example:8443/a/b",
        "event_time": "2026-01-01T00:00:03.999999999Z", "matched_rule": "domain=h.example path=/a/*",
        "process": "claude-code", "pid": 4711, "uid": 1000, "gid": 100, "conn": 3,
    });
    assert_eq!(json, expected);
}

#[test]
fn order_of_a_records_keys() {
    let request = Request {
        logs: vec![Log::default()],
        session_id: "s",
        process: "p",
    };
    let (mut line, mut json) = (Vec::new(), Vec::new());
    CONTEXT.write_line(&request, &request.logs[0], &mut line);
    CONTEXT.write_json(&request, &request.logs[0], &line, &mut json);
    let text = String::from_utf8(json).unwrap();
    let tail = ",\"decision\":\"deny\",\"session_id\":\"s\",\"sequence_number\":0,\"process\":\"p\",\"pid\":4711,\"uid\":1000,\"gid\":100,\"conn\":3}\n";
    assert!(
        text.starts_with("{\"timestamp\":") && text.ends_with(tail),
        "{text}"
    );
}

#[test]
fn a_time_that_does_not_exist_becomes_the_arrival() {
    let bad = Time {
        seconds: i64::MAX,
        nanos: -5,
    };
    for (time, flag) in [(None, false), (Some(bad), true)] {
        let log = Log {
            time,
            ..Log::default()
        };
        let request = Request {
            logs: vec![log],
            ..Request::default()
        };
        let (line, json) = lines(&request).swap_remove(0);
        assert!(
            line.starts_with("<134>1 2026-05-28T20:26:40.000007Z "),
            "{line}"
        );
        assert!(!line.contains("event_time"), "{line}");
        assert_eq!(json.get("event_time"), None);
        let invalid = serde_json::json!({"seconds": i64::MAX, "nanos": -5});
        assert_eq!(
            json.get("event_time_invalid"),
            flag.then_some(invalid).as_ref()
        );
    }
}

#[test]
fn text_stays_in_its_place() {
    let http = Http {
        method: "GET\n<0>1 - - - - - -",
        url: "a\"]\\ b\u{7f}\0\r\u{85}é%0A",
        matched_rule: "]",
    };
    let log = Log {
        http: Some(http),
        ..Log::default()
    };
    let request = Request {
        logs: vec![log],
        ..Request::default()
    };
    let (line, json) = lines(&request).swap_remove(0);
    let there = "http_method=\"GET%0A<0>1 - - - - - -\" http_url=\"a\\\"\\]\\\\ b%7F%00%0D\u{85}é%0A\" matched_rule=\"\\]\"";
    assert!(line.contains(there), "{line}");
    assert_eq!(json["http_method"], http.method);
    assert_eq!(json["http_url"], http.url);
    assert_eq!(json["raw_line"], line.trim_end_matches('\n'));
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z./:]{0,30}",
        any::<String>(),
        "[\\x00-\\x1f\"\\]\\\\=\\[]{0,20}"
    ]
}

proptest! {
    /// Any text makes one line of legal RFC 5424 that gives the text back, and one JSON object that has it exactly.
    #[test]
    fn any_text(session in text(), process in text(), method in text(), url in text(), rule in text(),
                seconds in any::<i64>(), nanos in any::<i32>(), sequence in any::<i32>(), allowed in any::<bool>()) {
        let http = Http { method: &method, url: &url, matched_rule: &rule };
        let log = Log { allowed, time: Some(Time { seconds, nanos }), http: Some(http), sequence };
        let request = Request { logs: vec![log], session_id: &session, process: &process };
        let (line, json) = lines(&request).swap_remove(0);
        let line = line.strip_suffix('\n').expect("an LF");
        prop_assert!(!line.contains(|c: char| c.is_ascii_control()));
        let message = rfc5424::parse(line.as_bytes()).expect("strict");
        let element = message.structured_data.iter().next().expect("one");
        prop_assert_eq!(element.id, "boundary@32473");
        let param = |name: &str| element.params().find(|param| param.name == name).map(|param| param.value().into_owned());
        let shown = |text: &str| -> Option<String> {
            let octets = text.chars().map(|c| if c.is_ascii_control() { format!("%{:02X}", c as u32) } else { c.to_string() });
            Some(octets.collect::<String>()).filter(|text| !text.is_empty())
        };
        for (name, exact) in [("session_id", &session), ("process", &process), ("http_method", &method),
                              ("http_url", &url), ("matched_rule", &rule)] {
            prop_assert_eq!(param(name), shown(exact), "{}", name);
            prop_assert_eq!(json.get(name).and_then(Value::as_str).unwrap_or(""), exact.as_str());
        }
        prop_assert_eq!(json.get("sequence_number").is_some(), !session.is_empty());
    }

    /// A stream cut anywhere gives the same frames.
    #[test]
    fn split_invariance(cuts in prop::collection::vec(1usize..40, 0..200)) {
        let stream: Vec<u8> = [V1, V3, V4, V6].iter().flat_map(|vector| hex(vector)).collect();
        let (mut buf, mut rest, mut frames) = (Vec::new(), stream.as_slice(), Vec::new());
        for cut in cuts.into_iter().chain([usize::MAX]) {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            rest = later;
            buf.extend_from_slice(now);
            while let Ok(Some((frame, consumed))) = decode_frame(&buf) {
                frames.push((frame.tag, frame.payload.to_vec()));
                buf.drain(..consumed);
            }
        }
        prop_assert!(buf.is_empty());
        let tags: Vec<Tag> = frames.iter().map(|(tag, _)| *tag).collect();
        prop_assert_eq!(tags, [Tag::Logs, Tag::Envelope, Tag::Envelope, Tag::Envelope]);
        prop_assert_eq!(&frames[2].1, &hex(V4)[4..]);
    }
}
