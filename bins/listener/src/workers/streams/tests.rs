//! What is remembered, and what is forgotten for it.

use service::Telemetry;

use super::*;

#[test]
fn forgets_who_left_longest_ago_and_nobody_who_is_there() {
    let metrics = Metrics::register(&mut Telemetry::new("test", "0").registry);
    let streams = Streams::default();
    let stays = streams.join("w", "stays", &metrics);
    let beat = Beat {
        backlog_bytes: 7,
        oldest_ms: 1500,
        clock_ms: 1_000_250,
    };
    for n in 0..200 {
        let stream = streams.join("w", &format!("s{n}"), &metrics);
        stream.beat(&beat, 1_000_000, &metrics);
        stream.left();
    }
    stays.beat(&beat, 1_000_000, &metrics);
    let (status, omitted) = streams.status(10);
    assert_eq!((status.len(), omitted), (10, MAX_STREAMS - 10));
    let (status, omitted) = streams.status(usize::MAX);
    assert_eq!((status.len(), omitted), (MAX_STREAMS, 0));
    assert!(status.contains_key("s199") && !status.contains_key("s0"));
    assert_eq!(status["stays"]["connections"], 1);
    assert_eq!(status["stays"]["beat"]["clock_difference_ms"], 250);
    let of = |stream: &str| [("worker", "w".to_owned()), ("stream", stream.to_owned())];
    let backlog = |stream| metrics.backlog_bytes.get_or_create(&of(stream)).get();
    assert_eq!((backlog("s199"), backlog("s0")), (7, 0));
}
