//! When losses are told, and what is added up until then.

use std::time::{Duration, Instant};

use super::Losses;
use crate::source::Cause;

#[test]
fn tells_each_cause_at_once_and_then_once_a_minute() {
    let (losses, now) = (Losses::default(), Instant::now());
    assert!(losses.due(now, true).is_empty());
    losses.add(Cause::Overflow, 3, None, 10);
    losses.add(Cause::Overflow, 4, None, 20);
    losses.add(Cause::Malformed, 1, Some(9), 30);
    let told = losses.due(now, false);
    assert_eq!(told.len(), 2);
    let overflow = told
        .iter()
        .find(|gap| gap.cause == Cause::Overflow)
        .unwrap();
    assert_eq!((overflow.lines, overflow.bytes), (Some(7), None));
    assert_eq!((overflow.from_ns, overflow.to_ns), (Some(10), Some(20)));

    losses.add(Cause::Malformed, 1, Some(5), 40);
    assert!(losses.due(now + Duration::from_secs(59), false).is_empty());
    losses.add(Cause::Malformed, 2, Some(6), 50);
    let told = losses.due(now + Duration::from_secs(60), false);
    assert_eq!((told[0].lines, told[0].bytes), (Some(3), Some(11)));
    losses.add(Cause::Malformed, 1, Some(1), 60);
    assert_eq!(losses.due(now + Duration::from_secs(61), true).len(), 1);
}

#[test]
fn what_could_not_be_told_is_kept() {
    let (losses, now) = (Losses::default(), Instant::now());
    losses.add(Cause::Truncated, 1, Some(5), 10);
    let taken = losses.due(now, false);
    losses.add(Cause::Truncated, 2, Some(6), 20);
    losses.again(taken);
    let told = losses.due(now, false);
    assert_eq!((told[0].lines, told[0].bytes), (Some(3), Some(11)));
    assert_eq!((told[0].from_ns, told[0].to_ns), (Some(10), Some(20)));
}
