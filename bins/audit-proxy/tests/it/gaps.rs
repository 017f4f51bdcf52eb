//! What sequence numbers tell, across restarts, and who is told.

use std::io::Write as _;
use std::process::Command;

use serde_json::Value;

use crate::bed::{Bed, SESSION, frame, until};

/// Gaps of the ledger as `(from, records)`.
pub(crate) fn sequence_gaps(bed: &Bed, session: &str) -> Vec<(u64, u64)> {
    let of_session =
        |fact: &&Value| fact["kind"] == "gap" && fact["epoch"] == session && fact["base"].is_u64();
    let range = |fact: &Value| {
        (
            fact["base"].as_u64().unwrap(),
            fact["records"].as_u64().unwrap(),
        )
    };
    bed.ledger().iter().filter(of_session).map(range).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn holes_and_repeats_are_told_also_over_a_restart() {
    let bed = Bed::new();
    let proxy = bed.start();
    let mut client = bed.connect();
    client.write_all(&frame(SESSION, 0..5)).unwrap();
    client.write_all(&frame(SESSION, 7..10)).unwrap();
    client.write_all(&frame(SESSION, 3..5)).unwrap();
    bed.has(10).await;
    until(async || bed.ours("sequence_duplicates_total").await == 2).await;
    proxy.stop().await.unwrap();
    assert_eq!(sequence_gaps(&bed, SESSION), []);

    let proxy = bed.start();
    let mut client = bed.connect();
    // 8 came before the restart. 256 newer numbers than 5 and 6 make them a gap.
    client.write_all(&frame(SESSION, 8..9)).unwrap();
    for n in 1..27 {
        client
            .write_all(&frame(SESSION, n * 10..n * 10 + 10))
            .unwrap();
    }
    bed.has(271).await;
    until(async || bed.ours("sequence_gaps_total").await == 1).await;
    assert_eq!(bed.ours("sequence_missing_records_total").await, 2);
    proxy.stop().await.unwrap();
    assert_eq!(sequence_gaps(&bed, SESSION), [(5, 2)]);
    // Repeats are kept: nobody can suppress a record by taking its number first.
    assert_eq!(bed.records().len(), 271);
    let repeats: u64 = bed
        .ledger()
        .iter()
        .filter(|fact| fact["kind"] == "duplicate" && fact["epoch"] == SESSION)
        .map(|fact| fact["records"].as_u64().unwrap())
        .sum();
    assert_eq!(repeats, 3);

    let output = Command::new(env!("CARGO_BIN_EXE_logferry-audit-proxy"))
        .args(["gaps", "--json", "--config"])
        .arg(bed.path("audit-proxy.toml"))
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let gap: Value = serde_json::from_str(text.trim()).expect("one line");
    let keys = [
        "worker", "stream", "epoch", "from", "to", "bytes", "cause", "at",
    ];
    assert!(keys.iter().all(|key| gap.get(key).is_some()), "{gap}");
    assert_eq!(
        (
            &gap["stream"],
            &gap["epoch"],
            &gap["from"],
            &gap["to"],
            &gap["cause"]
        ),
        (
            &"audit".into(),
            &SESSION.into(),
            &5.into(),
            &7.into(),
            &"sequence".into()
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_begins_in_the_middle_says_so() {
    let bed = Bed::new();
    let proxy = bed.start();
    let mut client = bed.connect();
    for n in 1..=30 {
        client
            .write_all(&frame(SESSION, n * 10..n * 10 + 10))
            .unwrap();
    }
    bed.has(300).await;
    proxy.stop().await.unwrap();
    let told = bed.ledger();
    assert_eq!(sequence_gaps(&bed, SESSION), [(0, 10)]);
    assert_eq!(told[0]["cause"], "session-start");
}
