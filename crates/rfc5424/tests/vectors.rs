//! The RFC 5424 vectors: every row accepted, refused, read, shown and written as it says.

use rfc5424::{Field, parse, rfc5424_error_json, rfc5424_json};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Vector {
    name: String,
    input_hex: String,
    valid: bool,
    expect: Option<Value>,
    error_field: Option<String>,
    canonical_hex: Option<String>,
}

fn vectors() -> Vec<Vector> {
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("data/rfc5424.json")).expect("JSON");
    assert_eq!(vectors.len(), 133, "rows are missing");
    vectors
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex"))
        .collect()
}

#[test]
fn valid_rows_are_read_and_shown() {
    for vector in vectors().iter().filter(|vector| vector.valid) {
        let (name, input) = (&vector.name, hex(&vector.input_hex));
        let message = parse(&input).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut shown = Vec::new();
        rfc5424_json(&message, &mut shown);
        assert_eq!(shown.pop(), Some(b'\n'), "{name}");
        let mut got: Value = serde_json::from_slice(&shown).expect("JSON");
        // Two members of the vectors are not shown, but known.
        got["timestamp_unix_us"] = json!(message.timestamp.map(|stamp| stamp.time.unix_us()));
        got["msg_encoding"] = match message.msg {
            None => Value::Null,
            Some(msg) if msg.starts_with(b"\xEF\xBB\xBF") => json!("utf8"),
            Some(_) => json!("any"),
        };
        let mut expected = vector
            .expect
            .clone()
            .expect("a valid row says what it means");
        for element in expected["structured_data"]
            .as_array_mut()
            .expect("an array")
        {
            element["params"] = element["params"].take();
        }
        assert_eq!(got, expected, "{name}");
    }
}

#[test]
fn valid_rows_are_written_canonically() {
    for vector in vectors().iter().filter(|vector| vector.valid) {
        let input = hex(&vector.input_hex);
        let expected = vector.canonical_hex.as_deref().map_or(input.clone(), hex);
        let mut written = Vec::new();
        parse(&input).expect("valid").write(&mut written);
        assert_eq!(written, expected, "{}", vector.name);
    }
}

#[test]
fn invalid_rows_fail_in_their_field() {
    for vector in vectors().iter().filter(|vector| !vector.valid) {
        let (name, input) = (&vector.name, hex(&vector.input_hex));
        let error = parse(&input)
            .err()
            .unwrap_or_else(|| panic!("{name} was accepted"));
        assert_eq!(
            Some(error.field.name()),
            vector.error_field.as_deref(),
            "{name}: {error}"
        );
        assert!(error.at <= input.len(), "{name}: {error}");
        let mut shown = Vec::new();
        rfc5424_error_json(&error, &mut shown);
        let shown: Value = serde_json::from_slice(&shown).expect("JSON");
        assert_eq!(shown["at"], error.at, "{name}");
        assert!(
            shown["error"]
                .as_str()
                .expect("text")
                .starts_with(error.field.name()),
            "{name}"
        );
    }
}

#[test]
fn a_prefix_fails_where_it_ends_or_is_legal() {
    for vector in vectors().iter().filter(|vector| vector.valid) {
        let input = hex(&vector.input_hex);
        for cut in 0..input.len() {
            if let Err(error) = parse(&input[..cut]) {
                // Cut inside a character, the character is what is wrong.
                let slack = if matches!(error.field, Field::StructuredData | Field::Msg) {
                    3
                } else {
                    0
                };
                assert!(
                    error.at + slack >= cut && error.at <= cut,
                    "{} cut at {cut}: {error}",
                    vector.name
                );
            }
        }
    }
}
