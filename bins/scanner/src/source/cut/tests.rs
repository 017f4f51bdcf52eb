//! Cutting, also where nothing fits.

use super::{Cut, Frames, frames, lines};

fn cut(octets: &str, within: bool) -> (Cut, Vec<&str>) {
    let mut found = Vec::new();
    let cut = lines(octets.as_bytes(), within, 4, &mut found);
    (cut, found.into_iter().map(|range| &octets[range]).collect())
}

fn done(octets: usize, within: bool, oversized: bool) -> Cut {
    Cut::Done {
        octets,
        within,
        oversized,
    }
}

#[test]
fn whole_lines_are_cut_and_the_rest_stays() {
    assert_eq!(cut("", false), (Cut::More, vec![]));
    assert_eq!(cut("ab", false), (Cut::More, vec![]));
    assert_eq!(cut("abcd", false), (Cut::More, vec![]));
    assert_eq!(
        cut("ab\n\ncd", false),
        (done(4, false, false), vec!["ab", ""])
    );
}

#[test]
fn an_over_long_line_is_cut_once_and_its_rest_passed_over() {
    assert_eq!(
        cut("abcdef\nx\n", false),
        (done(9, false, true), vec!["abcd", "x"])
    );
    assert_eq!(
        cut("x\nabcdef", false),
        (done(8, true, true), vec!["x", "abcd"])
    );
    assert_eq!(cut("ghi", true), (done(3, true, false), vec![]));
    assert_eq!(cut("ghi\n", true), (done(4, false, false), vec![]));
    assert_eq!(cut("ghi\nx\ny", true), (done(6, false, false), vec!["x"]));
}

#[test]
fn however_it_is_cut_the_lines_are_the_same() {
    let text = "a\nbcdefgh\n\nij\nklmnopqrstu\nv\n";
    for step in 1..=text.len() {
        let (mut at, mut end, mut within, mut all) = (0, 0, false, Vec::new());
        while at < text.len() {
            end = (end.max(at) + step).min(text.len());
            let (cut, found) = cut(&text[at..end], within);
            all.extend(found);
            if let Cut::Done {
                octets, within: w, ..
            } = cut
            {
                at += octets;
                within = w;
            }
        }
        assert_eq!(all, ["a", "bcde", "", "ij", "klmn", "v"], "step {step}");
    }
}

#[test]
fn frames_are_lines() {
    let octets = b"1 a3 bc\n10 abcdefghij2 x";
    let mut found = Vec::new();
    let done = frames(octets, 4, &mut found);
    let texts: Vec<&[u8]> = found.iter().map(|range| &octets[range.clone()]).collect();
    assert_eq!(
        (done, texts),
        (Frames::Done(21), vec![&b"a"[..], b"bc", b"abcd"])
    );
    assert_eq!(frames(b"5 ab", 4, &mut found), Frames::More);
    assert_eq!(frames(b"1 a0 b", 4, &mut found), Frames::Bad(3));
}
