//! Lines and patterns that are made to hold others up.

use std::fmt::Write as _;
use std::time::Instant;

use crate::bed::{Bed, Master, NO_RATE, numbers, until};

#[tokio::test]
async fn long_lines_and_greedy_patterns_hold_up_nobody() {
    let bed = Bed::archive();
    bed.configure("archive", NO_RATE);
    bed.rules("a.toml", crate::bed::HITS);
    bed.rules(
        "b.toml",
        "[[rule]]\nname = \"greedy\"\npattern = '(a+)+(a|b|c)*[ab]{20}$'\n[[rule]]\nname = \"front\"\npattern = '^LONG'\ncooldown = \"0s\"\n",
    );
    let mut master = Master::open(&bed).await;
    let (_, decky) = master.epoch("w1", "decky").await;
    let (_, other) = master.epoch("w2", "decky").await;
    for len in [1 << 20, (1 << 20) + 1, 3 << 20, 64 << 10] {
        let text = format!("LONG{} hit 666\nhit 1\n", "a".repeat(len - 4));
        master.write(decky, &text).await;
    }
    master.write(other, "hit 2\n").await;
    let began = Instant::now();
    let _program = bed.start();
    let events = bed.has(9).await;
    assert!(began.elapsed().as_secs() < 40, "{:?}", began.elapsed());
    let mut found = numbers(&events);
    found.sort_unstable();
    assert_eq!(found, [1, 1, 1, 1, 2]);
    let front = events.iter().filter(|event| event["rule_id"] == "front");
    let front: Vec<_> = front.collect();
    assert_eq!(front.len(), 4);
    for event in front {
        assert_eq!(event["truncated"], true);
        assert_eq!(event["message"].as_str().unwrap().chars().count(), 2049);
    }
    until("a count", async || {
        bed.metric("logferry_scanner_oversized_lines_total").await >= 3.0
    })
    .await;
}

#[tokio::test]
async fn a_busy_worker_does_not_delay_the_others_and_memory_is_flat() {
    let bed = Bed::archive();
    bed.rule_for_hits();
    let mut master = Master::open(&bed).await;
    let (_, busy) = master.epoch("busy", "decky").await;
    let mut text = String::new();
    for n in 0..20_000 {
        let _ = writeln!(
            text,
            "<134>1 2026-01-01T00:00:00Z host-{n} app - - - nothing at all to be seen in this line"
        );
    }
    for _ in 0..8 {
        master.write(busy, &text).await;
    }
    let mut quiet = Vec::new();
    for n in 0..200 {
        quiet.push(master.epoch(&format!("quiet-{n}"), "decky").await.1);
    }
    for handle in &quiet {
        master.archive.append(*handle, b"hit 1\n").unwrap();
    }
    master.archive.commit().await.unwrap();
    let program = bed.start();
    bed.has(200).await;
    let (_, status) = bed.page("/status").await.unwrap();
    // The quiet ones were not behind all of the busy one.
    assert!(status["lines"].as_u64().unwrap() <= 160_200);
    until("the end", async || {
        bed.metric("logferry_scanner_lines_total").await >= 160_200.0
    })
    .await;
    assert!(program.memory() < 64 << 20, "{} octets", program.memory());
}
