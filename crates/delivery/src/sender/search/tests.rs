//! The search finds the first difference, in few questions.

use super::*;

fn at(n: u64) -> Offset {
    Offset::new(n).unwrap()
}

fn check(common: u64, end: u64) {
    let mut search = Search::new(Offset::ZERO, at(end), 4096);
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
    let mut search = Search::new(at(10), at(20), 4096);
    while search.question().is_some() {
        search.answer(false);
    }
    assert_eq!(search.found(), at(10));
    assert!(!search.is_proved());
}

#[test]
fn asks_about_less_when_a_gap_is_in_the_way() {
    // The listener holds 0..100,000 and 200,000..300,000; the files differ from 250,000 on.
    let mut search = Search::new(Offset::ZERO, at(300_000), 4096);
    while let Some(Question { end, len }) = search.question() {
        let (end, from) = (end.get(), end.get() - u64::from(len));
        if end > 100_000 && from < 200_000 {
            search.unanswered();
        } else {
            search.answer(end <= 250_000);
        }
    }
    assert!(search.found() <= at(250_000));
    assert!(search.found() >= at(100_000 - 1));
}
