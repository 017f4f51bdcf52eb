//! What attempts do to a webhook and to its trigger.

use super::*;

const NOW: i64 = 1_700_000_000_000;
const DAY_MS: i64 = 24 * 3600 * 1000;

fn waiting(attempts: u32) -> Waiting {
    Waiting {
        id: 7,
        event: "e".to_owned(),
        body: "{}".to_owned(),
        truncated: 0,
        attempts,
        rejected: 0,
        due_ms: NOW,
        replayed: false,
    }
}

fn answered(outcome: Outcome, status: u16) -> Sent {
    Sent {
        outcome,
        status: Some(status),
        error: None,
        ..Sent::failed("")
    }
}

fn at(waiting: &Waiting, sent: &Sent, health: &Health, now_ms: i64) -> Settled {
    settle(waiting, sent, health, &Schedule::default(), now_ms, 0.5)
}

#[test]
fn success_ends_a_row_of_failures() {
    let failed = at(&waiting(0), &Sent::failed("reset"), &Health::default(), NOW);
    assert_eq!(failed.attempt.verdict, Verdict::Again(NOW + 5000));
    assert_eq!(failed.attempt.error.as_deref(), Some("reset"));
    assert_eq!(failed.health.failing_since_ms, Some(NOW));
    assert_eq!(failed.health.failures, 1);
    let sent = answered(Outcome::Delivered, 204);
    let done = at(&waiting(1), &sent, &failed.health, NOW + 1);
    assert_eq!(done.attempt.verdict, Verdict::Delivered);
    assert_eq!(done.attempt.error, None);
    let health = Health {
        last_ms: Some(NOW + 1),
        last_status: Some(204),
        ..Health::default()
    };
    assert_eq!(done.health, health);
}

#[test]
fn gone_disables_at_once() {
    let gone = at(
        &waiting(0),
        &answered(Outcome::Gone, 410),
        &Health::default(),
        NOW,
    );
    assert_eq!(gone.attempt.verdict, Verdict::Dead);
    assert!(gone.health.disabled.unwrap().contains("410"));
}

#[test]
fn five_days_of_only_failures_disable() {
    let mut health = at(&waiting(0), &Sent::failed("reset"), &Health::default(), NOW).health;
    let sent = answered(Outcome::Retry { after: None }, 500);
    health = at(&waiting(3), &sent, &health, NOW + 5 * DAY_MS - 1).health;
    assert_eq!(health.disabled, None);
    assert_eq!(health.last_error.as_deref(), Some("answered 500"));
    health = at(&waiting(3), &sent, &health, NOW + 5 * DAY_MS).health;
    assert_eq!(
        health.disabled.as_deref(),
        Some("nothing arrived for 5 days")
    );
    // A replay that arrives takes it back.
    let sent = answered(Outcome::Delivered, 200);
    assert_eq!(
        at(&waiting(0), &sent, &health, NOW + 6 * DAY_MS)
            .health
            .disabled,
        None
    );
}

#[test]
fn a_success_in_between_begins_the_days_anew() {
    let failed = |health: &Health, now| at(&waiting(0), &Sent::failed("reset"), health, now).health;
    let health = failed(&Health::default(), NOW);
    let sent = answered(Outcome::Delivered, 200);
    let health = at(&waiting(0), &sent, &health, NOW + 4 * DAY_MS).health;
    let health = failed(&health, NOW + 6 * DAY_MS);
    assert_eq!(health.disabled, None);
}

#[test]
fn the_last_reason_stands_with_what_was_given_up() {
    let refused = Sent {
        outcome: Outcome::Dead,
        ..Sent::failed("refused: address 127.0.0.1 is denied (loopback)")
    };
    let dead = at(&waiting(0), &refused, &Health::default(), NOW).attempt;
    assert_eq!(dead.verdict, Verdict::Dead);
    assert_eq!(dead.error, refused.error);
    let sent = answered(Outcome::Retry { after: None }, 503);
    let dead = at(&waiting(9), &sent, &Health::default(), NOW).attempt;
    assert_eq!(
        dead.error.as_deref(),
        Some("no attempt is left: answered 503")
    );
    let mut twice = waiting(2);
    twice.rejected = 2;
    let sent = answered(Outcome::Rejected, 404);
    let dead = at(&twice, &sent, &Health::default(), NOW).attempt;
    assert!(dead.rejected);
    assert_eq!(
        dead.error.as_deref(),
        Some("rejected by the receiver: answered 404")
    );
}

#[test]
fn a_changed_url_has_another_mark() {
    assert_eq!(
        url_mark("https://a.example/"),
        url_mark("https://a.example/")
    );
    assert_ne!(
        url_mark("https://a.example/"),
        url_mark("https://a.example/b")
    );
}
