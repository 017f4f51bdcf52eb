//! The search finds the first difference, in few questions.

use super::*;

fn at(n: u64) -> Offset {
    Offset::new(n).unwrap()
}

fn check(common: u64, end: u64) {
    let mut search = Search::new(Offset::ZERO, at(end));
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
    let mut search = Search::new(at(10), at(20));
    while search.question().is_some() {
        search.answer(false);
    }
    assert_eq!(search.found(), at(10));
    assert!(!search.is_proved());
}
