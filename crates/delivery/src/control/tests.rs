//! The control messages, as the protocol's table has them.

use proptest::prelude::*;

use super::*;

const EPOCH: &str = "00112233445566778899aabbccddeeff";

fn hash() -> String {
    "ab".repeat(32)
}

fn check(json: &str) {
    let Decoded::Known(control) = Control::decode(json.as_bytes()).unwrap() else {
        panic!("unknown: {json}");
    };
    assert_eq!(String::from_utf8(control.encode().unwrap()).unwrap(), json);
}

#[test]
fn every_message_is_an_object_of_one_key() {
    let (e, h) = (EPOCH, hash());
    let print = format!(r#"{{"end":9,"len":4,"blake3":"{h}"}}"#);
    check(&format!(
        r#"{{"hello":{{"stream":"s","epoch":"{e}","after":null,"from":0,"size":9,"acked":[{{"archive":"{e}","offset":3}}],"agent":"a","features":[]}}}}"#
    ));
    check(&format!(
        r#"{{"hello":{{"stream":"s","epoch":null,"after":null,"from":0,"size":9,"acked":[],"agent":"","features":["x"],"of":"{e}","base":7}}}}"#
    ));
    check(&format!(
        r#"{{"resume":{{"archive":"{e}","epoch":"{e}","offset":9,"tail":{print},"max_frame":1048576,"features":[]}}}}"#
    ));
    check(&format!(
        r#"{{"epochs":[{{"epoch":"{e}","end":9,"head":{print},"tail":{print}}}]}}"#
    ));
    for code in [
        "revoked",
        "not-enrolled",
        "bad-stream",
        "limit",
        "version",
        "draining",
        "superseded",
    ] {
        check(&format!(
            r#"{{"refuse":{{"code":"{code}","detail":"why"}}}}"#
        ));
    }
    check(r#"{"part":{}}"#);
    check(r#"{"blank":{"count":65536}}"#);
    for cause in [
        "lag-cap",
        "disk-budget",
        "rotated-away",
        "unreadable",
        "imported",
        "elsewhere",
    ] {
        check(&format!(
            r#"{{"skip":{{"to":9007199254740991,"cause":"{cause}"}}}}"#
        ));
    }
    check(r#"{"mark":{"offset":0}}"#);
    for cause in ["rotated", "truncated", "gone"] {
        check(&format!(
            r#"{{"roll":{{"end":9,"epoch":"{e}","cause":"{cause}","lost":null}}}}"#
        ));
    }
    check(&format!(
        r#"{{"ack":{{"epoch":"{e}","offset":9,"ledger":"{h}"}}}}"#
    ));
    check(r#"{"beat":{"backlog_bytes":1,"oldest_ms":2,"clock_ms":3}}"#);
    check(r#"{"drain":{"after_ms":5000}}"#);
    check(&format!(
        r#"{{"prove":{{"epoch":"{e}","end":65536,"len":65536}}}}"#
    ));
    check(r#"{"proof":{"blake3":null}}"#);
    check(r#"{"proof":{"blake3":null,"missing":{"from":7,"to":9}}}"#);
    check(&format!(r#"{{"proof":{{"blake3":"{h}"}}}}"#));
    check(r#"{"renew":{"csr":"x"}}"#);
    check(r#"{"certificate":{"chain":"x"}}"#);
}

#[track_caller]
fn rejects(json: &str) {
    assert!(Control::decode(json.as_bytes()).is_err(), "{json}");
}

#[test]
fn rejects_what_is_no_control_message() {
    for json in [
        "",
        "{",
        "{}",
        "[]",
        "null",
        "\"part\"",
        r#"{"part":{}} "x""#,
        r#"{"part":{},"mark":{"offset":1}}"#,
        r#"{"part":{},"part":{}}"#,
        r#"{"mark":{"offset":1,"offset":1}}"#,
        r#"{"unknown":{"a":1,"a":1}}"#,
        r#"{"mark":{"offset":-1}}"#,
        r#"{"mark":{"offset":1.0}}"#,
        r#"{"mark":{"offset":"1"}}"#,
        r#"{"mark":{}}"#,
        r#"{"blank":{"count":0}}"#,
        r#"{"blank":{"count":65537}}"#,
        r#"{"skip":{"to":1,"cause":"because"}}"#,
        "{\"part\":{}}\n{}",
    ] {
        rejects(json);
    }
    rejects(&format!(
        r#"{{"prove":{{"epoch":"{EPOCH}","end":9,"len":10}}}}"#
    ));
    rejects(&format!(
        r#"{{"prove":{{"epoch":"{EPOCH}","end":99999,"len":65537}}}}"#
    ));
    rejects(&format!(
        r#"{{"roll":{{"end":9,"epoch":"{}","cause":"gone"}}}}"#,
        EPOCH.to_uppercase()
    ));
}

#[test]
fn rejects_offsets_over_two_to_the_53() {
    rejects(r#"{"mark":{"offset":9007199254740992}}"#);
    assert_eq!(Offset::MAX.advance(1), Err(crate::OffsetError(1 << 53)));
    assert!(Offset::MAX.advance(u64::MAX).is_err());
}

#[test]
fn rejects_deep_nesting_and_length() {
    let nested = |depth: usize| format!("{}1{}", r#"{"x":"#.repeat(depth), "}".repeat(depth));
    assert_eq!(
        Control::decode(nested(8).as_bytes()).unwrap(),
        Decoded::Unknown
    );
    rejects(&nested(9));
    rejects(&format!(r#"{{"x":"{}"}}"#, "y".repeat(MAX_CONTROL)));
    let long = Control::Renew {
        csr: "y".repeat(MAX_CONTROL),
    };
    assert!(matches!(long.encode(), Err(ControlError::TooLong(_))));
}

#[test]
fn ignores_what_it_does_not_know() {
    assert_eq!(
        Control::decode(br#"{"later":[1,{"a":null}]}"#).unwrap(),
        Decoded::Unknown
    );
    let known = Control::decode(br#"{"mark":{"offset":1,"colour":"blue"}}"#).unwrap();
    assert_eq!(
        known,
        Decoded::Known(Control::Mark {
            offset: Offset::new(1).unwrap()
        })
    );
    let refuse = Control::decode(br#"{"refuse":{"code":"later","detail":""}}"#).unwrap();
    assert!(matches!(
        refuse,
        Decoded::Known(Control::Refuse(Refuse {
            code: Code::Other,
            ..
        }))
    ));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Control::decode(&bytes);
    }

    #[test]
    fn no_text_makes_it_panic(text in r#"[{}\[\]":,a-z0-9 .-]{0,80}"#) {
        let _ = Control::decode(text.as_bytes());
    }
}
