//! Following a worker's own log through rotation.

use std::fs;

use crate::bed::{Bed, append, numbers, until};

#[tokio::test]
async fn a_log_is_followed_through_rotation_and_restart() {
    let bed = Bed::file();
    bed.rule_for_hits();
    let line = "<134>1 2026-01-01T00:00:00.5Z gate-1 gate - raw [logferry@32473 container=\"gate\" id=\"0123456789ab\" stream=\"stderr\"] 2026-01-01T00:00:00.123456789Z hit 1\n";
    append(&bed.log(), line);
    let program = bed.start();
    let events = bed.has(1).await;
    let event = &events[0];
    for (key, value) in [
        ("workload_id", "w1/gate"),
        ("container_id", "0123456789ab"),
        ("container_name", "gate"),
        ("stream", "stderr"),
        ("message", "hit 1"),
        ("ts", "2026-01-01T00:00:00.5Z"),
        ("source_stream", "decky"),
        ("source", "logscanner"),
        ("severity", "warn"),
        ("rule_id", "hit"),
    ] {
        assert_eq!(event[key], value, "{event}");
    }
    assert_eq!(event["id"].as_str().unwrap().len(), 26);
    append(&bed.log(), "hit 2\nhit 3");
    bed.has(2).await;
    fs::rename(bed.log(), bed.data().join("decky.log.1")).unwrap();
    append(&bed.log(), "hit 4\n");
    // The unended line of the file that was rotated is taken as it is.
    bed.has(4).await;
    program.kill();
    append(&bed.log(), "hit 5\n");
    fs::rename(
        bed.data().join("decky.log.1"),
        bed.data().join("decky.log.2"),
    )
    .unwrap();
    fs::rename(bed.log(), bed.data().join("decky.log.1")).unwrap();
    append(&bed.log(), "hit 6\n");
    let _program = bed.start();
    let mut found = numbers(&bed.has(6).await);
    found.sort_unstable();
    assert_eq!(found, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn a_first_start_at_the_end_passes_over_what_is_there() {
    let bed = Bed::file();
    bed.rule_for_hits();
    bed.configure("decky.log", "worker = \"w1\"");
    append(&bed.log(), "hit 1\nhit");
    let program = bed.start();
    until("a start", async || {
        bed.page("/status")
            .await
            .is_some_and(|(_, status)| status["ready"] == true)
    })
    .await;
    append(&bed.log(), " 2\nhit 3\n");
    bed.has(1).await;
    assert!(program.stop());
    append(&bed.log(), "hit 4\n");
    let _program = bed.start();
    assert_eq!(numbers(&bed.has(2).await), [3, 4]);
}
