//! Who has a stream, and limits.

use super::*;

const W: &str = "web-1";

/// Everybody says something now and then.
fn alive(_: ConnectionId) -> Duration {
    Duration::from_secs(10)
}

fn id(n: u64) -> ConnectionId {
    ConnectionId(n)
}

#[test]
fn the_newest_connection_wins_after_the_older_one_is_over() {
    let now = Instant::now();
    let mut admission = Admission::new(AdmissionLimits::default());
    assert_eq!(admission.claim(W, "a", id(1), now), Claimed::Granted);
    let takeover = |loser| Claimed::Takeover {
        fence: id(1),
        loser,
        conflict: false,
    };
    assert_eq!(admission.claim(W, "a", id(2), now), takeover(None));
    assert_eq!(admission.claim(W, "a", id(3), now), takeover(Some(id(2))));
    assert_eq!(admission.released(W, id(2)), None);
    assert_eq!(admission.released(W, id(1)), Some(id(3)));
    assert_eq!(admission.released(W, id(3)), None);
    assert_eq!(admission.claim(W, "a", id(4), now), Claimed::Granted);
}

#[test]
fn more_than_five_takeovers_a_minute_are_a_conflict() {
    let now = Instant::now();
    let mut admission = Admission::new(AdmissionLimits::default());
    admission.claim(W, "a", id(0), now);
    let mut conflicts = (1..=8).map(|n| {
        let claimed = admission.claim(W, "a", id(n), now + Duration::from_secs(n));
        admission.released(W, id(n - 1));
        matches!(claimed, Claimed::Takeover { conflict: true, .. })
    });
    assert!(conflicts.by_ref().take(5).all(|conflict| !conflict));
    assert!(conflicts.all(|conflict| conflict));
    let later = now + Duration::from_secs(90);
    assert!(matches!(
        admission.claim(W, "a", id(9), later),
        Claimed::Takeover {
            conflict: false,
            ..
        }
    ));
}

#[test]
fn limits_bind_one_worker_only() {
    let now = Instant::now();
    let limits = AdmissionLimits {
        connections: 2,
        streams: 1,
        epochs: 2,
        ..AdmissionLimits::default()
    };
    let mut admission = Admission::new(limits);
    assert_eq!(admission.connect(W, id(1), false, alive), Ok(None));
    assert_eq!(admission.connect(W, id(2), false, alive), Ok(None));
    assert_eq!(admission.connect(W, id(3), false, alive), Err(Code::Limit));
    assert_eq!(admission.connect("web-2", id(4), false, alive), Ok(None));
    assert_eq!(admission.claim(W, "a", id(1), now), Claimed::Granted);
    assert_eq!(
        admission.claim(W, "b", id(2), now),
        Claimed::Refused(Code::Limit)
    );
    assert_eq!(admission.claim("web-2", "b", id(4), now), Claimed::Granted);
    assert!(admission.may_open(W, now) && admission.may_open(W, now));
    assert!(!admission.may_open(W, now) && admission.may_open("web-2", now));
    assert!(admission.may_open(W, now + Duration::from_secs(3600)));
    admission.released(W, id(1));
    assert_eq!(admission.connect(W, id(3), false, alive), Ok(None));
}

#[test]
fn the_longest_silent_connection_makes_room_and_keeps_its_stream_until_it_is_over() {
    let now = Instant::now();
    let limits = AdmissionLimits {
        connections: 3,
        ..AdmissionLimits::default()
    };
    let mut admission = Admission::new(limits);
    for n in [1, 2, 3] {
        assert_eq!(admission.connect(W, id(n), false, alive), Ok(None));
        admission.claim(W, ["a", "b", "c"][n as usize - 1], id(n), now);
    }
    assert_eq!(admission.connect(W, id(4), false, alive), Err(Code::Limit));
    let silent = |known: ConnectionId| Duration::from_secs([20, 30, 10][known.0 as usize - 1]);
    assert_eq!(admission.connect(W, id(4), false, silent), Ok(Some(id(2))));
    let takeover = Claimed::Takeover {
        fence: id(2),
        loser: None,
        conflict: false,
    };
    assert_eq!(admission.claim(W, "b", id(4), now), takeover);
    // Each makes room once, and nobody while too many leave.
    let silent = |known: ConnectionId| Duration::from_secs(60 - known.0);
    for (n, displaced) in [(5, 1), (6, 3)] {
        assert_eq!(
            admission.connect(W, id(n), false, silent),
            Ok(Some(id(displaced)))
        );
    }
    assert_eq!(admission.connect(W, id(7), false, silent), Err(Code::Limit));
    assert_eq!(admission.released(W, id(2)), Some(id(4)));
    assert_eq!(admission.connect(W, id(7), false, silent), Ok(Some(id(4))));
}

#[test]
fn who_has_no_room_for_other_reasons_needs_somebody_to_leave() {
    let mut admission = Admission::new(AdmissionLimits::default());
    let silent = |_| Duration::from_secs(60);
    assert_eq!(admission.connect(W, id(1), true, silent), Err(Code::Limit));
    assert_eq!(admission.connect(W, id(1), false, silent), Ok(None));
    assert_eq!(admission.connect(W, id(2), true, silent), Ok(Some(id(1))));
}

#[test]
fn a_fifth_epoch_closes_the_oldest() {
    let epoch = |n| EpochId::from_bytes([n; 16]);
    let mut admission = Admission::new(AdmissionLimits::default());
    admission.claim(W, "a", id(1), Instant::now());
    for n in [0, 1, 2, 3, 0] {
        assert_eq!(admission.used(W, "a", epoch(n)), None);
    }
    assert_eq!(admission.used(W, "a", epoch(4)), Some(epoch(1)));
}

#[test]
fn forgets_who_is_gone() {
    let now = Instant::now();
    let mut admission = Admission::new(AdmissionLimits::default());
    assert_eq!(admission.connect(W, id(1), false, alive), Ok(None));
    admission.claim(W, "a", id(1), now);
    admission.may_open(W, now);
    admission.released(W, id(1));
    admission.tidy(now);
    assert!(!admission.workers.is_empty());
    admission.tidy(now + Duration::from_secs(3600));
    assert!(admission.workers.is_empty());
}
