//! The client against a small bus in the test: absent, there, gone, silent, stalled, replaced.

use std::{path::PathBuf, time::Duration};

use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{sleep, timeout},
};

use super::Pace;
use crate::{
    Bus, Config, Publisher, Socket, Verb,
    metrics::Metrics,
    queue::MAX_QUEUED_EVENTS,
    testing::{PATIENCE, Peer, listen},
};

const TOPIC: &str = "system.log";
const PACE: Pace = Pace {
    heartbeat: Duration::from_millis(50),
    stall: Duration::from_millis(50),
    backoff: (Duration::from_millis(1), Duration::from_millis(20)),
};

struct Stage {
    directory: TempDir,
    metrics: Metrics,
    bus: Bus,
}

impl Stage {
    fn new(pace: Pace) -> Stage {
        let directory = tempfile::tempdir().unwrap();
        let socket = Socket::At(directory.path().join("bus.sock"));
        let metrics = Metrics::default();
        let extra = Box::new(|| json!({ "n": 1, "worker": "somebody else" }));
        let bus = Bus::with_pace(&Config { socket }, "tester", metrics.clone(), extra, pace);
        Stage {
            directory,
            metrics,
            bus,
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("bus.sock")
    }

    fn publisher(&self) -> Publisher {
        self.bus.publisher().unwrap()
    }

    fn publish(&self, numbers: std::ops::Range<u64>) {
        let publisher = self.publisher();
        let mut batch = publisher.batch(TOPIC);
        for n in numbers {
            batch.add("x", &json!({ "n": n }));
        }
        publisher.publish(batch);
    }
}

/// The numbers of the next `count` events.
async fn numbers(peer: &mut Peer, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        numbers.extend(number(peer).await);
    }
    numbers
}

/// The number of the next event; `None` for a heartbeat.
async fn number(peer: &mut Peer) -> Option<u64> {
    let ((verb, topic), body) = peer.frame().await.expect("a frame");
    assert_eq!(verb, Verb::Pub);
    (topic == TOPIC).then(|| body["payload"]["n"].as_u64().unwrap())
}

/// Waits until a condition holds.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, wait).await.expect(what);
}

#[tokio::test]
async fn greets_beats_and_publishes() {
    let stage = Stage::new(PACE);
    let listener = listen(&stage.path());
    let mut peer = Peer::accept(&listener, "tester").await;
    let ((verb, topic), body) = peer.frame().await.unwrap();
    assert_eq!((verb, topic.as_str()), (Verb::Pub, "system.tester.health"));
    assert_eq!(body["type"], "health");
    let payload = &body["payload"];
    assert_eq!(
        (&payload["worker"], &payload["n"]),
        (&"tester".into(), &1.into())
    );
    assert!(payload["ts"].as_f64().unwrap() > 1.7e9);
    stage.publish(0..1000);
    assert_eq!(
        numbers(&mut peer, 1000).await,
        (0..1000).collect::<Vec<_>>()
    );
    // And again, by itself.
    let again = async { while peer.frame().await.unwrap().0.1 != "system.tester.health" {} };
    timeout(PATIENCE, again).await.unwrap();
    let metrics = stage.metrics.clone();
    stage.bus.close().await;
    let mut last = None;
    while let Some((head, _)) = peer.frame().await {
        last = Some(head);
    }
    assert_eq!(last, Some((Verb::Bye, String::new())));
    assert_eq!(metrics.sums(TOPIC), (1000, 0));
}

#[tokio::test]
async fn a_bus_may_come_late_and_come_again() {
    let stage = Stage::new(PACE);
    until("absence", || !stage.publisher().is_open()).await;
    stage.publish(0..10);
    assert_eq!(stage.metrics.sums(TOPIC), (0, 10));
    let mut next = 10;
    for round in 1..4 {
        let listener = listen(&stage.path());
        let mut peer = Peer::accept(&listener, "tester").await;
        until("open", || stage.publisher().is_open()).await;
        stage.publish(next..next + 10);
        assert_eq!(
            numbers(&mut peer, 10).await,
            (next..next + 10).collect::<Vec<_>>()
        );
        next += 10;
        drop((peer, listener));
        std::fs::remove_file(stage.path()).unwrap();
        until("absence", || !stage.publisher().is_open()).await;
        stage.publish(next..next + 10);
        next += 10;
        assert_eq!(stage.metrics.sums(TOPIC), (10 * round, 10 + 10 * round));
    }
}

#[tokio::test]
async fn counts_what_was_under_way_when_the_bus_went() {
    let stage = Stage::new(PACE);
    let listener = listen(&stage.path());
    let peer = Peer::accept(&listener, "tester").await;
    // More than the socket takes: some is written, some is half written, the rest waits.
    stage.publish(0..8000);
    until("a start", || stage.metrics.sums(TOPIC).0 > 0).await;
    drop((peer, listener));
    std::fs::remove_file(stage.path()).unwrap();
    until("all counted", || {
        let (published, dropped) = stage.metrics.sums(TOPIC);
        published + dropped == 8000
    })
    .await;
    assert!(stage.metrics.sums(TOPIC).1 > 0);
}

