//! Gaps and duplicates, against the plain definition.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Gap, Key, PATIENCE, Tracker, WINDOW};

fn key(session: &str) -> Key {
    Key {
        uid: Some(1000),
        session: session.to_owned(),
    }
}

/// Feeds numbers of one session, and gives duplicates and gaps as `(from, count)` after all patience.
fn feed(numbers: &[i32]) -> (Vec<i32>, Vec<(u32, u32)>) {
    let (mut tracker, now) = (Tracker::new(8), Instant::now());
    let twice = |number: &&i32| tracker.see(&key("s"), **number, now);
    let duplicates = numbers.iter().filter(twice).copied().collect();
    wait(&mut tracker);
    (duplicates, ranges(&tracker.take_gaps()))
}

/// Lets all patience run out.
fn wait(tracker: &mut Tracker) {
    while let Some(then) = tracker.poll_timeout() {
        tracker.handle_timeout(then);
    }
}

fn ranges(gaps: &[Gap]) -> Vec<(u32, u32)> {
    gaps.iter().map(|gap| (gap.from, gap.count)).collect()
}

#[test]
fn tells_gaps_and_duplicates() {
    let check = |numbers: &[i32], duplicates: &[i32], gaps: &[(u32, u32)]| {
        assert_eq!(
            feed(numbers),
            (duplicates.to_vec(), gaps.to_vec()),
            "{numbers:?}"
        );
    };
    check(&[0, 1, 2, 3], &[], &[]);
    check(&[1, 0, 3, 2], &[], &[]);
    check(&[0, 1, 1, 2, 0], &[1, 0], &[]);
    check(&[0, 3], &[], &[(1, 2)]);
    check(&[0, 2, 4, 3, 4], &[4], &[(1, 1)]);
    check(&[5], &[], &[(0, 5)]);
    check(&[0, 2, 4, 6], &[], &[(1, 1), (3, 1), (5, 1)]);
    check(&[0, 1000], &[], &[(1, 999)]);
    check(&[0, 256], &[], &[(1, 255)]);
    check(&[0, 257], &[], &[(1, 256)]);
    check(&[0, 3, 300], &[], &[(1, 2), (4, 296)]);
    check(&[-1], &[-1], &[]);
}

#[test]
fn numbers_wrap() {
    let (mut tracker, now) = (Tracker::new(8), Instant::now());
    let near = i32::MAX - 2;
    tracker.see(&key("s"), near, now);
    tracker.handle_timeout(now + PATIENCE);
    tracker.take_gaps();
    for number in [i32::MAX - 1, i32::MAX, i32::MIN, i32::MIN + 3] {
        assert!(!tracker.see(&key("s"), number, now), "{number}");
    }
    assert!(tracker.see(&key("s"), i32::MAX, now));
    tracker.handle_timeout(now + PATIENCE);
    let expected = Gap {
        key: key("s"),
        from: (1 << 31) + 1,
        count: 2,
        at_start: false,
    };
    assert_eq!(tracker.take_gaps(), [expected]);
}

#[test]
fn waits_before_it_declares() {
    let (mut tracker, now) = (Tracker::new(8), Instant::now());
    let later = |ms| now + Duration::from_millis(ms);
    assert_eq!(tracker.poll_timeout(), None);
    tracker.see(&key("s"), 0, now);
    assert_eq!(tracker.poll_timeout(), None);
    tracker.see(&key("s"), 2, now);
    assert_eq!(tracker.poll_timeout(), Some(now + PATIENCE));
    // A hole that comes later waits for its own time.
    tracker.see(&key("s"), 4, later(9000));
    tracker.handle_timeout(later(9999));
    assert_eq!(ranges(&tracker.take_gaps()), []);
    tracker.handle_timeout(later(10_000));
    assert_eq!(ranges(&tracker.take_gaps()), [(1, 1)]);
    assert_eq!(tracker.poll_timeout(), Some(later(20_000)));
    // And one that is filled is none.
    tracker.see(&key("s"), 3, later(19_000));
    assert_eq!(tracker.poll_timeout(), None);
    tracker.handle_timeout(later(30_000));
    assert_eq!(ranges(&tracker.take_gaps()), []);
}

