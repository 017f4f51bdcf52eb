//! Rate, burst, and the promise that waiting as told is enough.

use proptest::prelude::*;

use super::*;

#[test]
fn grants_the_burst_then_the_rate() {
    let start = Instant::now();
    let mut bucket = TokenBucket::new(10, 5, start);
    assert!((0..5).all(|_| bucket.take(1, start).is_ok()));
    let wait = bucket.take(1, start).unwrap_err();
    assert!(
        wait > Duration::from_millis(99) && wait < Duration::from_millis(101),
        "{wait:?}"
    );
    assert!(bucket.take(1, start + wait).is_ok());
    assert!(bucket.take(1, start + wait).is_err());
    // An hour saves up no more than the burst.
    let later = start + Duration::from_secs(3600);
    assert!((0..5).all(|_| bucket.take(1, later).is_ok()));
    assert!(bucket.take(1, later).is_err());
}

#[test]
fn more_than_the_burst_is_delayed_not_refused() {
    let start = Instant::now();
    let mut bucket = TokenBucket::new(10, 5, start);
    assert!(bucket.take(25, start).is_ok());
    let wait = bucket.take(1, start).unwrap_err();
    assert!(
        wait > Duration::from_millis(2099) && wait < Duration::from_millis(2101),
        "{wait:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn never_grants_more_than_rate_and_burst(asked in prop::collection::vec((1..50u64, 0..200u64), 1..100)) {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(100, 50, start);
        let (mut clock, mut granted) = (Duration::ZERO, 0);
        for (count, pause) in asked {
            clock += Duration::from_millis(pause);
            if let Err(wait) = bucket.take(count, start + clock) {
                clock += wait;
                prop_assert!(bucket.take(count, start + clock).is_ok(), "waited {:?}", wait);
            }
            granted += count;
            prop_assert!(granted as f64 <= 50.0 + 100.0 * clock.as_secs_f64() + 0.001);
        }
    }
}
