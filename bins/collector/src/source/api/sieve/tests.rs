//! A window that begins anywhere: what is kept is right, or nothing is.

use docker_demux::Lines;

use super::*;
use crate::source::taken::advance;

fn lines(of: &[(Stream, i64, &str)]) -> Lines {
    let mut lines = Lines::default();
    for (stream, time_ns, text) in of {
        let start = lines.bytes.len();
        lines.bytes.extend_from_slice(text.as_bytes());
        let end = lines.bytes.len();
        let line = Line {
            start,
            end,
            time_ns: *time_ns,
            stream: *stream,
            part: None,
            terminated: true,
        };
        lines.index.push(line);
    }
    lines
}

/// Takes `count` lines, then reads again from `from` on; gives how many lines were kept, if the sieve passed.
fn again(of: &[(Stream, i64, &str)], count: usize, from: usize, held: [bool; 2]) -> Option<usize> {
    let mut cursor = Cursor {
        held,
        ..Cursor::default()
    };
    advance(&mut cursor, &lines(&of[..count]));
    let mut sieve = Sieve::new(&cursor, from == 0);
    let window = lines(&of[from..]);
    let kept = window
        .iter()
        .filter(|(line, octets)| sieve.keep(line, octets))
        .count();
    sieve.passed().then_some(kept)
}

use Stream::{Stderr, Stdout};

#[test]
fn equal_lines_of_one_stamp_need_their_beginning() {
    let of = [
        (Stdout, 1, "a"),
        (Stdout, 2, "same"),
        (Stdout, 2, "same"),
        (Stdout, 2, "same"),
        (Stdout, 3, "b"),
    ];
    for count in 1..=of.len() {
        for from in 0..count {
            let kept = again(&of, count, from, [false; 2]);
            // From the second "same" on nobody knows how many there were.
            let known = from == 0 || (count == of.len() && from < count - 1);
            assert_eq!(
                kept,
                known.then_some(of.len() - count),
                "taken {count}, read again from {from}"
            );
        }
    }
}

#[test]
fn a_line_that_had_begun_needs_the_one_before_it() {
    let of = [
        (Stdout, 1, "a"),
        (Stdout, 2, "b"),
        (Stderr, 3, "x"),
        (Stderr, 4, "y"),
        (Stderr, 5, "z"),
        (Stdout, 6, "long"),
    ];
    // With stderr alone in the window the beginning of the long line may be cut off.
    assert_eq!(again(&of, 5, 2, [false; 2]), Some(1));
    assert_eq!(again(&of, 5, 2, [true, false]), None);
    assert_eq!(
        again(&of, 5, 1, [true, false]),
        None,
        "nor is the count of b's stamp known"
    );
    assert_eq!(again(&of, 5, 0, [true, false]), Some(1));
}

#[test]
fn lines_of_another_stream_before_the_last_one_are_taken() {
    let of = [
        (Stdout, 9, "a"),
        (Stderr, 2, "x"),
        (Stdout, 5, "b"),
        (Stderr, 4, "y"),
        (Stderr, 3, "z"),
    ];
    assert_eq!(again(&of, 3, 0, [false; 2]), Some(2));
    assert_eq!(again(&of, 4, 0, [false; 2]), Some(1));
    assert_eq!(again(&of, 4, 1, [false; 2]), Some(1));
    assert_eq!(
        again(&of, 5, 4, [false; 2]),
        None,
        "z may be one of several"
    );
}
