//! One event a key and period.

use std::time::{Duration, Instant};

use super::{MAX_KEYS, Seldom};

#[test]
fn counts_what_it_left_out() {
    let seldom = Seldom::new(Duration::from_secs(60));
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(seldom.allow("a", at(0)), Some(0));
    assert_eq!(seldom.allow("a", at(1)), None);
    assert_eq!(seldom.allow("b", at(1)), Some(0), "keys are apart");
    assert_eq!(seldom.allow("a", at(59)), None);
    assert_eq!(seldom.allow("a", at(60)), Some(2));
    assert_eq!(seldom.allow("a", at(121)), Some(0));
}

#[test]
fn keys_are_bounded() {
    let seldom = Seldom::new(Duration::from_secs(60));
    let now = Instant::now();
    let through = (0..MAX_KEYS * 3)
        .filter(|key| seldom.allow(*key, now).is_some())
        .count();
    assert_eq!(through, MAX_KEYS);
    assert!(seldom.seen.lock().expect("free").len() <= MAX_KEYS);
    let later = now + Duration::from_secs(61);
    assert_eq!(seldom.allow(MAX_KEYS * 3, later), Some(0), "room again");
}
