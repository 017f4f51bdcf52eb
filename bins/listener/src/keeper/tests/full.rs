//! A disk that is full until something is removed.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use archive::StreamKey;
use delivery::Offset;

use super::links::{EPOCH, hear, joined, open, say};
use super::*;
use crate::intake::{News, Seat};
use crate::merge::Merged;

/// Nothing can be written as long as a file is there, once it is named.
fn full_with(file: &Arc<OnceLock<PathBuf>>) -> Fault {
    let file = Arc::clone(file);
    Fault::new(move |step| match file.get() {
        Some(file) if step == Step::Write && file.exists() => Err(ErrorKind::StorageFull.into()),
        _ => Ok(()),
    })
}

async fn stands(seat: &Seat, from: u64) -> News {
    let bytes = Bytes::from([b"x".repeat(SEGMENT as usize - 1), b"\n".to_vec()].concat());
    let (from, room) = (Offset::new(from).unwrap(), None);
    say(seat, Said::Lines { from, bytes, room }).await;
    say(seat, Said::Commit).await;
    hear(seat).await
}

#[tokio::test]
async fn retention_ends_the_wait_for_a_full_disk() {
    let file = Arc::default();
    let Bench {
        dir,
        intake,
        inbox,
        metrics,
        keeper,
        stop,
    } = bench_with(full_with(&file), "retention = { max_bytes = \"1MiB\" }").await;
    let writing = async {
        let (seat, _) = open(&intake, &joined("w")).await;
        let key = StreamKey::new("w", "decky").unwrap();
        for n in 0..4 {
            if n == 3 {
                // Merged, so that it may go; and nothing more comes to the archive until it does.
                let merged = Merged {
                    whole: true,
                    epochs: HashMap::from([(archive::EpochId::from_bytes([7; 16]), 3 * SEGMENT)]),
                };
                inbox.publish(&key, merged);
                let first = format!("archive/w/decky/{EPOCH}/{:020}.log", 0);
                let first = dir.path().join(first);
                assert!(first.exists());
                file.set(first).unwrap();
            }
            let News::Committed { offset, .. } = stands(&seat, n * SEGMENT).await else {
                panic!("it does not stand")
            };
            assert_eq!(offset.get(), (n + 1) * SEGMENT);
        }
        drop((seat, intake));
    };
    let ((), kept) = tokio::join!(writing, keeper.run());
    kept.unwrap();
    let failures = &metrics.commit_failures;
    assert!(failures.get_or_create(&[("reason", "full")]).get() > 0);
    drop(stop);
}

/// More than half of what may be kept, and more than a segment may have: each line has one of its own.
const SEGMENT: u64 = 600_000;
