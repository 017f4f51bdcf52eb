//! Retention and compression: what goes, what stays, and a clock that nobody should believe.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use archive::{
    Archive, Clock, Compression, EpochId, Form, Options, Origin, Proof, Retained, Retention, Step,
    StreamKey,
};

use crate::support::{Data, die, fail, run, small};

/// A wall clock that a test sets, and one that only goes on.
#[derive(Clone, Default)]
struct Hands {
    passed_min: Arc<AtomicU64>,
    set_min: Arc<AtomicI64>,
}

impl Hands {
    fn clock(&self) -> Clock {
        let hands = self.clone();
        Clock::new(move || {
            let passed = Duration::from_secs(60 * hands.passed_min.load(Ordering::Relaxed));
            let set = 60 * hands.set_min.load(Ordering::Relaxed);
            let wall = Duration::from_secs((1_700_000_000 + set) as u64) + passed;
            (UNIX_EPOCH + wall, passed)
        })
    }

    fn pass(&self, minutes: u64) {
        self.passed_min.fetch_add(minutes, Ordering::Relaxed);
    }

    fn set(&self, minutes: i64) {
        self.set_min.fetch_add(minutes, Ordering::Relaxed);
    }
}

fn key(worker: &str) -> StreamKey {
    StreamKey::new(worker, "decky").unwrap()
}

fn id(n: u8) -> EpochId {
    EpochId::from_bytes([n; 16])
}

/// Appends so many closed segments of 100 bytes.
async fn write(archive: &mut Archive, worker: &str, segments: usize) {
    let handle = archive
        .open_epoch(&key(worker), id(1), Form::Log, 0, Origin::default())
        .await
        .unwrap();
    for _ in 0..segments {
        archive.append(handle, &[b'x'; 100]).unwrap();
        archive.close_segment(handle).unwrap();
        archive.commit().await.unwrap();
    }
}

fn days(days: u64) -> Option<Duration> {
    Some(Duration::from_secs(days * 24 * 3600))
}

async fn retain(
    archive: &mut Archive,
    max_age: Option<Duration>,
    max_bytes: Option<u64>,
) -> Retained {
    let limits = Retention { max_age, max_bytes };
    archive.retain(limits, &|_, _| None).await.unwrap()
}

#[tokio::test]
async fn keeps_so_many_bytes_of_each_worker() {
    let data = Data::new();
    let mut archive = data.open(small()).await;
    write(&mut archive, "a", 10).await;
    write(&mut archive, "b", 3).await;
    let handle = archive
        .open_epoch(&key("a"), id(2), Form::Log, 0, Origin::default())
        .await
        .unwrap();
    archive.append(handle, &[b'y'; 150]).unwrap();
    archive.commit().await.unwrap();
    // 1,150 bytes of a; the open segment counts and stays.
    let done = retain(&mut archive, None, Some(460)).await;
    assert_eq!((done.segments, done.bytes, done.more), (7, 700, false));
    assert_eq!(data.files("archive/a", ".log").len(), 4);
    assert_eq!(data.files("archive/b", ".log").len(), 3);
    assert_eq!(
        retain(&mut archive, None, Some(460)).await,
        Retained::default()
    );
    let done = retain(&mut archive, None, Some(10)).await;
    assert_eq!(done.segments, 6);
    assert_eq!(data.files("archive/a", ".log").len(), 1, "the open one");

    // What is known of the epoch stays known, also without the index.
    let before = archive.epochs(&key("a"), 16).await.unwrap();
    assert_eq!(before[1].end, 1000);
    assert_eq!(
        archive.prove(&key("a"), id(1), 1000, 100).await.unwrap(),
        Proof::Missing(Some(0..1000))
    );
    archive.close().await.unwrap();
    data.forget_index();
    let mut archive = data.open(small()).await;
    assert_eq!(archive.epochs(&key("a"), 16).await.unwrap(), before);
    write(&mut archive, "a", 1).await;
    assert_eq!(archive.epochs(&key("a"), 16).await.unwrap()[1].end, 1100);
}

#[tokio::test]
async fn keeps_what_is_needed() {
    let data = Data::new();
    let mut archive = data.open(small()).await;
    write(&mut archive, "a", 10).await;
    let limits = Retention {
        max_age: None,
        max_bytes: Some(0),
    };
    let done = archive.retain(limits, &|_, _| Some(250)).await.unwrap();
    assert_eq!((done.segments, done.needed), (2, 8));
    let first = data.files("archive/a", ".log")[0].clone();
    assert!(first.ends_with("00000000000000000200.log"));
    // Never inside a window.
    let handle = archive
        .open_epoch(&key("a"), id(2), Form::Log, 0, Origin::default())
        .await
        .unwrap();
    archive.append(handle, b"x").unwrap();
    let done = retain(&mut archive, None, Some(0)).await;
    assert_eq!((done.segments, done.more), (0, true));
}

#[tokio::test]
async fn keeps_so_long() {
    let hands = Hands::default();
    let data = Data::new();
    let options = || Options {
        clock: hands.clock(),
        ..small()
    };
    let mut archive = data.open(options()).await;
    for _ in 0..10 {
        write(&mut archive, "a", 1).await;
        hands.pass(24 * 60);
    }
    let done = retain(&mut archive, days(7), None).await;
    assert_eq!((done.segments, done.clock), (3, None));
    drop(archive);

    // After a long stop the clock may as well be wrong: an hour is waited for.
    hands.pass(24 * 60);
    let mut archive = data.open(options()).await;
    let done = retain(&mut archive, days(7), None).await;
    assert!(done.segments == 0 && done.clock.unwrap().contains("ahead"));
    hands.pass(61);
    let done = retain(&mut archive, days(7), None).await;
    assert_eq!((done.segments, done.clock), (2, None));
}

