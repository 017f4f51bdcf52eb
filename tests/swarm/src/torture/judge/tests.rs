//! The judge must be able to say no.

use super::*;

const LINES: u64 = 400;

fn voices() -> Vec<(Voice, u64)> {
    let container = Voice::new("torture-0", true, 7);
    let program = Voice::new("torture-1", false, 8);
    vec![(container, LINES), (program, LINES)]
}

/// What both voices say, in turns.
fn said() -> Vec<Vec<u8>> {
    let voices = voices();
    let lines = (0..LINES).flat_map(|n| {
        let kept = |(voice, _): &(Voice, u64)| {
            let said = voice.line(n);
            voice.kept(&said).then_some(said.bytes)
        };
        voices.iter().filter_map(kept).collect::<Vec<_>>()
    });
    lines.collect()
}

fn judge(lines: &[Vec<u8>]) -> Verdict {
    let voices = voices();
    let mut comparison = Comparison::new("a file", Of::Lines, &voices);
    lines.iter().for_each(|line| comparison.line(line));
    comparison.finish()
}

/// The place of a line with a number.
fn numbered(lines: &[Vec<u8>]) -> usize {
    let at = lines
        .iter()
        .skip(100)
        .position(|line| number(line).is_some());
    100 + at.expect("one in four has a number")
}

#[test]
fn takes_what_was_said() {
    assert_eq!(judge(&said()), Verdict::default());
}

#[test]
fn counts_what_is_lost() {
    for at in [0, 7, 200, said().len() - 1] {
        let mut lines = said();
        lines.remove(at);
        let verdict = judge(&lines);
        assert!(verdict.lost >= 1, "{at}: {verdict:?}");
        assert_eq!(verdict.foreign, 0, "{at}: {verdict:?}");
    }
}

#[test]
fn counts_what_is_repeated() {
    for at in [0, 7, 200, said().len() - 1] {
        let mut lines = said();
        lines.insert(at, lines[at].clone());
        let verdict = judge(&lines);
        assert!(!verdict.is_clean(), "{at}: {verdict:?}");
    }
    let mut lines = said();
    let at = numbered(&lines);
    lines.insert(at + 50, lines[at].clone());
    let verdict = judge(&lines);
    assert_eq!(
        (verdict.lost, verdict.repeated, verdict.reordered),
        (0, 1, 0)
    );
}

#[test]
fn counts_what_is_out_of_place() {
    let mut lines = said();
    let at = numbered(&lines);
    let line = lines.remove(at);
    lines.insert(at + 50, line);
    let verdict = judge(&lines);
    assert_eq!(
        (verdict.lost, verdict.repeated, verdict.reordered),
        (0, 0, 1)
    );
}

#[test]
fn counts_what_nobody_said() {
    for foreign in [
        "hello",
        "torture-0 says n=\"3\" and more",
        "torture-9 n=\"1\"",
    ] {
        let mut lines = said();
        lines.insert(50, foreign.as_bytes().to_vec());
        assert_eq!(judge(&lines).foreign, 1, "{foreign}");
    }
}
