//! Killed again and again while an archive is written: each line makes its event once.

use std::time::Duration;

use serde_json::Value;

use crate::bed::{Bed, Master, NO_RATE, numbers, until};

/// Kills; `LOGFERRY_KILLS` for more.
pub(crate) fn kills() -> u64 {
    let more = std::env::var("LOGFERRY_KILLS")
        .ok()
        .and_then(|text| text.parse().ok());
    more.unwrap_or(8)
}

/// Without waiting for the same moment twice: a step of a simple generator.
fn next(seed: &mut u64) -> u64 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

#[tokio::test]
async fn every_line_makes_its_event_once() {
    let bed = Bed::archive();
    bed.configure("archive", NO_RATE);
    bed.rules("a-hits.toml", crate::bed::HITS);
    bed.rules(
        "b-held.toml",
        "[[rule]]\nname = \"held\"\npattern = 'held (\\d+)'\ncooldown = \"1s\"\ncooldown_scope = \"rule\"\n",
    );
    let mut master = Master::open(&bed).await;
    let mut handles = Vec::new();
    for worker in ["w1", "w2", "w3"] {
        handles.push(master.epoch(worker, "decky").await.1);
    }
    let (mut seed, mut n) = (7, 0);
    for _ in 0..kills() {
        let program = bed.start();
        for _ in 0..next(&mut seed) % 10 {
            for handle in &handles {
                let mut text = String::new();
                for _ in 0..next(&mut seed) % 40 {
                    n += 1;
                    text.push_str(&format!("hit {n}\nheld {n}\nother\n"));
                }
                master.write(*handle, &text).await;
            }
        }
        // At a moment that nobody chose.
        tokio::time::sleep(Duration::from_micros(next(&mut seed) % 200_000)).await;
        program.kill();
    }
    let killed = bed.events().len();
    assert!(killed > 0, "killed before anything was done");
    let _program = bed.start();
    // Lines of a stream come in order: behind these is nothing.
    let last: Vec<u64> = (n + 1..=n + 3).collect();
    for (n, handle) in last.iter().zip(&handles) {
        master.write(*handle, &format!("hit {n}\nheld {n}\n")).await;
    }
    n += 3;
    let mut events = Vec::new();
    until("the last hits", async || {
        bed.newer(&mut events).await;
        let found: Vec<Value> = events.iter().map(|(_, event)| event.clone()).collect();
        let found = numbers(&found);
        last.iter().all(|n| found.contains(n))
    })
    .await;
    // Once the cooldown is over, the next event tells what was held back.
    let told = |events: &[(i64, Value)]| -> u64 {
        let events = events.iter().map(|(_, event)| event);
        let held = events.filter(|event| event["rule_id"] == "held");
        let of = |event: &Value| {
            let own = u64::from(event["summary"] != true);
            own + event["suppressed_cooldown"].as_u64().unwrap()
        };
        held.map(of).sum()
    };
    let mut lines = n;
    until("what was held back", async || {
        master.write(handles[0], "held 0\n").await;
        lines += 1;
        tokio::time::sleep(Duration::from_millis(300)).await;
        bed.newer(&mut events).await;
        told(&events) == lines
    })
    .await;
    let events: Vec<Value> = events.into_iter().map(|(_, event)| event).collect();
    let mut found = numbers(&events);
    found.sort_unstable();
    assert_eq!(found, (1..=n).collect::<Vec<_>>());
    let mut ids: Vec<&str> = events
        .iter()
        .map(|event| event["id"].as_str().unwrap())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), events.len());
}
