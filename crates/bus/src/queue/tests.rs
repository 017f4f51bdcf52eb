//! Bounds, what goes first, and that every event is counted once.

use serde_json::json;

use super::{MAX_QUEUED_EVENTS, MAX_QUEUED_OCTETS, Publisher, Queue, Reason};
use crate::{MAX_BODY, decode, metrics::Metrics};

const TOPIC: &str = "system.log";

fn publisher() -> Publisher {
    Publisher(Queue::new(7, Metrics::default()).into())
}

fn publish(to: &Publisher, numbers: std::ops::Range<usize>, filler: &str) {
    let mut batch = to.batch(TOPIC);
    for n in numbers {
        batch.add("x", &json!({ "n": n, "filler": filler }));
    }
    to.publish(batch);
}

/// The numbers of what waits, in order.
fn numbers(of: &Publisher) -> Vec<usize> {
    let mut numbers = Vec::new();
    while let Some((_, chunk)) = of.0.take() {
        let mut at = 0;
        for end in chunk.ends {
            let (frame, used) = decode(&chunk.octets[at..]).unwrap().unwrap();
            at += used;
            assert_eq!(at, end);
            let body: serde_json::Value = serde_json::from_slice(frame.body).unwrap();
            numbers.push(usize::try_from(body["payload"]["n"].as_u64().unwrap()).unwrap());
        }
    }
    numbers
}

#[test]
fn keeps_the_newest() {
    let publisher = publisher();
    for start in (0..20_000).step_by(1000) {
        publish(&publisher, start..start + 1000, "");
    }
    let kept = numbers(&publisher);
    assert!(kept.len() <= MAX_QUEUED_EVENTS && kept.len() > MAX_QUEUED_EVENTS - 1000);
    assert_eq!(kept, (20_000 - kept.len()..20_000).collect::<Vec<_>>());
    assert_eq!(
        publisher.0.metrics.sums(TOPIC),
        (0, 20_000 - kept.len() as u64)
    );
}

#[test]
fn is_bounded_in_octets() {
    let publisher = publisher();
    let filler = "x".repeat(100_000);
    publish(&publisher, 0..100, &filler);
    let kept = numbers(&publisher);
    assert!(kept.len() > 30 && kept.len() <= MAX_QUEUED_OCTETS / filler.len());
    assert_eq!(kept.last(), Some(&99));
    assert_eq!(publisher.0.metrics.sums(TOPIC).1, 100 - kept.len() as u64);
}

#[test]
fn refuses_what_no_frame_can_hold() {
    let publisher = publisher();
    publish(&publisher, 0..2, &"x".repeat(MAX_BODY));
    publish(&publisher, 2..3, "");
    let mut batch = publisher.batch(TOPIC);
    batch.add("x", &json!(["no object"]));
    assert!(batch.is_empty());
    publisher.publish(batch);
    assert_eq!(numbers(&publisher), [2]);
    assert_eq!(publisher.0.metrics.sums(TOPIC), (0, 3));
}

#[test]
fn takes_nothing_while_shut() {
    let publisher = publisher();
    publish(&publisher, 0..5, "");
    publisher.0.shut(Reason::Absent);
    assert!(!publisher.is_open());
    publish(&publisher, 5..8, "");
    publisher.forgo(TOPIC, 2);
    assert_eq!(numbers(&publisher), [0; 0]);
    assert_eq!(publisher.0.metrics.sums(TOPIC), (0, 10));
    publisher.0.open();
    assert!(publisher.is_open());
    publish(&publisher, 8..9, "");
    assert_eq!(numbers(&publisher), [8]);
}

#[test]
fn gives_every_event_an_id_of_its_own() {
    let publisher = publisher();
    publish(&publisher, 0..3, "");
    publish(&publisher, 3..6, "");
    let mut ids = std::collections::BTreeSet::new();
    while let Some((_, chunk)) = publisher.0.take() {
        let mut rest = chunk.octets.as_slice();
        while let Some((frame, used)) = decode(rest).unwrap() {
            rest = &rest[used..];
            let body: serde_json::Value = serde_json::from_slice(frame.body).unwrap();
            assert_eq!(
                (&body["v"], &body["type"], &body["topic"]),
                (&1.into(), &"x".into(), &TOPIC.into())
            );
            assert!(body["ts"].as_f64().unwrap() > 1.7e9);
            let id = body["id"].as_str().unwrap().to_owned();
            assert!(
                id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()),
                "{id}"
            );
            ids.insert(id);
        }
    }
    assert_eq!(ids.len(), 6);
}
