//! DECNET's rules for what passes.

use proptest::prelude::*;

use super::*;

const EVENTS: [&str; 2] = ["connect", "close"];

const MS: i64 = 1_000_000;

fn filter(max_keys: usize) -> Dedupe {
    Dedupe::new(Duration::from_secs(1), EVENTS, max_keys)
}

#[test]
fn one_passes_per_window_and_the_window_starts_at_the_one_that_passed() {
    let mut dedupe = filter(10);
    let passes = |ms: &i64| dedupe.allow(ms * MS, b"1.2.3.4", b"d", b"ssh", b"connect");
    let passed: Vec<i64> = (0..40).map(|n| n * 100).filter(passes).collect();
    assert_eq!(passed, [0, 1000, 2000, 3000]);
    assert_eq!(
        dedupe.suppressed().collect::<Vec<_>>(),
        [("connect", 36), ("close", 0)]
    );
    assert_eq!(dedupe.suppressed_total(), 36);
}

#[test]
fn every_part_of_the_key_counts() {
    let mut dedupe = filter(100);
    let parts: [&[u8]; 3] = [b"a", b"b", b"ab"];
    for ip in parts {
        for decky in parts {
            for service in parts {
                assert!(dedupe.allow(0, ip, decky, service, b"close"));
                assert!(!dedupe.allow(0, ip, decky, service, b"close"));
            }
        }
    }
}

#[test]
fn other_events_and_a_zero_window_pass() {
    let mut dedupe = filter(10);
    assert!((0..5).all(|_| dedupe.allow(0, b"", b"", b"", b"login")));
    let mut off = Dedupe::new(Duration::ZERO, EVENTS, 10);
    assert!((0..5).all(|_| off.allow(0, b"", b"", b"", b"connect")));
    assert_eq!((dedupe.len(), off.len(), off.suppressed_total()), (0, 0, 0));
}

#[test]
fn a_clock_that_steps_back_does_not_silence_anyone() {
    let mut dedupe = filter(10);
    assert!(dedupe.allow(3_600_000 * MS, b"a", b"", b"", b"close"));
    assert!(!dedupe.allow(3_599_500 * MS, b"a", b"", b"", b"close"));
    assert!(dedupe.allow(0, b"a", b"", b"", b"close"));
    assert!(!dedupe.allow(500 * MS, b"a", b"", b"", b"close"));
    assert!(dedupe.allow(i64::MIN, b"a", b"", b"", b"close"));
    assert!(dedupe.allow(i64::MAX, b"a", b"", b"", b"close"));
}

#[test]
fn two_backlogs_read_one_after_the_other_do_not_disturb_each_other() {
    let mut dedupe = filter(10);
    let mut passes = |ms: i64, decky: &[u8]| dedupe.allow(ms * MS, b"a", decky, b"", b"close");
    assert_eq!(
        [0, 500, 1500, 9000].map(|ms| passes(ms, b"one")),
        [true, false, true, true]
    );
    assert_eq!(
        [0, 500, 1500, 9000].map(|ms| passes(ms, b"two")),
        [true, false, true, true]
    );
}

#[test]
fn forgets_the_kind_that_has_not_passed_for_longest() {
    let mut dedupe = filter(3);
    for n in 0..3u8 {
        assert!(dedupe.allow(i64::from(n) * MS, &[n], b"", b"", b"close"));
    }
    assert!(dedupe.allow(1000 * MS, &[0], b"", b"", b"close"));
    assert!(dedupe.allow(1000 * MS, b"new", b"", b"", b"close"));
    assert_eq!((dedupe.len(), dedupe.evicted()), (3, 1));
    assert!(!dedupe.allow(1000 * MS, &[0], b"", b"", b"close"));
    assert!(!dedupe.allow(1000 * MS, &[2], b"", b"", b"close"));
    // Forgotten, so it passes too early.
    assert!(dedupe.allow(1000 * MS, &[1], b"", b"", b"close"));
    assert!(dedupe.allow(9000 * MS, b"late", b"", b"", b"close"));
    assert_eq!((dedupe.len(), dedupe.evicted()), (3, 2));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// With room for every key the filter is what the rule says, event by event.
    #[test]
    fn agrees_with_the_rule(events in prop::collection::vec((0..400i64, 0..4u8, 0..3usize), 0..200)) {
        let mut dedupe = filter(100);
        let mut last: HashMap<(u8, usize), i64> = HashMap::new();
        let mut clock = 0;
        for (step, ip, event) in events {
            clock += step;
            let name = ["connect", "close", "login"][event];
            let expected = event == 2 || last.get(&(ip, event)).is_none_or(|passed| clock - passed >= 1000);
            if expected {
                last.insert((ip, event), clock);
            }
            prop_assert_eq!(dedupe.allow(clock * MS, &[ip], b"d", b"s", name.as_bytes()), expected);
        }
        prop_assert_eq!(dedupe.evicted(), 0);
    }
}
