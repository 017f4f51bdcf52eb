//! DECNET's rules for what passes.

use proptest::prelude::*;

use super::*;

const EVENTS: [&str; 2] = ["connect", "close"];

fn at(start: Instant, millis: u64) -> Instant {
    start + Duration::from_millis(millis)
}

fn filter(max_keys: usize) -> (Dedupe, Instant) {
    (
        Dedupe::new(Duration::from_secs(1), EVENTS, max_keys),
        Instant::now(),
    )
}

#[test]
fn one_passes_per_window_and_the_window_starts_at_the_one_that_passed() {
    let (mut dedupe, start) = filter(10);
    let passed: Vec<u64> = (0..40)
        .map(|n| n * 100)
        .filter(|ms| dedupe.allow(at(start, *ms), b"1.2.3.4", b"d", b"ssh", b"connect"))
        .collect();
    assert_eq!(passed, [0, 1000, 2000, 3000]);
    assert_eq!(
        dedupe.suppressed().collect::<Vec<_>>(),
        [("connect", 36), ("close", 0)]
    );
    assert_eq!(dedupe.suppressed_total(), 36);
}

#[test]
fn every_part_of_the_key_counts() {
    let (mut dedupe, now) = filter(100);
    let parts: [&[u8]; 3] = [b"a", b"b", b"ab"];
    for ip in parts {
        for decky in parts {
            for service in parts {
                assert!(dedupe.allow(now, ip, decky, service, b"close"));
                assert!(!dedupe.allow(now, ip, decky, service, b"close"));
            }
        }
    }
}

#[test]
fn other_events_and_a_zero_window_pass() {
    let (mut dedupe, now) = filter(10);
    assert!((0..5).all(|_| dedupe.allow(now, b"", b"", b"", b"login")));
    let mut off = Dedupe::new(Duration::ZERO, EVENTS, 10);
    assert!((0..5).all(|_| off.allow(now, b"", b"", b"", b"connect")));
    assert_eq!((dedupe.len(), off.len(), off.suppressed_total()), (0, 0, 0));
}

#[test]
fn forgets_what_is_over_and_then_the_oldest() {
    let (mut dedupe, start) = filter(3);
    for n in 0..3u8 {
        assert!(dedupe.allow(at(start, u64::from(n)), &[n], b"", b"", b"close"));
    }
    assert!(dedupe.allow(at(start, 500), b"new", b"", b"", b"close"));
    assert_eq!((dedupe.len(), dedupe.evicted()), (3, 1));
    // The oldest was forgotten, so it passes too early.
    assert!(dedupe.allow(at(start, 501), &[0], b"", b"", b"close"));
    assert!(dedupe.allow(at(start, 5000), b"late", b"", b"", b"close"));
    assert_eq!((dedupe.len(), dedupe.evicted()), (1, 2));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// With room for every key the filter is what the rule says, event by event.
    #[test]
    fn agrees_with_the_rule(events in prop::collection::vec((0..400u64, 0..4u8, 0..3usize), 0..200)) {
        let (mut dedupe, start) = filter(100);
        let mut last: HashMap<(u8, usize), u64> = HashMap::new();
        let mut clock = 0;
        for (step, ip, event) in events {
            clock += step;
            let name = ["connect", "close", "login"][event];
            let expected = event == 2 || last.get(&(ip, event)).is_none_or(|passed| clock - passed >= 1000);
            if expected {
                last.insert((ip, event), clock);
            }
            prop_assert_eq!(dedupe.allow(at(start, clock), &[ip], b"d", b"s", name.as_bytes()), expected);
        }
        prop_assert_eq!(dedupe.evicted(), 0);
    }
}
