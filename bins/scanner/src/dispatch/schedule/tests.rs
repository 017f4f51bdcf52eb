//! Waits, jitter, wishes of receivers, and the end.

use super::*;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const RETRY: Outcome = Outcome::Retry { after: None };

#[test]
fn the_default_is_that_of_standard_webhooks() {
    let schedule = Schedule::default();
    let waits: Vec<Next> = (1..=10)
        .map(|attempts| schedule.next(RETRY, attempts, 0, 0.5))
        .collect();
    let hours = |hours: u64| Next::Again(secs(hours * 3600));
    assert_eq!(
        waits,
        [
            Next::Again(secs(5)),
            Next::Again(secs(300)),
            Next::Again(secs(1800)),
            hours(2),
            hours(5),
            hours(10),
            hours(14),
            hours(20),
            hours(24),
            Next::Dead("no attempt is left"),
        ]
    );
}

#[test]
fn waits_vary_by_a_fifth() {
    let schedule = Schedule::new(vec![secs(100)]);
    for (unit, wait) in [(0.0, 80), (0.5, 100), (1.0, 120), (7.0, 120)] {
        assert_eq!(schedule.next(RETRY, 1, 0, unit), Next::Again(secs(wait)));
    }
}

#[test]
fn a_receivers_wish_lengthens_a_wait_and_never_shortens_it() {
    let schedule = Schedule::new(vec![secs(100)]);
    for (asked, wait) in [(0, 100), (99, 100), (3600, 3600)] {
        let outcome = Outcome::Retry {
            after: Some(secs(asked)),
        };
        assert_eq!(schedule.next(outcome, 1, 0, 0.5), Next::Again(secs(wait)));
    }
}

#[test]
fn a_refusal_by_the_receiver_is_tried_three_times() {
    let schedule = Schedule::default();
    let next = |rejected| schedule.next(Outcome::Rejected, rejected, rejected, 0.5);
    assert_eq!(next(1), Next::Again(secs(5)));
    assert_eq!(next(2), Next::Again(secs(300)));
    assert_eq!(next(3), Next::Dead("rejected by the receiver"));
    // Attempts that failed otherwise do not count.
    let next = schedule.next(Outcome::Rejected, 7, 1, 0.5);
    assert_eq!(next, Next::Again(secs(14 * 3600)));
}

#[test]
fn what_is_final_is_final_at_once() {
    let schedule = Schedule::default();
    let next = |outcome| schedule.next(outcome, 1, 0, 0.5);
    assert_eq!(next(Outcome::Delivered), Next::Delivered);
    assert_eq!(next(Outcome::Gone), Next::Gone);
    assert_eq!(next(Outcome::Dead), Next::Dead("refused"));
}

#[test]
fn the_longest_wait_covers_jitter_and_wishes() {
    assert_eq!(Schedule::default().longest(), secs(24 * 3600).mul_f64(1.2));
    assert_eq!(Schedule::new(vec![secs(1)]).longest(), secs(3600));
}
