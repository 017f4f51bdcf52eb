//! Tokens to the count and the nanosecond.

use std::time::{Duration, Instant};

use super::Gcra;

const PERIOD: Duration = Duration::from_secs(3);

#[test]
fn grants_the_burst_and_then_one_a_period() {
    let now = Instant::now();
    let mut bucket = Gcra::new(20, PERIOD, now);
    assert_eq!((0..30).filter(|_| bucket.take(now)).count(), 20);
    let almost = now + PERIOD - Duration::from_nanos(1);
    assert!(!bucket.ready(almost) && !bucket.take(almost));
    assert!(bucket.ready(now + PERIOD));
    assert!(bucket.take(now + PERIOD) && !bucket.take(now + PERIOD));
    // A minute gives twenty, to the token.
    let minute = (0..600).map(|tenth| now + PERIOD + Duration::from_millis(100) * (tenth + 1));
    assert_eq!(minute.filter(|now| bucket.take(*now)).count(), 20);
}

#[test]
fn asking_takes_nothing_and_time_that_goes_back_gives_nothing() {
    let now = Instant::now() + PERIOD;
    let mut bucket = Gcra::new(1, PERIOD, now);
    assert!(bucket.ready(now) && bucket.ready(now));
    assert!(bucket.take(now) && !bucket.take(now - PERIOD));
    assert_eq!(bucket.is_full_at(), now + PERIOD);
}

#[test]
fn goes_on_from_a_stored_point() {
    let now = Instant::now();
    let mut first = Gcra::new(2, PERIOD, now);
    assert!(first.take(now) && first.take(now));
    let mut second = Gcra::full_at(2, PERIOD, first.is_full_at());
    assert_eq!(first, second);
    assert!(!second.take(now) && second.take(now + PERIOD));
}