#[tokio::test]
async fn age_is_not_judged_by_a_clock_that_jumped() {
    for minutes in [61, -61, 60 * 24 * 365] {
        let hands = Hands::default();
        let data = Data::new();
        let options = || Options {
            clock: hands.clock(),
            ..small()
        };
        let mut archive = data.open(options()).await;
        write(&mut archive, "a", 3).await;
        hands.pass(60 * 24 * 8);
        write(&mut archive, "a", 1).await;
        hands.set(minutes);
        let done = retain(&mut archive, days(7), Some(1 << 20)).await;
        assert!(done.segments == 0 && done.clock.is_some(), "{minutes}");
        // Bytes are judged nevertheless.
        let done = retain(&mut archive, days(7), Some(300)).await;
        assert_eq!(done.segments, 1);
        // Set back it stays in doubt until the next start.
        hands.set(-minutes);
        drop(archive);
        let mut archive = data.open(options()).await;
        let done = retain(&mut archive, days(7), None).await;
        assert_eq!((done.segments, done.clock), (2, None), "{minutes}");
        // A start with a clock that is behind.
        drop(archive);
        hands.set(-120);
        let mut archive = data.open(options()).await;
        let done = retain(&mut archive, days(7), None).await;
        assert!(done.clock.unwrap().contains("behind"));
    }
}

#[tokio::test]
async fn compression_leaves_the_reserve_alone_and_nothing_half_done() {
    let data = Data::new();
    let mut archive = data.open(small()).await;
    write(&mut archive, "a", 2).await;
    archive.close().await.unwrap();
    let none = Options {
        reserve_bytes: u64::MAX,
        ..small()
    };
    let fails = Options {
        fault: fail(Step::Upkeep, 1, io::ErrorKind::StorageFull),
        ..small()
    };
    for options in [none, fails] {
        let mut archive = data.open(options).await;
        let error = archive.compress_next(1).await.unwrap_err();
        assert!(error.is_full(), "{error:?}");
        assert_eq!(data.files("archive", ".new"), [] as [PathBuf; 0]);
        assert_eq!(data.files("archive", ".log").len(), 2);
        archive.close().await.unwrap();
    }
    let mut archive = data.open(small()).await;
    while archive.compress_next(1).await.unwrap() != Compression::Idle {}
    assert_eq!(data.files("archive", ".log.zst").len(), 2);
}

/// One life that writes, compresses and removes; then another, without a fault. Each segment is there once, whole.
#[test]
fn a_crash_at_any_step_of_upkeep_leaves_each_segment_once() {
    let mut steps = HashSet::new();
    for n in 0.. {
        let data = Data::new();
        let work = async |archive: &mut Archive| {
            while archive.compress_next(1).await.unwrap() != Compression::Idle {}
            let limits = Retention {
                max_age: None,
                max_bytes: Some(0),
            };
            archive.retain(limits, &|_, _| Some(400)).await.unwrap();
        };
        run(async {
            let mut archive = data.open(small()).await;
            write(&mut archive, "a", 6).await;
        })
        .unwrap_or_else(|_| unreachable!("no fault is set"));
        let died = run(async {
            let fault = die(n);
            let mut archive = data.open(Options { fault, ..small() }).await;
            work(&mut archive).await;
        });
        let check = async |archive: &mut Archive, from: u64| {
            let mut damage = Vec::new();
            archive::audit::verify(data.path(), Default::default(), &mut |what| {
                damage.push(what)
            })
            .await
            .unwrap();
            assert_eq!(damage, [], "step {n}");
            for at in (from..600).step_by(100) {
                let proof = archive
                    .prove(&key("a"), id(1), at + 100, 100)
                    .await
                    .unwrap();
                let expected = blake3::hash(&[b'x'; 100]);
                assert_eq!(proof, Proof::Hash(*expected.as_bytes()), "step {n}, {at}");
            }
        };
        let after = run(async {
            let mut archive = data.open(small()).await;
            assert_eq!(archive.recovered().len(), 0, "step {n}");
            check(&mut archive, 400).await;
            work(&mut archive).await;
            check(&mut archive, 400).await;
            assert_eq!(
                archive.prove(&key("a"), id(1), 400, 100).await.unwrap(),
                Proof::Missing(Some(0..400))
            );
        });
        assert!(after.is_ok());
        assert_eq!(data.files("archive/a", ".log").len(), 0, "step {n}");
        assert_eq!(data.files("archive/a", ".zst").len(), 2, "step {n}");
        assert_eq!(data.files("archive/a", ".new").len(), 0, "step {n}");
        match died {
            Err(step) => steps.insert(format!("{step:?}")),
            Ok(()) => {
                assert!(n > 40, "{n} steps");
                break;
            }
        };
    }
    assert_eq!(steps, HashSet::from(["Upkeep".to_owned()]));
}

#[tokio::test]
async fn a_damaged_segment_is_left_alone() {
    let data = Data::new();
    let mut archive = data.open(small()).await;
    write(&mut archive, "a", 2).await;
    let path = data.files("archive/a", ".log")[0].clone();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[50] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let mut damaged = Vec::new();
    let mut done = 0;
    loop {
        match archive.compress_next(1 << 20).await.unwrap() {
            Compression::Idle => break,
            Compression::Damaged { segment, .. } => damaged.push(segment),
            Compression::Done { bytes, .. } => done += bytes,
            _ => {}
        }
    }
    assert_eq!((damaged, done), (vec![path.clone()], 100));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert_eq!(data.files("archive/a", ".new").len(), 0);
}
