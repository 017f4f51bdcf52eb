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

/// The places that a listener does not hold, and those that are not the same; all others are.
struct Case<'a> {
    end: u64,
    gaps: &'a [(u64, u64)],
    same: &'a dyn Fn(u64, u64) -> bool,
    proof: u32,
}

impl Case<'_> {
    /// What is found, and with how many questions.
    fn search(&self) -> (u64, u32) {
        let mut search = Search::new(Offset::ZERO, at(self.end), self.proof);
        let mut questions = 0;
        while let Some(Question { end, len }) = search.question() {
            let (end, from) = (end.get(), end.get() - u64::from(len));
            assert!(len > 0 && len <= MAX_PROVE && end <= self.end);
            match self.missing(from, end) {
                Some((from, to)) => search.unanswered(Some(Missing {
                    from: at(from),
                    to: at(to),
                })),
                None => search.answer((self.same)(from, end)),
            }
            questions += 1;
            assert!(questions < 1000, "no end");
        }
        (search.found().get(), questions)
    }

    /// The highest place that is not held.
    fn missing(&self, from: u64, end: u64) -> Option<(u64, u64)> {
        let mut gaps = self.gaps.iter().rev();
        gaps.find(|gap| gap.0 < gap.1 && gap.0 < end && gap.1 > from)
            .copied()
    }

    /// The last place up to `common` that enough bytes in a row prove, or all there are.
    fn best(&self, common: u64) -> u64 {
        let proves = |&end: &u64| {
            self.missing(end.saturating_sub(self.proof.into()), end)
                .is_none()
        };
        let ends = self.gaps.iter().map(|gap| gap.0).chain([common]);
        let best = ends.filter(|end| *end <= common).filter(proves).max();
        best.unwrap_or(0)
    }
}

/// The bytes of `gaps` are not held, those of `differs` are not the same, all others are.
#[track_caller]
fn check_places(end: u64, gaps: &[(u64, u64)], differs: &[(u64, u64)], found: u64) {
    let same = |from, end| !differs.iter().any(|it| end > it.0 && from < it.1);
    let case = Case {
        end,
        gaps,
        same: &same,
        proof: 12,
    };
    let (is, questions) = case.search();
    assert_eq!(is, found, "{gaps:?} {differs:?} of {end}");
    assert!(questions <= 40, "{questions} questions");
}

/// What is found when the listener does not hold the bytes of `gaps`, and the files differ from `common` on.
#[track_caller]
fn check_over_gaps(end: u64, common: u64, gaps: &[(u64, u64)], found: u64) {
    check_places(end, gaps, &[(common, end)], found);
}

#[test]
fn compares_what_is_above_a_gap() {
    check_over_gaps(300_000, 250_000, &[(100_000, 200_000)], 250_000);
    check_over_gaps(300_000, 200_020, &[(100_000, 200_000)], 200_020);
    check_over_gaps(300_000, 60, &[(0, 25)], 60);
    check_over_gaps(161, 60, &[(0, 25)], 60);
    check_over_gaps(460, 176, &[(100, 151), (240, 300)], 176);
    // What lies between two gaps counts, also when nothing above the second one does.
    check_over_gaps(255, 162, &[(104, 137), (162, 174)], 162);
    // One byte proves nothing.
    check_over_gaps(161, 26, &[(0, 25)], 0);
    // Nor does what lies between two gaps, if it is less.
    check_over_gaps(161, 100, &[(10, 25), (30, 50)], 100);
    check_over_gaps(161, 55, &[(10, 25), (30, 50)], 10);
}

#[test]
fn goes_on_below_a_gap_that_nothing_above_it_proves() {
    for common in [100, 150, 200] {
        check_over_gaps(300, common, &[(100, 200)], 100);
    }
    check_over_gaps(300_000, 40, &[(100_000, 200_000)], 40);
    check_over_gaps(200, 50, &[(100, 200)], 50);
}

/// Two lines of one length differ in everything but their LF.
#[test]
fn believes_no_lf_where_a_gap_hides_the_rest() {
    check_places(50, &[(0, 25)], &[(26, 49)], 0);
    check_places(50, &[(0, 49)], &[(20, 49)], 0);
    check_places(1988, &[(1950, 1970)], &[(1972, 1987)], 1950);
    check_places(1988, &[(1940, 1987)], &[(1900, 1940)], 1900);
    check_places(300_000, &[(100_000, 200_000)], &[(50_000, 299_999)], 50_000);
    // What is the same for long enough behind the gap proves what is before it.
    check_places(50, &[(0, 25)], &[], 50);
}

#[test]
fn a_listener_that_does_not_say_what_it_misses_costs_repeats_at_most() {
    for told in [None, Some((0, 1)), Some((40, 60))] {
        let mut search = Search::new(Offset::ZERO, at(60), 12);
        while let Some(Question { end, len }) = search.question() {
            let from = end.get() - u64::from(len);
            if from < 30 && end > at(20) {
                search.unanswered(told.map(|(from, to)| Missing {
                    from: at(from),
                    to: at(to),
                }));
            } else {
                search.answer(true);
            }
        }
        assert!(search.found() <= at(20), "{told:?}: {search:?}");
    }
}

/// Every file of a few bytes with up to two gaps, and what else is the same by chance.
#[test]
fn finds_the_best_of_all_small_files() {
    for end in 0..=12 {
        let places = || (0..=end).flat_map(move |from| (from..=end).map(move |to| (from, to)));
        for first in places() {
            for second in places().filter(|second| first.1 <= second.0) {
                check_every_difference(end, &[first, second]);
            }
        }
    }
}

fn check_every_difference(end: u64, gaps: &[(u64, u64)]) {
    for common in 0..=end {
        for period in 2..5 {
            let same = |from: u64, end: u64| {
                (from..end).all(|at| at < common || at > common && at % period == 0)
            };
            let case = Case {
                end,
                gaps,
                same: &same,
                proof: 3,
            };
            let (found, _) = case.search();
            let best = case.best(common);
            assert_eq!(found, best, "{gaps:?} of {end}, the same up to {common}");
        }
    }
}

/// Large files, with as many questions as a connection has.
#[test]
fn finds_the_best_of_large_files() {
    let mut state = 1_u64;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for bits in [10, 20, 30, 40] {
        for count in 0..6 {
            for _ in 0..200 {
                let end = (1 << bits) + random(1 << bits);
                let mut edges: Vec<u64> = (0..2 * count).map(|_| random(end)).collect();
                edges.sort_unstable();
                let gaps: Vec<_> = edges.chunks(2).map(|edge| (edge[0], edge[1])).collect();
                let common = random(end);
                let case = Case {
                    end,
                    gaps: &gaps,
                    same: &|_, end| end <= common,
                    proof: 2048,
                };
                let (found, questions) = case.search();
                assert_eq!(found, case.best(common), "{gaps:?} of {end}, {common}");
                assert!(questions <= 64, "{questions} questions");
            }
        }
    }
}
