//! Many clients at a time.

use std::io::Write as _;
use std::sync::Arc;

use crate::bed::{Bed, frame, until};

const CLIENTS: i32 = 256;
const FRAMES: i32 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_fifty_six_clients_at_once() {
    let bed = Arc::new(Bed::new());
    let proxy = bed.start();
    let threads: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let bed = Arc::clone(&bed);
            std::thread::spawn(move || {
                let mut stream = bed.connect();
                for n in 0..FRAMES {
                    let wire = frame(&format!("client-{client}"), n * 10..n * 10 + 10);
                    stream.write_all(&wire).unwrap();
                }
                stream
            })
        })
        .collect();
    // All connections stand at the same time.
    let streams: Vec<_> = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect();
    let all = (CLIENTS * FRAMES * 10) as usize;
    until(async || bed.lines().len() >= all).await;
    assert_eq!(bed.ours("connections").await, CLIENTS as u64);
    drop(streams);
    proxy.stop().await.unwrap();
    let records = bed.records();
    assert_eq!(records.len(), all);
    for client in 0..CLIENTS {
        let session = format!("client-{client}");
        let own = records
            .iter()
            .filter(|record| record["session_id"] == session.as_str());
        let numbers: Vec<i64> = own
            .map(|record| record["sequence_number"].as_i64().unwrap())
            .collect();
        let expected: Vec<i64> = (0..i64::from(FRAMES) * 10).collect();
        assert_eq!(numbers, expected, "{session}");
    }
    assert!(bed.ledger().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_too_many_waits_and_loses_nothing() {
    let bed = Bed::new();
    bed.configure("limits = { connections = 2 }");
    let proxy = bed.start();
    let mut first = bed.connect();
    let mut second = bed.connect();
    first.write_all(&frame("first", 0..1)).unwrap();
    second.write_all(&frame("second", 0..1)).unwrap();
    bed.has(2).await;
    let mut third = bed.connect();
    third.write_all(&frame("third", 0..1)).unwrap();
    // It is not served while both are taken: they still are after a whole round of theirs.
    first.write_all(&frame("first", 1..2)).unwrap();
    bed.has(3).await;
    assert_eq!(bed.ours("accepted_total").await, 2);
    drop(second);
    bed.has(4).await;
    assert_eq!(bed.records()[3]["session_id"], "third");
    proxy.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_too_many_is_served_at_the_stop() {
    let bed = Bed::new();
    bed.configure("limits = { connections = 1 }");
    let proxy = bed.start();
    let mut first = bed.connect();
    first.write_all(&frame("first", 0..1)).unwrap();
    bed.has(1).await;
    let mut waiting: Vec<_> = (0..5).map(|_| bed.connect()).collect();
    for (n, stream) in waiting.iter_mut().enumerate() {
        stream
            .write_all(&frame(&format!("waiting-{n}"), 0..3))
            .unwrap();
    }
    proxy.stop().await.unwrap();
    assert_eq!(bed.records().len(), 1 + 5 * 3);
}
