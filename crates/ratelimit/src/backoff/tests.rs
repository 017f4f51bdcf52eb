//! Growth, cap, jitter, reset.

use rand::{SeedableRng, rngs::StdRng};

use super::*;

#[test]
fn doubles_to_the_cap_within_its_jitter_and_starts_again() {
    let mut rng = StdRng::seed_from_u64(7);
    let second = Duration::from_secs(1);
    let mut backoff = Backoff::new(second, 30 * second);
    for _ in 0..20 {
        for full in [1, 2, 4, 8, 16, 30, 30, 30] {
            let wait = backoff.next(&mut rng);
            assert!(
                wait >= full * second / 2 && wait <= full * second,
                "{wait:?} of {full} s"
            );
        }
        backoff.reset();
    }
}

#[test]
fn two_clients_do_not_wait_equally_long() {
    let (mut one, mut two) = (StdRng::seed_from_u64(1), StdRng::seed_from_u64(2));
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(1));
    assert_ne!(backoff.next(&mut one), backoff.next(&mut two));
}

#[test]
fn extreme_bounds_hold() {
    let mut rng = StdRng::seed_from_u64(3);
    let mut none = Backoff::new(Duration::ZERO, Duration::ZERO);
    assert_eq!(none.next(&mut rng), Duration::ZERO);
    let mut capped = Backoff::new(Duration::from_secs(5), Duration::from_secs(1));
    assert!(capped.next(&mut rng) <= Duration::from_secs(1));
}
