//! The `parse` command on good, bad and torn input.

use super::parse;
use crate::args::{Format, Input};

fn run(mode: Input, format: Format, input: &[u8]) -> (Vec<serde_json::Value>, Result<(), String>) {
    let mut output = Vec::new();
    let result = parse(
        mode,
        format,
        1_781_964_187_000_000_000,
        &mut &*input,
        &mut output,
    );
    let text = String::from_utf8(output).unwrap();
    let values = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    (values, result.map_err(|error| format!("{error:#}")))
}

#[test]
fn prints_one_value_per_line_an_empty_one_included() {
    let input = b"<134>1 x a b - c -\n\nplain\n<134>1 2026-06-20T16:03:07+02:00 a b - c -";
    let (values, result) = run(Input::Lines, Format::Decnet, input);
    assert_eq!(result, Ok(()));
    assert_eq!(values.len(), 4);
    // A stamp that is none becomes the given time; an offset is converted.
    assert_eq!(values[0]["timestamp"], "2026-06-20 14:03:07");
    assert_eq!(values[3]["timestamp"], "2026-06-20 14:03:07");
    assert!(values[1].is_null() && values[2].is_null());
}

#[test]
fn prints_the_parts_of_a_strict_message() {
    let input = b"<165>1 2003-10-11T22:14:15.003Z host app - ID47 [a@1 k=\"v\"] hi\nplain\n";
    let (values, result) = run(Input::Lines, Format::Rfc5424, input);
    assert_eq!(result, Ok(()));
    assert_eq!(values[0]["structured_data"][0]["params"][0][1], "v");
    assert_eq!(values[0]["msg_hex"], "6869");
    assert_eq!(values[1]["at"], 0);
}

#[test]
fn reads_frames() {
    let (values, result) = run(
        Input::Frames,
        Format::Decnet,
        b"1 x18 <134>1 x a b - c -1 \n",
    );
    assert_eq!(result, Ok(()));
    assert_eq!(values.len(), 3);
    assert_eq!(values[1]["decky"], "a");
}

#[test]
fn ends_at_bad_framing_after_the_whole_frames() {
    for input in [&b"1 x01 y"[..], b"1 x3 y", b"1 x9", b"1 x1!{"] {
        let (values, result) = run(Input::Frames, Format::Decnet, input);
        assert_eq!(values.len(), 1, "{input:?}");
        assert!(result.is_err(), "{input:?}");
    }
}