#[test]
fn a_sessions_first_gap_is_told_apart() {
    let (mut tracker, now) = (Tracker::new(8), Instant::now());
    tracker.see(&key("s"), 3, now);
    tracker.see(&key("s"), 5, now);
    wait(&mut tracker);
    let gaps = tracker.take_gaps();
    assert_eq!(ranges(&gaps), [(0, 3), (4, 1)]);
    assert_eq!((gaps[0].at_start, gaps[1].at_start), (true, false));
}

#[test]
fn users_have_sessions_of_their_own() {
    let (mut tracker, now) = (Tracker::new(8), Instant::now());
    let other = Key {
        uid: Some(1001),
        ..key("s")
    };
    assert!(!tracker.see(&key("s"), 0, now));
    assert!(!tracker.see(&other, 0, now));
    assert!(tracker.see(&other, 0, now));
}

#[test]
fn forgets_who_was_silent_longest_and_says_what_was_missing() {
    let (mut tracker, now) = (Tracker::new(2), Instant::now());
    tracker.see(&key("a"), 1, now);
    tracker.see(&key("b"), 0, now);
    tracker.take_changes();
    tracker.see(&key("c"), 0, now);
    assert_eq!((tracker.len(), tracker.evicted()), (2, 1));
    assert_eq!(tracker.take_gaps()[0].key, key("a"));
    let changes = tracker.take_changes();
    assert_eq!(changes[&key("a")], None);
    assert!(changes[&key("c")].is_some());
}

#[test]
fn goes_on_after_a_restart() {
    let (mut tracker, now) = (Tracker::new(8), Instant::now());
    for number in [0, 1, 3] {
        tracker.see(&key("s"), number, now);
    }
    let changes = tracker.take_changes();
    let mut next = Tracker::new(8);
    for (key, state) in changes {
        let state = state.expect("a state");
        assert!(!next.restore(key.clone(), &state[1..], now));
        assert!(next.restore(key, &state, now));
    }
    assert_eq!(next.poll_timeout(), Some(now + PATIENCE));
    assert!(next.see(&key("s"), 3, now));
    assert!(!next.see(&key("s"), 5, now));
    next.handle_timeout(now + PATIENCE);
    assert_eq!(ranges(&next.take_gaps()), [(2, 1)]);
    next.handle_timeout(now + 2 * PATIENCE);
    assert_eq!(ranges(&next.take_gaps()), [(4, 1)]);
}

proptest! {
    /// Nobody is late: gaps are exactly the numbers that never came, duplicates those that came before.
    #[test]
    fn agrees_with_the_definition(steps in prop::collection::vec((0u32..100, -20i32..20), 1..400)) {
        let (mut seen, mut numbers, mut at) = (BTreeSet::new(), Vec::new(), 0i32);
        for (jump, back) in steps {
            at += if jump < 90 { 1 } else { jump as i32 - 85 };
            numbers.push((at + back).max(0));
        }
        let expected: Vec<i32> = numbers.iter().filter(|number| !seen.insert(**number)).copied().collect();
        let (duplicates, gaps) = feed(&numbers);
        prop_assert_eq!(duplicates, expected);
        let highest = *seen.last().unwrap();
        let missing: Vec<u32> = (0..highest).filter(|n| !seen.contains(n)).map(|n| n as u32).collect();
        let told: Vec<u32> = gaps.iter().flat_map(|(from, count)| *from..from + count).collect();
        prop_assert_eq!(told, missing);
    }

    /// Whatever comes: nothing panics, no run is empty, runs neither overlap nor go back.
    #[test]
    fn takes_any_numbers(numbers in prop::collection::vec(any::<i32>(), 1..200)) {
        let (mut tracker, now) = (Tracker::new(2), Instant::now());
        let mut end = 0u32;
        for number in numbers {
            tracker.see(&key("s"), number, now);
            for gap in tracker.take_gaps() {
                prop_assert!(gap.count > 0 && gap.from.wrapping_sub(end) < 1 << 31);
                end = gap.from.wrapping_add(gap.count);
            }
        }
        prop_assert!(WINDOW == 256);
    }
}
