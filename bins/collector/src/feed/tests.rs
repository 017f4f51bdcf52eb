//! Events cut out of records: the same as made of them.

use rfc5424::decnet::{Extras, Record};
use serde_json::{Value, json};

use super::Keys;

fn json_of(line: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let extras = Extras {
        container: Some("a\",\"fields\":{"),
        stream: Some("stdout"),
        ..Extras::default()
    };
    Record::parse(line.as_bytes())
        .unwrap()
        .write_json(&mut out, &extras);
    out
}

#[test]
fn an_event_has_the_five_keys_of_its_record() {
    let keys = Keys::default();
    for line in [
        r#"<134>1 2026-06-20T14:03:07Z cache-01 redis - command [relay@55555 src="192.0.2.9"] x"#,
        r#"<134>1 - - - - - - text"#,
        r#"<134>1 2026-06-20T14:03:07Z a b - c - 1.2.3.4"#,
        // Texts that look like keys.
        r#"<134>1 2026-06-20T14:03:07Z ","fields":{ ","event_type":"x - ","attacker_ip":" [relay@55555 fields="{" event_type="y" decky="z"]"#,
        "<134>1 2026-06-20T14:03:07Z h\u{e9}\u{1} s\\ - e\\\" -",
        "<134>1 2026-06-20T14:03:07Z a 1 - - -  2026-06-20T14:03:07Z H bash - command [t k=\"v\"] CMD uid=0 src=1.2.3.4 cmd=ls",
    ] {
        let octets = json_of(line);
        let record: Value = serde_json::from_slice(&octets).unwrap();
        let parts = keys.parts(&octets).unwrap();
        let payload = [b"{", parts.middle, b",", parts.time, b"}"].concat();
        let expected = json!({
            "decky": record["decky"], "service": record["service"], "event_type": record["event_type"],
            "attacker_ip": record["attacker_ip"], "timestamp": record["timestamp"],
        });
        assert_eq!(
            serde_json::from_slice::<Value>(&payload).unwrap(),
            expected,
            "{line}"
        );
        let event_type: Value = serde_json::from_slice(parts.event_type).unwrap();
        assert_eq!(event_type, record["event_type"], "{line}");
    }
}

#[test]
fn what_is_no_record_has_no_parts() {
    let keys = Keys::default();
    for line in ["", "{", "{}", "{\"timestamp\":\"x\"}", "[1,\"decky\":"] {
        assert!(keys.parts(line.as_bytes()).is_none(), "{line}");
    }
}
