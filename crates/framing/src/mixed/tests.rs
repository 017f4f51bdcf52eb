//! Both framings on one stream, cut anywhere.

use proptest::prelude::*;

use super::{Mixed, Piece};
use crate::Fault;

/// What the stream becomes when it comes in chunks of these sizes, and the error at its end.
fn read(
    wire: &[u8],
    max: u32,
    chunks: impl IntoIterator<Item = usize>,
) -> (Vec<String>, Option<Fault>) {
    let mut mixed = Mixed::new(max);
    let mut chunks = chunks.into_iter();
    let (mut at, mut buf, mut out) = (0, Vec::new(), Vec::new());
    while at < wire.len() {
        let end = wire
            .len()
            .min(at + chunks.next().unwrap_or(usize::MAX).max(1).min(wire.len()));
        buf.extend_from_slice(&wire[at..end]);
        at = end;
        loop {
            match mixed.decode(&buf) {
                Ok(Some((piece, consumed))) => {
                    out.push(text(piece));
                    buf.drain(..consumed);
                }
                Ok(None) => break,
                Err(error) => return (out, Some(error.fault)),
            }
        }
    }
    match mixed.finish(&buf) {
        Ok(piece) => out.extend(piece.map(text)),
        Err(error) => return (out, Some(error.fault)),
    }
    (out, None)
}

fn text(piece: Piece<'_>) -> String {
    match piece {
        Piece::Message(octets) => String::from_utf8_lossy(octets).into_owned(),
        Piece::Part { octets, last } => {
            let end = if last { "." } else { "~" };
            String::from_utf8_lossy(octets).into_owned() + end
        }
    }
}

fn check(wire: &str, expected: &[&str], fault: Option<Fault>) {
    for size in [usize::MAX, 1, 2, 3] {
        let (out, error) = read(wire.as_bytes(), 8, std::iter::repeat(size));
        assert_eq!(out, expected, "{wire:?} in chunks of {size}");
        assert_eq!(error, fault, "{wire:?} in chunks of {size}");
    }
}

#[test]
fn the_first_octet_tells_the_framing_of_each_message() {
    check("<1>a\n3 <2><3>b\n1 x", &["<1>a", "<2>", "<3>b", "x"], None);
    check("3 a\nb\n\nc", &["a\nb", "", "", "c"], None);
    check("-x\r\n", &["-x\r"], None);
    check("", &[], None);
}

#[test]
fn a_line_over_the_limit_comes_in_parts() {
    check("abcdefgh\n", &["abcdefgh"], None);
    check("abcdefghi\nz\n", &["abcdefgh~", "i.", "z"], None);
    check("abcdefgh12345678\n", &["abcdefgh~", "12345678."], None);
    // A digit inside of a line begins no count, and neither does one at the stream's end.
    check("abcdefgh12345678 ", &["abcdefgh~", "12345678~", " ."], None);
    check("abcdefgh1", &["abcdefgh~", "1."], None);
}

#[test]
fn a_count_that_breaks_the_grammar_is_no_line() {
    check("<1>a\n0 x", &["<1>a"], Some(Fault::LeadingZero));
    check("01 x", &[], Some(Fault::LeadingZero));
    check("2x\n", &[], Some(Fault::NonDigit(b'x')));
    check("9 123456789", &[], Some(Fault::TooLong(8)));
    check("99999999999999999999 ", &[], Some(Fault::TooLong(8)));
    check("2026-06-20 hello\n", &[], Some(Fault::TooLong(8)));
}

#[test]
fn a_counted_message_must_be_whole_at_the_end() {
    check("4 <1>", &[], Some(Fault::EofInMessage));
    check("1 a7", &["a"], Some(Fault::EofInLength));
}

proptest! {
    #[test]
    fn any_cut_gives_the_same(wire in "[<>a-c0-9 \n]{0,60}", cuts in prop::collection::vec(1usize..9, 0..40)) {
        let whole = read(wire.as_bytes(), 5, []);
        prop_assert_eq!(read(wire.as_bytes(), 5, cuts), whole);
    }

    #[test]
    fn what_was_framed_comes_back(messages in prop::collection::vec(("[<a-z][ -~]{0,30}", any::<bool>()), 0..12)) {
        let mut wire = Vec::new();
        for (message, counted) in &messages {
            if *counted {
                crate::encode(message.as_bytes(), &mut wire);
            } else {
                wire.extend_from_slice(message.as_bytes());
                wire.push(b'\n');
            }
        }
        let texts: Vec<_> = messages.into_iter().map(|(message, _)| message).collect();
        prop_assert_eq!(read(&wire, 40, [7; 20]), (texts, None));
    }
}
