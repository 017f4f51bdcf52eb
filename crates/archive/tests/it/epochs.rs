//! Epochs: where they stand, how they end, gaps in them, and how many are kept in memory.

use std::time::Duration;

use archive::{
    AppendError, Archive, Chunk, Clock, EpochId, Form, Handle, Options, Origin, Print, Proof,
    Reader, Stand, Step, StreamKey,
};

use crate::support::{Data, fail, small};

fn key() -> StreamKey {
    StreamKey::new("w", "decky").unwrap()
}

fn id(n: u8) -> EpochId {
    EpochId::from_bytes([n; 16])
}

async fn open(archive: &mut Archive, n: u8, base: u64) -> Handle {
    archive
        .open_epoch(&key(), id(n), Form::Log, base, Origin::default())
        .await
        .unwrap()
}

async fn committed(archive: &mut Archive, handle: Handle) -> Stand {
    archive.commit().await.unwrap();
    archive.stand(handle).unwrap()
}

/// Where an epoch stands after the archive was closed, after a crash, and after its index was lost.
async fn stands_everywhere(data: &Data, archive: Archive, n: u8, expected: Stand) -> Archive {
    let check = |stand: Stand, when: &str| {
        let ledger = expected.ledger;
        assert_eq!(Stand { ledger, ..stand }, expected, "{when}");
    };
    let held = |expected: Stand, head: Print, end: u64, tail: Print| {
        assert_eq!((end, tail), (expected.end, expected.tail));
        head
    };
    let mut archive = archive;
    let epochs = archive.epochs(&key(), 16).await.unwrap();
    let known = epochs.iter().find(|held| held.epoch == id(n)).unwrap();
    let head = held(expected, known.head, known.end, known.tail);
    archive.close().await.unwrap();
    for when in ["opened again", "after a crash", "without the index"] {
        archive = data.open(small()).await;
        let handle = open(&mut archive, n, 0).await;
        check(archive.stand(handle).unwrap(), when);
        let epochs = archive.epochs(&key(), 16).await.unwrap();
        let known = epochs.iter().find(|held| held.epoch == id(n)).unwrap();
        assert_eq!(
            held(expected, known.head, known.end, known.tail),
            head,
            "{when}"
        );
        drop(archive);
        if when == "after a crash" {
            data.forget_index();
        }
    }
    data.open(small()).await
}

#[tokio::test]
async fn a_new_epoch_is_known_at_once_and_stands_at_its_base() {
    let data = Data::new();
    let mut archive = data.open(small()).await;
    assert!(!archive.known(&key(), id(1)).await.unwrap());
    let handle = open(&mut archive, 1, 700).await;
    assert!(archive.known(&key(), id(1)).await.unwrap());
    let stand = archive.stand(handle).unwrap();
    assert_eq!(
        (stand.end, stand.tail, stand.in_line),
        (700, Print::of(700, b""), false)
    );
    assert!(!stand.sealed);
    assert_eq!(stand.ledger, [0; 32]);
    let epochs = archive.epochs(&key(), 16).await.unwrap();
    assert_eq!(
        (epochs.len(), epochs[0].epoch, epochs[0].end),
        (1, id(1), 700)
    );
    drop(archive);
    let mut archive = data.open(small()).await;
    assert!(archive.known(&key(), id(1)).await.unwrap());
    assert_eq!(archive.recovered(), []);
}