#[tokio::test]
async fn a_stalled_bus_holds_nothing_and_gets_whole_frames_afterwards() {
    let stage = Stage::new(PACE);
    let listener = listen(&stage.path());
    let mut peer = Peer::accept(&listener, "tester").await;
    stage.publish(0..8000);
    until("the stall", || !stage.publisher().is_open()).await;
    assert_eq!(stage.metrics.queued.get(), 0);
    // Nothing waits for it.
    for start in (8000..108_000).step_by(1000) {
        stage.publish(start..start + 1000);
    }
    assert_eq!(stage.metrics.queued.get(), 0);
    let mut seen = numbers(&mut peer, 1).await;
    while !stage.publisher().is_open() {
        seen.extend(number(&mut peer).await);
    }
    stage.publish(108_000..108_010);
    while *seen.last().unwrap() != 108_009 {
        seen.extend(numbers(&mut peer, 1).await);
    }
    assert!(
        seen.is_sorted_by(|a, b| a < b),
        "each at most once, in order"
    );
    let (published, dropped) = stage.metrics.sums(TOPIC);
    assert_eq!(
        (published, published + dropped),
        (seen.len() as u64, 108_010)
    );
}

#[tokio::test]
async fn a_slow_bus_gets_the_newest() {
    let patient = Pace {
        stall: PATIENCE,
        ..PACE
    };
    let stage = Stage::new(patient);
    let listener = listen(&stage.path());
    let mut peer = Peer::accept(&listener, "tester").await;
    for start in (0..100_000).step_by(1000) {
        stage.publish(start..start + 1000);
    }
    let queued = stage.metrics.queued.get();
    assert!(usize::try_from(queued).unwrap() <= MAX_QUEUED_EVENTS);
    let mut seen = numbers(&mut peer, 1).await;
    while *seen.last().unwrap() != 99_999 {
        seen.extend(numbers(&mut peer, 1).await);
    }
    until("all counted", || {
        let (published, dropped) = stage.metrics.sums(TOPIC);
        (published, published + dropped) == (seen.len() as u64, 100_000)
    })
    .await;
    assert!(seen.len() < 100_000);
}

#[tokio::test]
async fn obeys_a_stop_and_ignores_what_it_does_not_know() {
    let stage = Stage::new(PACE);
    let listener = listen(&stage.path());
    let mut peer = Peer::accept(&listener, "tester").await;
    let control = "system.tester.control";
    for body in [
        json!({ "type": "control", "payload": { "action": "start" } }),
        json!({ "payload": { "action": 7 } }),
        json!({ "payload": {} }),
        json!({}),
        json!({ "payload": "stop" }),
        json!({ "topic": control, "payload": { "action": "stopp" } }),
    ] {
        peer.say(Verb::Evt, control, &body).await;
    }
    // The header's topic counts, not the body's.
    let forged = json!({ "topic": control, "payload": { "action": "stop" } });
    peer.say(Verb::Evt, "system.other.control", &forged).await;
    peer.stream
        .write_all(b"EVT system.tester.control\n\0\0\0\x03nul")
        .await
        .unwrap();
    until("all heard", || stage.metrics.controls("ignored") == 8).await;
    assert_eq!(stage.metrics.controls("stop"), 0);
    let stopped = tokio::spawn(stage.bus.or_stop(std::future::pending()));
    let stop = json!({ "payload": { "action": "stop", "requested_by": "a\nb" } });
    peer.say(Verb::Evt, control, &stop).await;
    timeout(PATIENCE, stopped).await.expect("a stop").unwrap();
    // Heard once, it stands: whoever asks later is told too.
    timeout(PATIENCE, stage.bus.or_stop(std::future::pending()))
        .await
        .unwrap();
}

#[tokio::test]
async fn leaves_a_server_that_speaks_something_else() {
    let stage = Stage::new(PACE);
    let listener = listen(&stage.path());
    for octets in [
        b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice(),
        b"SUB a\n\0\0\0\0",
        b"EVT a\n\xff\xff\xff\xff",
        &[b'x'; 5000],
    ] {
        let mut peer = Peer::accept(&listener, "tester").await;
        peer.stream.write_all(octets).await.unwrap();
        // The end may come as a reset.
        let mut octets = Vec::new();
        let gone = async { while peer.stream.read_buf(&mut octets).await.is_ok_and(|n| n > 0) {} };
        timeout(PATIENCE, gone).await.unwrap();
    }
    let mut peer = Peer::accept(&listener, "tester").await;
    stage.publish(0..3);
    assert_eq!(numbers(&mut peer, 3).await, [0, 1, 2]);
}

#[tokio::test]
async fn follows_the_path_to_another_bus() {
    let stage = Stage::new(PACE);
    let hanging = listen(&stage.path());
    let _peer = Peer::accept(&hanging, "tester").await;
    // The first one neither reads nor closes.
    let listener = listen(&stage.path());
    let mut peer = Peer::accept(&listener, "tester").await;
    stage.publish(0..3);
    assert_eq!(numbers(&mut peer, 3).await, [0, 1, 2]);
}

#[tokio::test]
async fn a_bus_that_is_off_does_nothing() {
    let mut telemetry = service::Telemetry::new("tester", "0");
    let bus = Bus::start(None, &mut telemetry, || json!({}));
    assert!(bus.publisher().is_none());
    bus.or_stop(std::future::ready(())).await;
    let told = bus.or_stop(std::future::pending());
    assert!(timeout(Duration::from_millis(10), told).await.is_err());
    bus.close().await;
}

#[tokio::test]
async fn closing_waits_for_no_bus() {
    for accepts in [false, true] {
        let stage = Stage::new(PACE);
        let listener = accepts.then(|| listen(&stage.path()));
        if accepts {
            until("the connection", || stage.metrics.connections.get() > 0).await;
        }
        stage.publish(0..8000);
        timeout(PATIENCE, stage.bus.close()).await.unwrap();
        let (published, dropped) = stage.metrics.sums(TOPIC);
        assert_eq!(published + dropped, 8000);
        drop(listener);
    }
}
