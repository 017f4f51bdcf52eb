//! The decoder's errors with their places, its limits, and its indifference to chunking.

use proptest::prelude::*;

use super::*;
use crate::{encode, encode_control};

/// Plain frames of at most 8192 octets.
fn fault(buf: &[u8]) -> (usize, Fault) {
    let error = Decoder::new(8192).decode(buf).expect_err("must be refused");
    (error.at, error.fault)
}

#[test]
fn each_error_names_its_octet() {
    assert_eq!(fault(b"0 "), (0, Fault::LeadingZero));
    assert_eq!(fault(b"016 x"), (0, Fault::LeadingZero));
    assert_eq!(fault(b"<0>1 x"), (0, Fault::NonDigit(b'<')));
    assert_eq!(fault(b" 3 abc"), (0, Fault::NonDigit(b' ')));
    assert_eq!(fault(b"12\tx"), (2, Fault::NonDigit(b'\t')));
    assert_eq!(fault(b"8193"), (3, Fault::TooLong(8192)));
    assert_eq!(fault(b"11111"), (4, Fault::TooLong(8192)));
    assert_eq!(fault(b"3!abc"), (1, Fault::NonDigit(b'!')));
    assert_eq!(fault(b"!"), (0, Fault::NonDigit(b'!')));
}

#[test]
fn ten_digits_are_enough_for_anyone() {
    let decoder = Decoder::new(u32::MAX);
    assert_eq!(decoder.decode(b"4294967295"), Ok(None));
    let over = decoder.decode(b"4294967296").unwrap_err();
    assert_eq!((over.at, over.fault), (9, Fault::TooLong(u32::MAX)));
    let digits = decoder.decode(b"10000000000").unwrap_err();
    assert_eq!((digits.at, digits.fault), (10, Fault::TooManyDigits));
}

#[test]
fn a_frame_at_the_limit_passes() {
    let decoder = Decoder::new(10);
    assert_eq!(
        decoder.decode(b"10 0123456789x"),
        Ok(Some((Frame::Message(b"0123456789"), 13)))
    );
    assert_eq!(decoder.decode(b"11").unwrap_err().at, 1);
    assert_eq!(
        Decoder::new(0).decode(b"1 x"),
        Ok(Some((Frame::Message(b"x"), 3)))
    );
}

#[test]
fn every_prefix_of_a_frame_needs_more() {
    let wire = b"12 hello world!";
    for cut in 0..wire.len() {
        assert_eq!(
            Decoder::new(12).with_controls().decode(&wire[..cut]),
            Ok(None),
            "cut at {cut}"
        );
    }
}

mod controls {
    use super::*;

    #[test]
    fn are_legal_only_when_asked_for() {
        let wire = b"2!{}3 abc";
        let decoder = Decoder::new(8192).with_controls();
        assert_eq!(decoder.decode(wire), Ok(Some((Frame::Control(b"{}"), 4))));
        assert_eq!(
            decoder.decode(&wire[4..]),
            Ok(Some((Frame::Message(b"abc"), 5)))
        );
        assert_eq!(fault(wire), (1, Fault::NonDigit(b'!')));
    }

    #[test]
    fn have_a_limit_of_their_own() {
        let decoder = Decoder::new(10).with_controls();
        assert_eq!(decoder.decode(b"65536!"), Ok(None));
        assert_eq!(
            decoder.decode(b"65537").unwrap_err().fault,
            Fault::TooLong(MAX_CONTROL)
        );
        let message = decoder.decode(b"11 ").unwrap_err();
        assert_eq!((message.at, message.fault), (2, Fault::TooLong(10)));
        let control = Decoder::new(100_000)
            .with_controls()
            .decode(b"65537!")
            .unwrap_err();
        assert_eq!(
            (control.at, control.fault),
            (5, Fault::TooLong(MAX_CONTROL))
        );
    }

    #[test]
    fn no_message_can_pass_for_one() {
        let mut wire = Vec::new();
        encode(b"!{\"ack\":1}", &mut wire);
        encode(b"2!{}", &mut wire);
        let decoder = Decoder::new(8192).with_controls();
        let (frame, consumed) = decoder.decode(&wire).unwrap().unwrap();
        assert_eq!(frame, Frame::Message(b"!{\"ack\":1}"));
        assert_eq!(
            decoder.decode(&wire[consumed..]).unwrap().unwrap().0,
            Frame::Message(b"2!{}")
        );
    }
}