#[tokio::test]
async fn the_tail_is_of_the_last_bytes_before_any_gap() {
    let data = Data::new();
    let mut archive = data.open(small()).await;
    let a = open(&mut archive, 1, 0).await;
    archive.append(a, b"one\ntw").unwrap();
    let stand = committed(&mut archive, a).await;
    assert_eq!(
        (stand.end, stand.tail, stand.in_line),
        (6, Print::of(6, b"one\ntw"), true)
    );
    archive.append(a, b"o\n").unwrap();
    let stand = committed(&mut archive, a).await;
    assert_eq!(
        (stand.tail, stand.in_line),
        (Print::of(8, b"one\ntwo\n"), false)
    );
    let mut archive = stands_everywhere(&data, archive, 1, stand).await;

    // At a gap the tail stays where the gap begins; behind it it begins anew.
    let a = open(&mut archive, 1, 0).await;
    archive.gap(a, 100, "lag-cap").unwrap();
    let stand = committed(&mut archive, a).await;
    assert_eq!((stand.end, stand.tail), (100, Print::of(8, b"one\ntwo\n")));
    let mut archive = stands_everywhere(&data, archive, 1, stand).await;
    let a = open(&mut archive, 1, 0).await;
    archive.append(a, b"three").unwrap();
    let stand = committed(&mut archive, a).await;
    assert_eq!(
        (stand.end, stand.tail, stand.in_line),
        (105, Print::of(105, b"three"), true)
    );
    let mut archive = stands_everywhere(&data, archive, 1, stand).await;

    // Over many segments, and not more than 4 KiB.
    let a = open(&mut archive, 1, 0).await;
    let mut all = b"three".to_vec();
    for n in 0..500 {
        let line = format!(" line {n}\n");
        archive.append(a, line.as_bytes()).unwrap();
        all.extend_from_slice(line.as_bytes());
    }
    let tail = &all[all.len() - 4096..];
    let stand = committed(&mut archive, a).await;
    assert_eq!(stand.tail, Print::of(100 + all.len() as u64, tail));
    stands_everywhere(&data, archive, 1, stand).await;
}

#[tokio::test]
async fn an_epoch_may_begin_with_a_gap_and_end_with_one() {
    let data = Data::new();
    let mut archive = data.open(small()).await;
    let a = open(&mut archive, 1, 0).await;
    archive.gap(a, 50, "imported").unwrap();
    let stand = committed(&mut archive, a).await;
    assert_eq!((stand.end, stand.tail.len), (50, 0));
    archive.append(a, b"x\n").unwrap();
    archive.gap(a, 60, "lag-cap").unwrap();
    assert!(matches!(
        archive.gap(a, 59, "lag-cap"),
        Err(AppendError::Refused { .. })
    ));
    archive.gap(a, 60, "lag-cap").unwrap();
    archive.commit().await.unwrap();
    let mut reader = Reader::open(data.path(), &key(), id(1), Form::Log, 0).unwrap();
    let mut buf = Vec::new();
    let mut chunks = Vec::new();
    loop {
        match reader.read(60, 10, &mut buf).unwrap() {
            Chunk::End => break,
            chunk => chunks.push(chunk),
        }
    }
    assert_eq!(chunks, [Chunk::Gap(50), Chunk::Bytes(2), Chunk::Gap(60)]);
    assert_eq!(buf, b"x\n");
    let held = archive.epochs(&key(), 1).await.unwrap()[0];
    assert_eq!(
        (held.head, held.tail),
        (Print::of(52, b"x\n"), Print::of(52, b"x\n"))
    );
    for (end, len, missing) in [(60, 60, 52..60), (52, 3, 0..50), (50, 1, 0..50)] {
        let proof = archive.prove(&key(), id(1), end, len).await.unwrap();
        assert_eq!(proof, Proof::Missing(Some(missing)), "{len} before {end}");
    }
}

#[tokio::test]
async fn proves_what_is_held_and_nothing_else() {
    let data = Data::new();
    let mut archive = data.open(small()).await;
    let a = open(&mut archive, 1, 0).await;
    let bytes: Vec<u8> = (0..1000u32).map(|n| (n * 31 % 251) as u8).collect();
    for piece in bytes.chunks(90) {
        archive.append(a, piece).unwrap();
    }
    archive.gap(a, 2000, "lag-cap").unwrap();
    archive.append(a, b"behind").unwrap();
    archive.commit().await.unwrap();
    archive.append(a, b" uncommitted").unwrap();
    for packed in [false, true] {
        let hash =
            |range: std::ops::Range<usize>| Proof::Hash(*blake3::hash(&bytes[range]).as_bytes());
        let gap = Proof::Missing(Some(1000..2000));
        for (end, len, expected) in [
            (1000, 1000, hash(0..1000)),
            (995, 200, hash(795..995)),
            (500, 0, hash(0..0)),
            (1001, 2, gap.clone()),
            (2003, 4, gap.clone()),
            (1500, 1000, gap.clone()),
            (1600, 10, gap),
            (2006, 6, Proof::Hash(*blake3::hash(b"behind").as_bytes())),
            (2007, 7, Proof::Missing(None)),
            (10, 11, Proof::Missing(None)),
        ] {
            let proof = archive.prove(&key(), id(1), end, len).await.unwrap();
            assert_eq!(proof, expected, "{len} before {end}");
        }
        if !packed {
            archive.void().await.unwrap();
            while archive.compress_next(1 << 20).await.unwrap() != archive::Compression::Idle {}
            archive.append(a, b"z").unwrap();
        }
    }
    assert_eq!(
        archive.prove(&key(), id(9), 10, 1).await.unwrap(),
        Proof::Missing(None)
    );
}

