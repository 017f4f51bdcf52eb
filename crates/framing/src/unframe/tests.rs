//! Lines out of frames: what is taken, where it stops, and that reads do not show.

use proptest::prelude::*;

use super::*;
use crate::{Frame, encode, encode_control};

fn decoder() -> Decoder {
    Decoder::new(64).with_controls()
}

#[track_caller]
fn check(wire: &[u8], lines: &[u8], rest: &[u8], error: Option<(usize, Fault)>) {
    let mut buf = wire.to_vec();
    let (done, found) = match decoder().unframe(&mut buf) {
        Ok(done) => (done, None),
        Err((done, error)) => (done, Some((error.at, error.fault))),
    };
    assert_eq!(&buf[..done.len], lines);
    assert_eq!(&buf[done.consumed..], rest);
    assert_eq!(done.octets() + done.frames, lines.len());
    let first = lines.iter().position(|b| *b == b'\n').unwrap_or(0);
    assert_eq!(done.first, first);
    assert_eq!(found, error);
}

#[test]
fn makes_lines_and_stops_where_they_end() {
    check(b"", b"", b"", None);
    check(b"1 a2 bc", b"a\nbc\n", b"", None);
    check(b"1 a2 b", b"a\n", b"2 b", None);
    check(b"1 a2", b"a\n", b"2", None);
    check(b"1 a2!{}1 b", b"a\n", b"2!{}1 b", None);
    check(b"2!{}1 b", b"", b"2!{}1 b", None);
    check(b"3 \r\0\xff", b"\r\0\xff\n", b"", None);
}

#[test]
fn keeps_the_lines_before_an_error() {
    check(b"1 ax", b"a\n", b"x", Some((3, Fault::NonDigit(b'x'))));
    check(b"1 a65 ", b"a\n", b"65 ", Some((5, Fault::TooLong(64))));
    check(
        b"1 a3 b\nc1 d",
        b"a\n",
        b"3 b\nc1 d",
        Some((6, Fault::LineFeed)),
    );
    check(b"1 \n", b"", b"1 \n", Some((2, Fault::LineFeed)));
}

#[test]
fn a_line_feed_counts_where_it_comes() {
    // In a frame that is not whole, and in what may follow a control: nothing yet.
    check(b"1 a1 b3 \nx", b"a\nb\n", b"3 \nx", None);
    check(b"1 a2!\n\n1 b", b"a\n", b"2!\n\n1 b", None);
    // Frames behind the first one are not taken for it.
    check(
        b"1 a1 b2 c\n2 \nd",
        b"a\nb\n",
        b"2 c\n2 \nd",
        Some((9, Fault::LineFeed)),
    );
}

/// What a connection says: messages (`Some`, without LF) and controls, in order.
fn stream() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let body = proptest::collection::vec(
        any::<u8>().prop_map(|b| if b == b'\n' { 0 } else { b }),
        1..60,
    );
    let frames = proptest::collection::vec((body, proptest::bool::weighted(0.2)), 0..20);
    frames.prop_map(|frames| {
        let (mut wire, mut lines) = (Vec::new(), Vec::new());
        for (body, control) in frames {
            if control {
                encode_control(&body, &mut wire);
                lines.extend_from_slice(b"(control)\n");
            } else {
                encode(&body, &mut wire);
                lines.extend_from_slice(&body);
                lines.push(b'\n');
            }
        }
        (wire, lines)
    })
}

/// The lines of a stream that comes in pieces of these sizes, over and over, and what was left.
fn feed(wire: &[u8], sizes: &[usize]) -> (Vec<u8>, usize) {
    let (mut lines, mut held, mut fed) = (Vec::new(), Vec::new(), 0);
    for size in sizes.iter().cycle() {
        let piece = &wire[fed..(fed + size).min(wire.len())];
        fed += piece.len();
        held.extend_from_slice(piece);
        loop {
            let done = decoder().unframe(&mut held).expect("legal");
            lines.extend_from_slice(&held[..done.len]);
            held.drain(..done.consumed);
            match decoder().decode(&held).expect("legal") {
                Some((Frame::Control(_), consumed)) => {
                    held.drain(..consumed);
                    lines.extend_from_slice(b"(control)\n");
                }
                Some((Frame::Message(_), _)) => panic!("a whole message was left"),
                None => break,
            }
        }
        if fed == wire.len() {
            break;
        }
    }
    (lines, held.len())
}

proptest! {
    #[test]
    fn chunking_does_not_show((wire, lines) in stream(), sizes in proptest::collection::vec(1_usize..50, 1..6)) {
        prop_assert_eq!(feed(&wire, &[usize::MAX / 2]), (lines.clone(), 0));
        prop_assert_eq!(feed(&wire, &[1]), (lines.clone(), 0));
        prop_assert_eq!(feed(&wire, &sizes), (lines, 0));
    }

    #[test]
    fn arbitrary_octets_never_panic(mut octets in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = decoder().unframe(&mut octets);
    }
}