#[test]
fn whole_keeps_the_frames_before_an_error() {
    let decoder = Decoder::new(8192);
    assert_eq!(decoder.whole(b""), Ok(Batch::default()));
    assert_eq!(
        decoder.whole(b"2 ab3 cde1"),
        Ok(Batch { len: 9, frames: 2 })
    );
    let (batch, error) = decoder.whole(b"2 ab3 cdex").unwrap_err();
    assert_eq!(batch, Batch { len: 9, frames: 2 });
    assert_eq!((error.at, error.fault), (9, Fault::NonDigit(b'x')));
    assert_eq!(error.to_string(), "octet 0x78 in a frame header at octet 9");
}

#[test]
fn the_end_of_the_stream_tells_header_from_message() {
    assert_eq!(at_eof(b""), Ok(()));
    assert_eq!(at_eof(b"12").unwrap_err().fault, Fault::EofInLength);
    assert_eq!(at_eof(b"12 ").unwrap_err().fault, Fault::EofInMessage);
    assert_eq!(
        at_eof(b"3 ab").unwrap_err(),
        FrameError::new(4, Fault::EofInMessage)
    );
}

/// Frames and error of a stream that comes in pieces of the given sizes, over and over.
fn feed(stream: &[u8], sizes: &[usize]) -> (Vec<(bool, Vec<u8>)>, Option<FrameError>) {
    let decoder = Decoder::new(64).with_controls();
    let (mut frames, mut held, mut base, mut fed) = (Vec::new(), Vec::new(), 0, 0);
    for size in sizes.iter().cycle() {
        let piece = &stream[fed..(fed + size).min(stream.len())];
        fed += piece.len();
        held.extend_from_slice(piece);
        loop {
            match decoder.decode(&held) {
                Ok(Some((frame, consumed))) => {
                    frames.push(match frame {
                        Frame::Message(body) => (false, body.to_vec()),
                        Frame::Control(body) => (true, body.to_vec()),
                    });
                    held.drain(..consumed);
                    base += consumed;
                }
                Ok(None) => break,
                Err(error) => return (frames, Some(error.offset_by(base))),
            }
        }
        if fed == stream.len() {
            break;
        }
    }
    let error = at_eof(&held).err().map(|error| error.offset_by(base));
    (frames, error)
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let body = proptest::collection::vec(any::<u8>(), 1..70);
    let frame = (body, any::<bool>()).prop_map(|(body, control)| {
        let mut wire = Vec::new();
        if control {
            encode_control(&body, &mut wire)
        } else {
            encode(&body, &mut wire)
        }
        wire
    });
    let junk = proptest::collection::vec(any::<u8>(), 0..3);
    (proptest::collection::vec(frame, 0..8), junk)
        .prop_map(|(frames, junk)| [frames.concat(), junk].concat())
}

proptest! {
    #[test]
    fn chunking_does_not_show(stream in stream(), sizes in proptest::collection::vec(1_usize..40, 1..6)) {
        let whole = feed(&stream, &[usize::MAX / 2]);
        prop_assert_eq!(&feed(&stream, &sizes), &whole);
        prop_assert_eq!(&feed(&stream, &[1]), &whole);
    }

    #[test]
    fn whole_agrees_with_decode(stream in stream()) {
        let decoder = Decoder::new(64).with_controls();
        let (batch, error) = match decoder.whole(&stream) {
            Ok(batch) => (batch, at_eof(&stream[batch.len..]).err().map(|error| error.offset_by(batch.len))),
            Err((batch, error)) => (batch, Some(error)),
        };
        let (frames, expected) = feed(&stream, &[7]);
        prop_assert_eq!(batch.frames, frames.len());
        prop_assert_eq!(error, expected);
    }

    #[test]
    fn arbitrary_octets_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = Decoder::new(1000).with_controls().whole(&octets);
        let _ = at_eof(&octets);
    }
}