#[tokio::test]
async fn a_roll_is_no_seal() {
    let data = Data::new();
    let mut archive = data.open(small()).await;
    let a = open(&mut archive, 1, 0).await;
    archive.append(a, b"one\n").unwrap();
    archive.roll(a, id(2), "rotated", Some(0)).unwrap();
    archive.roll(a, id(2), "rotated", Some(0)).unwrap();
    archive.commit().await.unwrap();
    archive.roll(a, id(2), "rotated", Some(0)).unwrap();
    assert_eq!(
        archive.commit().await.unwrap(),
        [],
        "the same again is nothing"
    );
    archive.append(a, b"late\n").unwrap();
    archive.roll(a, id(2), "rotated", Some(0)).unwrap();
    archive.seal(a).unwrap();
    assert!(matches!(
        archive.append(a, b"x"),
        Err(AppendError::Refused { .. })
    ));
    let reports = archive.commit().await.unwrap();
    assert_eq!((reports[0].to, reports[0].sealed), (9, true));
    assert!(matches!(archive.append(a, b"x"), Err(AppendError::Gone)));
    let a = open(&mut archive, 1, 0).await;
    assert!(archive.stand(a).unwrap().sealed);
    archive.seal(a).unwrap();
    archive.roll(a, id(2), "rotated", Some(0)).unwrap();
    archive.close_segment(a).unwrap();
    assert!(matches!(
        archive.gap(a, 20, "x"),
        Err(AppendError::Refused { .. })
    ));
    assert_eq!(
        data.kinds("w/decky"),
        [
            "epoch", "opened", "closed", "rolled", "opened", "closed", "rolled", "sealed"
        ]
    );
    let stand = archive.stand(a).unwrap();
    let archive = stands_everywhere(&data, archive, 1, stand).await;
    assert_eq!(
        archive.standing().count(),
        0,
        "nothing is left to be written"
    );
}

#[tokio::test]
async fn a_window_takes_back_what_it_told() {
    for step in [Step::Ledgered, Step::Witness] {
        let data = Data::new();
        let mut archive = data
            .open(Options {
                fault: fail(step, 1, std::io::ErrorKind::Other),
                ..small()
            })
            .await;
        let a = open(&mut archive, 1, 0).await;
        archive.append(a, b"one\n").unwrap();
        archive.commit().await.unwrap();
        archive.gap(a, 100, "lag-cap").unwrap();
        archive.append(a, b"two\n").unwrap();
        archive.seal(a).unwrap();
        archive.commit().await.unwrap_err();
        assert_eq!(archive.void().await.unwrap(), []);
        let stand = archive.stand(a).unwrap();
        assert_eq!((stand.end, stand.sealed), (4, false));
        let gaps = || {
            let mut gaps = Vec::new();
            let mut take = |gap: archive::audit::GapLine| gaps.push((gap.from, gap.to));
            archive::audit::gaps(data.path(), Default::default(), &mut take).unwrap();
            gaps
        };
        assert_eq!(gaps(), []);
        // The same gap again is told again, another end of it as well.
        archive.gap(a, 100, "lag-cap").unwrap();
        archive.commit().await.unwrap();
        assert_eq!(gaps(), [(Some(4), Some(100))]);
        archive.append(a, b"three\n").unwrap();
        let stand = committed(&mut archive, a).await;
        stands_everywhere(&data, archive, 1, stand).await;
    }
}

#[tokio::test]
async fn a_fifth_epoch_closes_the_oldest_segment() {
    let data = Data::new();
    let mut archive = data.open(small()).await;
    let mut handles = Vec::new();
    for n in 1..=4 {
        let handle = open(&mut archive, n, 0).await;
        archive.append(handle, b"line\n").unwrap();
        handles.push(handle);
    }
    archive.commit().await.unwrap();
    assert_eq!(open(&mut archive, 1, 0).await, handles[0], "used again");
    open(&mut archive, 5, 0).await;
    let closed = archive.commit().await.unwrap();
    assert_eq!((closed.len(), closed[0].epoch), (1, id(2)));
    assert!(matches!(
        archive.append(handles[1], b"x"),
        Err(AppendError::Gone)
    ));
    archive.append(handles[0], b"more\n").unwrap();
    let again = open(&mut archive, 2, 0).await;
    archive.append(again, b"more\n").unwrap();
    archive.commit().await.unwrap();
    assert_eq!(archive.stand(again).unwrap().end, 10);
    let kinds = data.kinds("w/decky");
    assert_eq!(kinds.iter().filter(|kind| *kind == "closed").count(), 2);
}

