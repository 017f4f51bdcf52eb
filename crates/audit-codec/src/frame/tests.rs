//! Limits and refusals of the framing.

use super::{FrameError, MAX_PAYLOAD, Tag, decode_frame, encode_frame};

#[test]
fn header_decides_before_the_payload() {
    let check = |header: [u8; 4], expected| assert_eq!(decode_frame(&header), Err(expected));
    check([1, 0, 0x80, 1], FrameError::TooLong(32769));
    check([2, 0xff, 0xff, 0xff], FrameError::TooLong(0xff_ffff));
    check([3, 0, 0, 0], FrameError::UnknownTag(3));
    // The tag is looked at first.
    check([0xff, 0, 0x80, 1], FrameError::UnknownTag(255));
    // Framings that no release used: a bare length, and four bits of tag.
    check([0, 0, 0x80, 1], FrameError::UnknownTag(0));
    check([0x10, 0, 0, 5], FrameError::UnknownTag(0x10));
}

#[test]
fn waits_for_what_is_missing() {
    let mut wire = Vec::new();
    encode_frame(Tag::Logs, b"abc", &mut wire).unwrap();
    assert_eq!(wire, b"\x01\0\0\x03abc");
    for len in 0..wire.len() {
        assert_eq!(decode_frame(&wire[..len]), Ok(None), "{len} octets");
    }
    // One octet of an unknown tag is no verdict yet: the original reads the header whole.
    assert_eq!(decode_frame(&[9]), Ok(None));
}

#[test]
fn limit_is_inclusive() {
    let mut wire = Vec::new();
    encode_frame(Tag::Envelope, &vec![7; MAX_PAYLOAD], &mut wire).unwrap();
    let (frame, consumed) = decode_frame(&wire).unwrap().unwrap();
    assert_eq!((frame.payload.len(), consumed), (32768, 32772));
    let before = wire.clone();
    let refused = encode_frame(Tag::Envelope, &vec![7; MAX_PAYLOAD + 1], &mut wire);
    assert_eq!(refused, Err(FrameError::TooLong(32769)));
    assert_eq!(wire, before);
}

#[test]
fn empty_payloads_are_legal() {
    for tag in [Tag::Logs, Tag::Envelope] {
        let wire = [tag.octet(), 0, 0, 0];
        let (frame, consumed) = decode_frame(&wire).unwrap().unwrap();
        assert_eq!((frame.tag, frame.payload, consumed), (tag, &b""[..], 4));
    }
}
