//! What goes out at once, what is folded, and clocks that are set.

use super::*;

const PACE: Pace = Pace {
    per_minute: 60,
    group_wait: Duration::ZERO,
};

const NOW: i64 = 1_700_000_000_000;

fn fold(event: &str) -> Place {
    Place::Fold(event.to_owned())
}

#[test]
fn a_full_bucket_goes_out_at_once_and_what_is_more_is_folded() {
    let mut flood = Flood::new(None);
    for at in 0..60 {
        assert_eq!(flood.place(&format!("e{at}"), PACE, NOW), Place::New(NOW));
    }
    assert_eq!(flood.place("e60", PACE, NOW), Place::New(NOW + 1000));
    assert_eq!(flood.place("e61", PACE, NOW), fold("e60"));
    assert_eq!(flood.place("e62", PACE, NOW + 999), fold("e60"));
    // The one token that came back is e60's.
    assert_eq!(flood.place("e63", PACE, NOW + 1000), Place::New(NOW + 2000));
    assert_eq!(flood.place("e64", PACE, NOW + 1500), fold("e63"));
    // After a quiet minute and the debt, it is full again.
    let later = NOW + 70_000;
    for at in 0..60 {
        assert_eq!(
            flood.place(&format!("f{at}"), PACE, later),
            Place::New(later)
        );
    }
    assert_eq!(flood.place("f60", PACE, later), Place::New(later + 1000));
}

#[test]
fn a_steady_flood_sends_no_more_than_the_rate() {
    let mut flood = Flood::new(None);
    let sent = (0..600_000)
        .step_by(10)
        .filter(|ms| matches!(flood.place("e", PACE, NOW + ms), Place::New(_)))
        .count();
    // Ten minutes, and the burst before them.
    assert!((600..=661).contains(&sent), "{sent}");
}

#[test]
fn events_wait_for_others_when_asked_to() {
    let pace = Pace {
        group_wait: Duration::from_secs(30),
        ..PACE
    };
    let mut flood = Flood::new(None);
    assert_eq!(flood.place("a", pace, NOW), Place::New(NOW + 30_000));
    assert_eq!(flood.place("b", pace, NOW + 29_999), fold("a"));
    assert_eq!(
        flood.place("c", pace, NOW + 30_000),
        Place::New(NOW + 60_000)
    );
}

#[test]
fn an_open_webhook_stays_open_over_a_restart_but_not_over_a_wrong_clock() {
    let open = Open {
        event: "a".to_owned(),
        until_ms: NOW + 500,
    };
    let mut flood = Flood::new(Some(open.clone()));
    assert_eq!(flood.place("b", PACE, NOW), fold("a"));
    assert_eq!(flood.place("c", PACE, NOW + 500), Place::New(NOW + 500));
    let mut flood = Flood::new(Some(open));
    let before = NOW - 3_600_000;
    assert_eq!(flood.place("b", PACE, before), Place::New(before));
}

#[test]
fn a_clock_that_goes_back_grants_nothing() {
    let pace = Pace {
        per_minute: 1,
        ..PACE
    };
    let mut flood = Flood::new(None);
    assert_eq!(flood.place("a", pace, NOW), Place::New(NOW));
    let before = NOW - 600_000;
    assert_eq!(flood.place("b", pace, before), Place::New(before + 60_000));
}
