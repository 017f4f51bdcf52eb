//! The search finds the first difference, in few questions.

use super::*;

fn at(n: u64) -> Offset {
    Offset::new(n).unwrap()
}

fn check(common: u64, end: u64) {
    let mut search = Search::new(Offset::ZERO, at(end), 12);
    let mut questions = 0;
    while let Some(question) = search.question() {
        assert!(question.len > 0 && question.len <= MAX_PROVE);
        assert!(u64::from(question.len) <= question.end.get());
        search.answer(question.end.get() <= common);
        questions += 1;
    }
    assert_eq!(search.found(), at(common.min(end)), "of {end}");
    assert!(questions <= 55, "{questions} questions");
}

#[test]
fn finds_the_first_difference() {
    for end in 0..40 {
        for common in 0..=end {
            check(common, end);
        }
    }
    for common in [0, 1, 65_535, 65_536, 1 << 40, (1 << 53) - 1] {
        check(common, (1 << 53) - 1);
    }
}

#[test]
fn proves_nothing_below_its_floor() {
    let mut search = Search::new(at(10), at(20), 12);
    while search.question().is_some() {
        search.answer(false);
    }
    assert_eq!(search.found(), at(10));
    assert!(!search.is_proved());
}

/// What is found when the listener does not hold the bytes of `gaps`, and the files differ from `common` on.
#[track_caller]
fn check_over_gaps(end: u64, common: u64, gaps: &[(u64, u64)], found: u64) {
    let mut search = Search::new(Offset::ZERO, at(end), 12);
    let mut questions = 0;
    while let Some(Question { end, len }) = search.question() {
        let (end, from) = (end.get(), end.get() - u64::from(len));
        if gaps.iter().any(|gap| end > gap.0 && from < gap.1) {
            search.unanswered();
        } else {
            search.answer(end <= common);
        }
        questions += 1;
    }
    assert_eq!(search.found(), at(found), "{gaps:?} {common} of {end}");
    assert!(questions <= 64, "{questions} questions");
}

#[test]
fn asks_about_less_when_a_gap_is_in_the_way() {
    check_over_gaps(300_000, 250_000, &[(100_000, 200_000)], 250_000);
    check_over_gaps(300_000, 200_020, &[(100_000, 200_000)], 200_020);
    check_over_gaps(300_000, 60, &[(0, 25)], 60);
    check_over_gaps(161, 60, &[(0, 25)], 60);
    // Compared by ones on the way, and by twelve in the end.
    check_over_gaps(460, 176, &[(100, 151), (240, 300)], 176);
    // One byte proves nothing.
    check_over_gaps(161, 26, &[(0, 25)], 0);
}

#[test]
fn goes_on_below_a_gap_that_nothing_above_it_proves() {
    for common in [100, 150, 200] {
        check_over_gaps(300, common, &[(100, 200)], 100);
    }
    check_over_gaps(300_000, 40, &[(100_000, 200_000)], 40);
    check_over_gaps(200, 50, &[(100, 200)], 50);
}
