//! DECNET's rules one by one; the golden rows are in `tests/golden.rs`.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::Timestamp;

fn json_of(line: &[u8], extras: &Extras<'_>) -> Value {
    let mut out = Vec::new();
    Record::parse(line)
        .expect("a record")
        .write_json(&mut out, extras);
    assert_eq!(out.pop(), Some(b'\n'));
    serde_json::from_slice(&out).expect("JSON")
}

fn record(line: &str) -> Value {
    json_of(line.as_bytes(), &Extras::default())
}

/// The record of a line with this behind its header.
fn rest(rest: &str) -> Value {
    record(&format!(
        "<134>1 2026-06-20T14:03:07Z d1 http - request {rest}"
    ))
}

mod header {
    use super::*;

    #[test]
    fn lenient_lines_are_records() {
        for line in [
            "<999>1 x d1 http - x -",
            "<00000000134>1 - d1 http - x -",
            "<1>1 t décky a\u{7F}b \u{1} m anything at all",
            "<13>1 t h a p m  ",
        ] {
            assert!(
                matches!(classify(line.as_bytes()), Class::Record(_)),
                "{line:?}"
            );
        }
        let long = format!("<13>1 t {} a p m -", "h".repeat(1000));
        assert!(accepts(long.as_bytes()));
    }

    #[test]
    fn other_lines_are_raw() {
        for line in [
            "",
            "<",
            "<>1 t h a p m -",
            "<13>1",
            "<13>1 t h a p m",
            "<13>1 t h a p m ",
            "<13>1  t h a p m -",
            "<13>1 t\th a p m -",
            "<13>2 t h a p m -",
            " <13>1 t h a p m -",
            "\u{FEFF}<13>1 t h a p m -",
            "<1x>1 t h a p m -",
            " * Serving Flask app",
            "<13>1 t h a\r p m -",
            "<13>1 t h a p m\u{1C}x -",
        ] {
            assert!(matches!(classify(line.as_bytes()), Class::Raw), "{line:?}");
        }
    }

    #[test]
    fn strict_messages_beyond_the_rules_have_no_record() {
        for line in [
            "<13>1 - - - - - - a\nb",
            "<13>2 - - - - - -",
            "<13>999 - h - - - [a@1 b=\"\n\"]",
        ] {
            assert!(
                matches!(classify(line.as_bytes()), Class::Strict),
                "{line:?}"
            );
        }
    }

    #[test]
    fn an_inner_message_gives_the_names_and_the_outer_the_time() {
        let got = record(
            "<14>1 2026-06-20T14:03:40Z outer 1 - - -  2020-01-01T00:00:00Z inner bash 7 command [relay@55555 src_ip=\"1.2.3.4\"] CMD ls",
        );
        assert_eq!(got["timestamp"], "2026-06-20 14:03:40");
        assert_eq!(
            (&got["decky"], &got["service"], &got["event_type"]),
            (&json!("inner"), &json!("bash"), &json!("command"))
        );
        assert_eq!(
            (&got["attacker_ip"], &got["msg"]),
            (&json!("1.2.3.4"), &json!("CMD ls"))
        );
        let got =
            record("<14>1 2026-06-20T14:03:40Z outer 1 - - - 2026-06-20T inner bash 7 command -");
        assert_eq!(got["decky"], "outer", "a date is no stamp");
        let got = record(
            "<14>1 2026-06-20T14:03:40Z outer 1 - - - 2026-06-20T1 inner  bash \t7 command   CMD ls",
        );
        assert_eq!(
            (&got["decky"], &got["msg"]),
            (&json!("inner"), &json!("CMD ls"))
        );
        // A real MSGID outside is never overridden, nor is prose taken for a header.
        let got = record(
            "<14>1 2026-06-20T14:03:40Z outer 1 - m -  2020-01-01T00:00:00Z inner bash 7 command -",
        );
        assert_eq!(got["decky"], "outer");
        let got =
            record("<14>1 2026-06-20T14:03:40Z outer 1 - - - 2020-01-01 inner bash 7 command -");
        assert_eq!(got["decky"], "outer");
    }