#[tokio::test]
async fn memory_does_not_grow_with_epochs_that_are_over() {
    let data = Data::new();
    let mut archive = data.open(small()).await;
    let name = |n: u32| EpochId::from_bytes(u128::from(n).to_be_bytes());
    for n in 0..300u32 {
        let origin = Origin {
            after: n.checked_sub(1).map(name),
            of: None,
        };
        let handle = archive
            .open_epoch(&key(), name(n), Form::Log, 0, origin)
            .await
            .unwrap();
        archive
            .append(handle, format!("epoch {n}\n").as_bytes())
            .unwrap();
        archive
            .roll(handle, name(n + 1), "rotated", Some(0))
            .unwrap();
        archive.commit().await.unwrap();
        assert!(archive.standing().count() <= 5);
    }
    let newest = archive.epochs(&key(), 16).await.unwrap();
    let expected: Vec<EpochId> = (284..300).rev().map(name).collect();
    assert_eq!(
        newest.iter().map(|held| held.epoch).collect::<Vec<_>>(),
        expected
    );
    drop(archive);
    data.forget_index();
    let mut archive = data.open(small()).await;
    let again = archive.epochs(&key(), 16).await.unwrap();
    assert_eq!(again, newest, "in the order in which they were opened");
    assert!(archive.known(&key(), name(0)).await.unwrap());
}

#[tokio::test]
async fn seals_what_rolled_and_rests() {
    let data = Data::new();
    let hours = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let clock = {
        let hours = std::sync::Arc::clone(&hours);
        Clock::new(move || {
            let passed =
                Duration::from_secs(3600 * hours.load(std::sync::atomic::Ordering::Relaxed));
            (
                std::time::UNIX_EPOCH + Duration::from_secs(1 << 30) + passed,
                passed,
            )
        })
    };
    let mut archive = data.open(Options { clock, ..small() }).await;
    for n in 1..=7 {
        let handle = open(&mut archive, n, 0).await;
        archive.append(handle, b"line\n").unwrap();
        if n < 7 {
            archive.roll(handle, id(n + 1), "rotated", Some(0)).unwrap();
        }
        archive.commit().await.unwrap();
    }
    let day = Duration::from_secs(24 * 3600);
    assert_eq!(archive.seal_idle(day).await.unwrap(), []);
    hours.store(20, std::sync::atomic::Ordering::Relaxed);
    let late = open(&mut archive, 2, 0).await;
    archive.append(late, b"late\n").unwrap();
    archive.roll(late, id(3), "rotated", Some(0)).unwrap();
    archive.commit().await.unwrap();
    hours.store(30, std::sync::atomic::Ordering::Relaxed);
    let mut sealed: Vec<_> = archive
        .seal_idle(day)
        .await
        .unwrap()
        .iter()
        .map(|report| (report.epoch, report.sealed))
        .collect();
    sealed.sort_unstable();
    assert_eq!(sealed, [1, 3, 4, 5, 6].map(|n| (id(n), true)));
    assert_eq!(archive.seal_idle(day).await.unwrap(), []);
    drop(archive);
    let standing = data.open(small()).await;
    let mut left: Vec<EpochId> = standing.standing().map(|at| at.epoch).collect();
    left.sort_unstable();
    assert_eq!(left, [id(2), id(7)]);
}

#[tokio::test]
async fn notes_need_no_epoch() {
    let data = Data::new();
    let mut archive = data.open(small()).await;
    let fact = offsets::Fact {
        kind: "conflict".to_owned(),
        ..offsets::Fact::default()
    };
    archive.note(&key(), fact).unwrap();
    assert_eq!(archive.commit().await.unwrap(), []);
    assert_eq!(data.kinds("w/decky"), ["conflict"]);
    let a = open(&mut archive, 1, 0).await;
    assert_ne!(archive.stand(a).unwrap().ledger, [0; 32]);
    drop(archive);
    assert_eq!(data.open(small()).await.recovered(), []);
}
