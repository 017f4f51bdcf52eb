//! Frames written, and read back by the decoder.

use proptest::prelude::*;

use super::*;
use crate::{Decoder, Frame, MAX_FRAME};

fn lines(input: &[u8]) -> (Vec<u8>, Encoded) {
    let mut out = b"kept".to_vec();
    let done = encode_lines(input, &mut out);
    assert_eq!(&out[..4], b"kept", "appends");
    (out.split_off(4), done)
}

#[test]
fn header_is_the_decimal_length_and_a_space() {
    for (len, expected) in [(1, "1 "), (9, "9 "), (10, "10 "), (1_048_576, "1048576 ")] {
        let mut out = Vec::new();
        header(len, &mut out);
        assert_eq!(out, expected.as_bytes());
    }
}

#[test]
fn an_empty_message_has_no_frame() {
    let mut out = Vec::new();
    encode(b"", &mut out);
    encode_control(b"", &mut out);
    assert!(out.is_empty());
}

#[test]
fn lines_become_frames_and_blanks_are_counted() {
    let (out, done) = lines(b"\nab\n\n\rc\0\n5 hello\n");
    assert_eq!(out, b"2 ab3 \rc\x007 5 hello");
    assert_eq!(
        done,
        Encoded {
            frames: 3,
            blanks: 2,
            consumed: 17
        }
    );
}

#[test]
fn an_unfinished_line_stays_with_the_caller() {
    let (out, done) = lines(b"ab\ncd");
    assert_eq!(out, b"2 ab");
    assert_eq!(done.consumed, 3);
    let (out, done) = lines(b"cd");
    assert_eq!((out.len(), done), (0, Encoded::default()));
}

proptest! {
    #[test]
    fn any_lines_come_back(input in proptest::collection::vec("[^\n]{0,40}", 0..40)) {
        let mut text = Vec::new();
        for line in &input {
            text.extend_from_slice(line.as_bytes());
            text.push(b'\n');
        }
        let (wire, done) = lines(&text);
        prop_assert_eq!(done.consumed, text.len());
        prop_assert_eq!(done.frames + done.blanks, input.len());
        let mut rest = &wire[..];
        for line in input.iter().filter(|line| !line.is_empty()) {
            let (frame, consumed) = Decoder::new(MAX_FRAME).decode(rest).unwrap().unwrap();
            prop_assert_eq!(frame, Frame::Message(line.as_bytes()));
            rest = &rest[consumed..];
        }
        prop_assert!(rest.is_empty());
    }
}