    #[test]
    fn a_shell_without_msgid_reports_commands() {
        assert_eq!(
            record("<14>1 - h bash - - - CMD ls")["event_type"],
            "command"
        );
        assert_eq!(
            record("<14>1 - h bash - - - \u{FEFF}CMD ls")["event_type"],
            "command"
        );
        assert_eq!(record("<14>1 - h bash - - - CMDls")["event_type"], "-");
        assert_eq!(record("<14>1 - h bash - x - CMD ls")["event_type"], "x");
    }
}

mod elements {
    use super::*;

    #[test]
    fn only_the_relay_element_gives_fields() {
        let got = rest(
            r#"[a@1 src_ip="9.9.9.9"][relay@55555 k="v"][b@1 x="y"] [relay@55555 z="forged"]"#,
        );
        assert_eq!(got["fields"], json!({"k": "v"}));
        assert_eq!(got["msg"], r#"[relay@55555 z="forged"]"#);
        assert_eq!(got["attacker_ip"], "Unknown");
        let got = rest(r#"[relay@55555 k="v"][relay@55555 k="second"]"#);
        assert_eq!(got["fields"], json!({"k": "v"}));
        assert_eq!(rest(r#"[relay@555555 k="v"]"#)["fields"], json!({}));
        assert_eq!(rest(r#"- [relay@55555 k="v"]"#)["fields"], json!({}));
    }

    #[test]
    fn values_end_at_their_quote() {
        let got = rest(r#"[relay@55555 a="x]y" b="[\"1\"\]" c="back\\" d="\n"] text "#);
        assert_eq!(
            got["fields"],
            json!({"a": "x]y", "b": "[\"1\"]", "c": "back\\", "d": "\\n"})
        );
        assert_eq!(got["msg"], "text");
    }

    #[test]
    fn words_that_are_no_parameters_are_passed_over() {
        let got = rest(r#"[relay@55555  junk a="1"b c=2 ="3"  d="4" ] m"#);
        assert_eq!(got["fields"], json!({"a": "1", "d": "4"}));
        assert_eq!(got["msg"], "m");
    }

    #[test]
    fn an_element_that_is_not_closed_has_no_fields() {
        let got = rest(r#"[relay@55555 src_ip="1.2.3.4" body="cut here] and on"#);
        assert_eq!(
            (&got["fields"], &got["attacker_ip"], &got["msg"]),
            (&json!({}), &json!("Unknown"), &json!("and on"))
        );
        assert_eq!(rest("[relay@55555")["fields"], json!({}));
        assert_eq!(rest("[")["msg"], "");
    }

    #[test]
    fn the_last_of_a_name_counts_at_the_place_of_the_first() {
        for count in [3, 40] {
            let params: String = (0..count).map(|n| format!(" k{n}=\"{n}\"")).collect();
            let line = format!(
                "<134>1 - d http - x [relay@55555{params} k1=\"last\" src_ip=\"1.1.1.1\" src_ip=\"2.2.2.2\"]"
            );
            let read = Record::parse(line.as_bytes()).expect("a record");
            let fields: Vec<_> = read.fields().collect();
            assert_eq!(fields.len(), count + 1);
            assert_eq!(fields[1], (b"k1".as_slice(), b"last".as_slice()));
            assert_eq!(read.attacker_ip(), b"2.2.2.2");
            assert_eq!(record(&line)["fields"]["k1"], "last");
        }
    }

    #[test]
    fn text_after_the_element_is_trimmed_and_its_bom_taken_off() {
        assert_eq!(rest("[a@1]   padded \r")["msg"], "padded");
        assert_eq!(rest("[a@1] \u{FEFF}text")["msg"], "text");
        assert_eq!(rest("-   \u{FEFF}text ")["msg"], "text ");
        assert_eq!(rest("no element")["msg"], "no element");
        assert_eq!(rest("-")["msg"], "");
    }
}

mod addresses {
    use super::*;

    fn field(name: &str, value: &str) -> (String, Value) {
        let got = rest(&format!("[relay@55555 {name}=\"{value}\"]"));
        (
            got["attacker_ip"].as_str().expect("text").to_owned(),
            got["fields"]["remote_port"].clone(),
        )
    }

    #[test]
    fn of_parameters() {
        let port = |port: &str| json!(port);
        for (value, ip, remote_port) in [
            ("203.0.113.44", "203.0.113.44", Value::Null),
            ("203.0.113.44:40838", "203.0.113.44", port("40838")),
            ("2001:db8::7", "2001:db8::7", Value::Null),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6", Value::Null),
            (
                "2001:db8:1:2:3:4:5:6:443",
                "2001:db8:1:2:3:4:5:6",
                port("443"),
            ),
            ("[2001:db8::7]:4433", "2001:db8::7", port("4433")),
            ("[2001:db8::7\\]:4433", "2001:db8::7", port("4433")),
            ("[2001:db8::7]", "2001:db8::7", Value::Null),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.1", Value::Null),
            ("fe80::1%eth0", "fe80::1", Value::Null),
            ("[fe80::1%eth0]:22", "fe80::1", port("22")),
            ("::", "::", Value::Null),
            ("", "Unknown", Value::Null),
            ("-", "Unknown", Value::Null),
            ("None", "Unknown", Value::Null),
            ("attacker.example:22", "Unknown", Value::Null),
            ("300.1.2.3", "Unknown", Value::Null),
            ("1.2.3", "Unknown", Value::Null),
            ("1.2.3.4:", "Unknown", Value::Null),
            ("1.2.3.4:x", "Unknown", Value::Null),
            ("[1.2.3.4]:5x", "Unknown", Value::Null),
            ("[::1", "Unknown", Value::Null),
        ] {
            assert_eq!(
                field("remote_addr", value),
                (ip.to_owned(), remote_port),
                "{value}"
            );
        }
    }

    #[test]
    fn the_best_name_with_an_address_wins() {
        let got =
            rest(r#"[relay@55555 ip="7.7.7.7" src="2.2.2.2:9" src_ip="" client_ip="3.3.3.3"]"#);
        assert_eq!(
            (&got["attacker_ip"], &got["fields"]["remote_port"]),
            (&json!("2.2.2.2"), &json!("9"))
        );
        for name in [
            "src_ip",
            "src",
            "client_ip",
            "remote_ip",
            "remote_addr",
            "target_ip",
            "ip",
        ] {
            assert_eq!(field(name, "1.2.3.4").0, "1.2.3.4", "{name}");
        }
        assert_eq!(field("dst_ip", "1.2.3.4").0, "Unknown");
        let got = rest(r#"[relay@55555 remote_port="1" src="2.2.2.2:9"]"#);
        assert_eq!(got["fields"]["remote_port"], "1");
    }

    #[test]
    fn in_prose() {
        for (msg, ip) in [
            (
                "Failed password for root from 203.0.113.44 port 42772 ssh2",
                "203.0.113.44",
            ),
            ("Accepted from 10.0.0.1 on 10.0.0.2", "10.0.0.1"),
            ("on 10.0.0.2 From  10.0.0.1.", "10.0.0.1"),
            ("closed from 2001:db8::7 port 1", "2001:db8::7"),
            ("closed from [2001:db8::7]:22", "2001:db8::7"),
            ("rhost=203.0.113.44  user=root", "203.0.113.44"),
            ("logname=x rhost= user=y", "Unknown"),
            ("client: 10.1.1.1, server: web", "10.1.1.1"),
            ("client:10.1.1.1 foo ip=notanip", "10.1.1.1"),
            (
                "CMD uid=0 src=203.0.113.44 cmd=ping src=6.6.6.6",
                "203.0.113.44",
            ),
            ("peer src_ip=1.2.3.4:55, gone", "1.2.3.4"),
            ("peer ip=\"1.2.3.4\"", "1.2.3.4"),
            ("x_src=1.1.1.1 then 2.2.2.2", "1.1.1.1"),
            ("from decoy 10.9.8.7", "10.9.8.7"),
            ("from user from 10.9.8.7", "10.9.8.7"),
            ("ssh v1.2.3.4 hello", "Unknown"),
            ("1.2.3.4.5 or 1.2.3.4x or 300.1.1.1", "Unknown"),
            ("5.6.7.8", "5.6.7.8"),
            ("(5.6.7.8)", "5.6.7.8"),
            ("bare 2001:db8::7 is not looked for", "Unknown"),
            ("a 14:03:07 b", "Unknown"),
            ("", "Unknown"),
        ] {
            let got = rest(&format!("- {msg}"));
            assert_eq!(
                (&got["attacker_ip"], &got["fields"]),
                (&json!(ip), &json!({})),
                "{msg}"
            );
        }
    }

    #[test]
    fn a_parameter_beats_the_text() {
        assert_eq!(
            rest(r#"[relay@55555 ip="1.1.1.1"] from 2.2.2.2 src=3.3.3.3"#)["attacker_ip"],
            "1.1.1.1"
        );
    }
}

mod output {
    use super::*;

    #[test]
    fn keys_stand_in_their_order() {
        let source = Some(Source {
            worker: "w\"1",
            stream: "decky",
            epoch: "00ff",
            offset: u64::MAX,
        });
        let extras = Extras {
            source,
            container: Some("c1"),
            stream: Some("stderr"),
            traceparent: Some("00-t-s-01"),
            ..Extras::default()
        };
        for (octets, lossy) in [(b"x".as_slice(), ""), (b"\xFF", ",\"lossy\":true")] {
            let mut line = b"<134>1 - d1 http - request [relay@55555 src=\"1.2.3.4:5\"] ".to_vec();
            line.extend_from_slice(octets);
            let mut out = b"before".to_vec();
            Record::parse(&line)
                .expect("a record")
                .write_json(&mut out, &extras);
            let text = String::from_utf8(out).expect("UTF-8");
            let shown = String::from_utf8_lossy(octets);
            let expected = format!(
                "before{{\"timestamp\":\"1970-01-01 00:00:00\",\"decky\":\"d1\",\"service\":\"http\",\"event_type\":\"request\",\
                 \"attacker_ip\":\"1.2.3.4\",\"fields\":{{\"src\":\"1.2.3.4:5\",\"remote_port\":\"5\"}},\"msg\":\"{shown}\",\
                 \"raw_line\":\"<134>1 - d1 http - request [relay@55555 src=\\\"1.2.3.4:5\\\"] {shown}\",\
                 \"source_worker\":\"w\\\"1\",\"source_stream\":\"decky\",\"source_epoch\":\"00ff\",\"source_offset\":18446744073709551615,\
                 \"container\":\"c1\",\"stream\":\"stderr\",\
                 \"_trace\":{{\"traceparent\":\"00-t-s-01\"}}{lossy}}}\n"
            );
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn control_octets_and_bad_utf8_stay_one_line_of_json() {
        let line = b"<134>1 - d\x01 http - x [relay@55555 k=\"a\rb\0\xC3\xA9\xFF\\\"\"] m\x1Bn";
        let got = json_of(line, &Extras::default());
        assert_eq!(got["decky"], "d\u{1}");
        assert_eq!(got["fields"]["k"], "a\rb\0é\u{FFFD}\"");
        assert_eq!(
            (&got["msg"], &got["lossy"]),
            (&json!("m\u{1B}n"), &json!(true))
        );
        assert_eq!(got["raw_line"], String::from_utf8_lossy(line).into_owned());
    }

    #[test]
    fn a_stamp_that_cannot_be_read_becomes_the_fallback() {
        let fallback_time = Timestamp::new(1_781_964_187, 999_999_999);
        let extras = Extras {
            fallback_time,
            ..Extras::default()
        };
        for (stamp, expected) in [
            ("-", "2026-06-20 14:03:07"),
            ("x", "2026-06-20 14:03:07"),
            ("2026-06-20T23:59:60Z", "2026-06-20 14:03:07"),
            ("0000-12-31T23:59:59Z", "2026-06-20 14:03:07"),
            ("0001-01-01T00:00:00+14:00", "2026-06-20 14:03:07"),
            ("0001-01-01T00:00:00Z", "0001-01-01 00:00:00"),
            ("2026-12-31T23:30:00-01:00", "2027-01-01 00:30:00"),
        ] {
            let line = format!("<134>1 {stamp} d1 http - x -");
            assert_eq!(
                json_of(line.as_bytes(), &extras)["timestamp"],
                expected,
                "{stamp}"
            );
        }
    }

    #[test]
    fn long_lines_take_the_careful_way() {
        let value = "ab\"c".repeat(40_000).replace('"', "\\\"");
        let got = rest(&format!(
            "[relay@55555 src_ip=\"1.2.3.4\" k=\"{value}\"] end"
        ));
        assert_eq!(got["fields"]["k"].as_str().expect("text").len(), 160_000);
        assert_eq!(
            (&got["attacker_ip"], &got["msg"]),
            (&json!("1.2.3.4"), &json!("end"))
        );
    }
}

/// Lines of the pieces that the rules are about, in any order.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("[relay@55555".to_owned()),
        Just("[a@1".to_owned()),
        Just("]".to_owned()),
        Just("\"".to_owned()),
        Just("\\".to_owned()),
        Just(" ".to_owned()),
        Just("=".to_owned()),
        Just(" src_ip=\"".to_owned()),
        Just("src=".to_owned()),
        Just("from ".to_owned()),
        Just("-".to_owned()),
        Just("CMD ".to_owned()),
        Just("2026-06-20T14:03:07Z a b - c ".to_owned()),
        Just("\u{FEFF}".to_owned()),
        "[0-9a-f:.]{1,12}",
        "[a-z]{1,5}",
        "\\PC",
        "[\\x00-\\x1F]",
    ];
    let octets = prop_oneof![6 => piece.prop_map(String::into_bytes), 1 => proptest::collection::vec(any::<u8>(), 1..3)];
    (
        prop_oneof![9 => Just(true), 1 => Just(false)],
        proptest::collection::vec(octets, 0..24),
    )
        .prop_map(|(header, pieces)| {
            let header: &[u8] = if header {
                b"<134>1 2026-06-20T14:03:07Z d1 http - - "
            } else {
                b"<"
            };
            [header.to_vec(), pieces.concat()].concat()
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_record_is_one_line_of_json_with_all_keys(line in lines()) {
        if let Some(read) = Record::parse(&line) {
            let mut out = Vec::new();
            read.write_json(&mut out, &Extras::default());
            prop_assert_eq!(memchr::memchr(b'\n', &out), Some(out.len() - 1));
            let got: Value = serde_json::from_slice(&out).expect("JSON");
            for key in ["timestamp", "decky", "service", "event_type", "attacker_ip", "msg", "raw_line"] {
                prop_assert!(got[key].is_string(), "{}", key);
            }
            prop_assert!(got["fields"].is_object());
            prop_assert_eq!(&got["raw_line"], &json!(String::from_utf8_lossy(&line)));
            let ip = got["attacker_ip"].as_str().expect("text");
            prop_assert!(ip == "Unknown" || ip.parse::<std::net::IpAddr>().is_ok(), "{}", ip);
        }
    }

    #[test]
    fn strict_messages_are_always_accepted(line in lines()) {
        prop_assert!(crate::parse(&line).is_err() || accepts(&line));
        prop_assert_eq!(Record::parse(&line).is_some(), matches!(classify(&line), Class::Record(_)));
    }

    #[test]
    fn the_careful_way_writes_the_same(line in lines()) {
        let line = String::from_utf8_lossy(&line).into_owned().into_bytes();
        if let Some(read) = Record::parse(&line) {
            let (mut fast, mut careful) = (Vec::new(), Vec::new());
            read.write_json(&mut fast, &Extras::default());
            // A control octet in an extra sends the whole record the careful way.
            read.write_json(&mut careful, &Extras { container: Some("\t"), ..Extras::default() });
            let tail = b",\"container\":\"\\t\"}\n";
            prop_assert!(careful.ends_with(tail));
            careful.truncate(careful.len() - tail.len());
            careful.extend_from_slice(b"}\n");
            prop_assert_eq!(fast, careful);
        }
    }
}
