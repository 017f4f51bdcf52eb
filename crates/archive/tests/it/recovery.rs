//! A crash at each step, torn ends, and an index that is lost, damaged or old.

use std::fs;
use std::io::Write as _;
use std::time::Duration;

use archive::{Archive, EpochId, Form, Options, Recovered, Step, StreamKey};

use crate::support::{Data, count, die, fail, frame, frames, plain, read, run, small, standing};

/// Appends frames from `next` on, in windows of one to four appends, until `total`.
async fn write(archive: &mut Archive, next: usize, total: usize) {
    let handle = archive.plain(&plain("a")).await.unwrap();
    let mut n = next;
    while n < total {
        for size in 1..=n % 4 + 1 {
            let to = (n + size).min(total);
            archive.append(handle, &frames(n, to)).unwrap();
            n = to;
        }
        archive.commit().await.unwrap();
    }
}

#[test]
fn a_crash_at_any_step_keeps_whole_frames_and_repeats_none() {
    let mut steps = std::collections::HashSet::new();
    for n in 0.. {
        let data = Data::new();
        let died = run(async {
            let mut archive = data
                .open(Options {
                    fault: die(n),
                    ..small()
                })
                .await;
            write(&mut archive, 0, 30).await;
        });
        let Err(step) = died else { break };
        steps.insert(step);
        let committed = run(async {
            let mut archive = data.open(small()).await;
            let kept = count(&data.bytes("a"));
            write(&mut archive, kept, 30).await;
            standing(&archive, "a")
        });
        let committed = committed.unwrap_or_else(|_| unreachable!("no fault is set"));
        assert_eq!(
            read(&data, &committed, 0),
            frames(0, 30),
            "died at step {n}, {step:?}"
        );
    }
    assert_eq!(
        steps.len(),
        7,
        "Create, Write, Sync, Ledger, Ledgered, Witness, Index: {steps:?}"
    );
}

#[tokio::test]
async fn keeps_whole_frames_beyond_the_index_and_cuts_a_torn_one() {
    let whole = frames(0, 6).len();
    for torn in 0..frame(6).len() {
        let data = Data::new();
        let options = Options {
            segment_max_bytes: 1 << 20,
            ..small()
        };
        let mut archive = data.open(options.clone()).await;
        let a = archive.plain(&plain("a")).await.unwrap();
        archive.append(a, &frames(0, 4)).unwrap();
        archive.commit().await.unwrap();
        archive.append(a, &frames(4, 6)).unwrap();
        archive.append(a, &frame(6)[..torn]).unwrap();
        drop(archive);

        let archive = data.open(options.clone()).await;
        let (indexed, kept) = (frames(0, 4).len() as u64, frames(4, 6).len() as u64);
        let expected = |what: &Recovered| {
            matches!(*what, Recovered::Beyond { indexed: i, kept: k, cut, .. }
                if (i, k, cut) == (indexed, kept, torn as u64))
        };
        assert!(
            matches!(archive.recovered(), [what] if expected(what)),
            "{:?}",
            archive.recovered()
        );
        assert_eq!(standing(&archive, "a").to, whole as u64);
        assert_eq!(data.bytes("a"), frames(0, 6));
        let aside = data.files("quarantine", "");
        assert_eq!(aside.len(), usize::from(torn > 0));
        if let [path] = &aside[..] {
            assert_eq!(fs::read(path).unwrap(), &frame(6)[..torn]);
        }
        drop(archive);
        assert_eq!(data.open(options).await.recovered(), [], "once is enough");
    }
}

#[tokio::test]
async fn cuts_what_a_power_loss_left_behind() {
    let data = Data::new();
    let mut archive = data.open(Options::default()).await;
    let a = archive.plain(&plain("a")).await.unwrap();
    archive.append(a, &frames(0, 4)).unwrap();
    archive.commit().await.unwrap();
    drop(archive);
    let mut segment = fs::OpenOptions::new()
        .append(true)
        .open(&data.segments("a")[0])
        .unwrap();
    // The file grew, but its last pages were never written.
    segment.write_all(&frame(4)).unwrap();
    segment.write_all(&[0; 5000]).unwrap();
    let archive = data.open(Options::default()).await;
    assert!(
        matches!(archive.recovered(), [Recovered::Beyond { cut: 5000, .. }]),
        "{:?}",
        archive.recovered()
    );
    assert_eq!(data.bytes("a"), frames(0, 5));
}

#[tokio::test]
async fn makes_a_lost_index_again() {
    let data = Data::new();
    let mut archive = data.open(small()).await;
    write(&mut archive, 0, 50).await;
    let before = standing(&archive, "a");
    drop(archive);
    data.forget_index();
    let mut archive = data.open(small()).await;
    assert!(
        matches!(&archive.recovered()[0], Recovered::StreamRebuilt { key } if *key == plain("a"))
    );
    assert_eq!(standing(&archive, "a"), before);
    write(&mut archive, 50, 60).await;
    assert_eq!(read(&data, &standing(&archive, "a"), 0), frames(0, 60));
}

#[tokio::test]
async fn puts_a_damaged_index_aside_and_makes_it_again() {
    let data = Data::new();
    let mut archive = data.open(small()).await;
    write(&mut archive, 0, 50).await;
    let before = standing(&archive, "a");
    archive.close().await.unwrap();
    fs::write(data.path().join("index.sqlite"), vec![7; 20_000]).unwrap();
    let archive = data.open(small()).await;
    assert_eq!(archive.recovered()[0], Recovered::IndexRebuilt);
    assert_eq!(standing(&archive, "a"), before);
    assert_eq!(data.files("quarantine", "index.sqlite").len(), 1);
}

#[tokio::test]
async fn catches_up_from_an_old_index() {
    let data = Data::new();
    let mut archive = data.open(small()).await;
    write(&mut archive, 0, 10).await;
    archive.close().await.unwrap();
    let old = fs::read(data.path().join("index.sqlite")).unwrap();
    let mut archive = data.open(small()).await;
    write(&mut archive, 10, 80).await;
    let b = archive.plain(&plain("b")).await.unwrap();
    archive.append(b, &frame(0)).unwrap();
    archive.commit().await.unwrap();
    let (a, b) = (standing(&archive, "a"), standing(&archive, "b"));
    drop(archive);
    data.forget_index();
    fs::write(data.path().join("index.sqlite"), old).unwrap();

    let mut archive = data.open(small()).await;
    assert_eq!(standing(&archive, "a").to, a.to);
    assert_eq!(standing(&archive, "b").to, b.to);
    write(&mut archive, 80, 90).await;
    assert_eq!(read(&data, &standing(&archive, "a"), 0), frames(0, 90));
    drop(archive);
    assert_eq!(data.open(small()).await.recovered(), []);
}

#[tokio::test]
async fn goes_on_when_committed_bytes_are_gone() {
    let data = Data::new();
    let mut archive = data.open(Options::default()).await;
    write(&mut archive, 0, 10).await;
    drop(archive);
    let segment = fs::OpenOptions::new()
        .write(true)
        .open(&data.segments("a")[0])
        .unwrap();
    segment.set_len(frames(0, 7).len() as u64).unwrap();
    let mut archive = data.open(Options::default()).await;
    assert!(
        matches!(archive.recovered(), [Recovered::Missing { .. }]),
        "{:?}",
        archive.recovered()
    );
    write(&mut archive, 7, 20).await;
    assert_eq!(count(&data.bytes("a")), 20);
    assert!(data.facts("a").contains(&"recovery".to_owned()));
}

#[tokio::test]
async fn goes_on_when_the_newest_segment_is_gone() {
    let data = Data::new();
    let mut archive = data.open(small()).await;
    write(&mut archive, 0, 30).await;
    drop(archive);
    let segments = data.segments("a");
    fs::remove_file(segments.last().unwrap()).unwrap();
    let kept = count(&data.bytes("a"));
    assert!(kept < 30);
    let mut archive = data.open(small()).await;
    assert!(
        matches!(archive.recovered(), [Recovered::Missing { .. }]),
        "{:?}",
        archive.recovered()
    );
    write(&mut archive, kept, 40).await;
    assert_eq!(read(&data, &standing(&archive, "a"), 0), frames(0, 40));
}

#[tokio::test]
async fn a_log_epoch_is_cut_to_the_index() {
    let data = Data::new();
    let key = StreamKey::new("a", "decky").unwrap();
    let id = EpochId::random();
    let mut archive = data.open(small()).await;
    let epoch = archive
        .open_epoch(&key, id, Form::Log, 0, archive::Origin::default())
        .await
        .unwrap();
    archive.append(epoch, &[b'a'; 250]).unwrap();
    archive.commit().await.unwrap();
    archive.append(epoch, &[b'b'; 40]).unwrap();
    archive.append(epoch, &[b'c'; 290]).unwrap();
    archive.append(epoch, &[b'd'; 200]).unwrap();
    drop(archive);

    let mut archive = data.open(small()).await;
    assert!(
        matches!(
            archive.recovered(),
            [Recovered::Beyond {
                kept: 0,
                cut: 530,
                ..
            }]
        ),
        "{:?}",
        archive.recovered()
    );
    assert_eq!(data.files("archive", ".log").len(), 1);
    assert_eq!(data.files("quarantine", "").len(), 3);
    let epoch = archive
        .open_epoch(&key, id, Form::Log, 0, archive::Origin::default())
        .await
        .unwrap();
    archive.append(epoch, &[b'b'; 10]).unwrap();
    let committed = archive.commit().await.unwrap();
    assert_eq!(read(&data, &committed[0], 245), b"aaaaabbbbbbbbbb");
}

#[tokio::test]
async fn a_log_epoch_far_beyond_the_index_is_kept() {
    let data = Data::new();
    let key = StreamKey::new("a", "decky").unwrap();
    let id = EpochId::random();
    let mut archive = data.open(small()).await;
    let epoch = archive
        .open_epoch(&key, id, Form::Log, 0, archive::Origin::default())
        .await
        .unwrap();
    archive.append(epoch, b"first\n").unwrap();
    archive.commit().await.unwrap();
    archive.append(epoch, &[b'x'; 65 << 10]).unwrap();
    drop(archive);
    let archive = data.open(small()).await;
    assert!(
        matches!(
            archive.recovered(),
            [Recovered::IndexRebuilt, Recovered::StreamRebuilt { .. }]
        ),
        "{:?}",
        archive.recovered()
    );
    assert_eq!(archive.standing().next().unwrap().to, 6 + (65 << 10));
}

/// The epoch has no byte: its seal is all that stands behind what was taken back.
#[tokio::test]
async fn a_seal_behind_a_void_window_outlives_the_index() {
    let data = Data::new();
    let key = StreamKey::new("a", "decky").unwrap();
    let id = EpochId::random();
    let open = async |archive: &mut Archive| {
        archive
            .open_epoch(&key, id, Form::Log, 1000, archive::Origin::default())
            .await
            .unwrap()
    };
    let mut archive = data
        .open(Options {
            fault: fail(Step::Witness, 1, std::io::ErrorKind::Other),
            ..small()
        })
        .await;
    let epoch = open(&mut archive).await;
    archive
        .roll(epoch, EpochId::random(), "rotated", Some(0))
        .unwrap();
    archive.commit().await.unwrap();
    archive.append(epoch, b"void\n").unwrap();
    archive.commit().await.unwrap_err();
    assert_eq!(archive.void().await.unwrap(), []);
    archive.seal(epoch).unwrap();
    assert!(archive.commit().await.unwrap()[0].sealed);
    drop(archive);
    assert_eq!(
        data.kinds("a/decky"),
        ["epoch", "rolled", "opened", "recovery", "sealed"]
    );
    data.forget_index();
    let mut archive = data.open(small()).await;
    assert!(archive.known(&key, id).await.unwrap());
    let epoch = open(&mut archive).await;
    let stand = archive.stand(epoch).unwrap();
    assert_eq!((stand.end, stand.sealed), (1000, true));
}

/// Of an epoch without bytes a roll stands, and another one is void: without the index it is as it was.
#[tokio::test]
async fn of_rolls_behind_a_void_window_those_stand_that_stood() {
    for first in [false, true] {
        let data = Data::new();
        let key = StreamKey::new("a", "decky").unwrap();
        let (id, next, other) = (EpochId::random(), EpochId::random(), EpochId::random());
        let open = async |archive: &mut Archive| {
            let origin = archive::Origin::default();
            archive
                .open_epoch(&key, id, Form::Log, 1000, origin)
                .await
                .unwrap()
        };
        let mut archive = data
            .open(Options {
                fault: fail(Step::Witness, usize::from(first), std::io::ErrorKind::Other),
                ..small()
            })
            .await;
        let epoch = open(&mut archive).await;
        if first {
            archive.roll(epoch, next, "rotated", Some(7)).unwrap();
            archive.commit().await.unwrap();
        }
        archive.roll(epoch, other, "gone", Some(9)).unwrap();
        archive.commit().await.unwrap_err();
        assert_eq!(archive.void().await.unwrap(), []);
        drop(archive);
        data.forget_index();
        let mut archive = data.open(small()).await;
        assert_eq!(archive.known(&key, id).await.unwrap(), first);
        let mut lost = Vec::new();
        archive::audit::gaps(data.path(), archive::audit::Scope::default(), &mut |gap| {
            lost.push((gap.from, gap.bytes));
        })
        .unwrap();
        let stands = first.then_some((Some(1000), Some(7)));
        assert_eq!(lost, Vec::from_iter(stands));
        let sealed = archive.close().await.map(|()| data.open(later()));
        let mut archive = sealed.unwrap().await;
        let sealed = archive.seal_idle(Duration::from_secs(3600)).await.unwrap();
        assert_eq!(sealed.len(), usize::from(first), "what rolled is sealed");
    }
}

/// Options of two hours later.
fn later() -> Options {
    let now = std::time::SystemTime::now() + Duration::from_secs(7200);
    Options {
        clock: archive::Clock::new(move || (now, Duration::ZERO)),
        ..small()
    }
}

/// What an older version told of a recovery is taken as it was meant.
#[tokio::test]
async fn a_recovery_that_says_less_is_read() {
    let data = Data::new();
    let key = StreamKey::new("a", "decky").unwrap();
    let id = EpochId::random();
    let mut archive = data
        .open(Options {
            fault: fail(Step::Witness, 1, std::io::ErrorKind::Other),
            ..small()
        })
        .await;
    let origin = archive::Origin::default();
    let epoch = archive.open_epoch(&key, id, Form::Log, 0, origin).await;
    let epoch = epoch.unwrap();
    archive.append(epoch, b"one\n").unwrap();
    archive.commit().await.unwrap();
    archive.close_segment(epoch).unwrap();
    archive.commit().await.unwrap_err();
    assert_eq!(archive.void().await.unwrap(), []);
    drop(archive);
    let ledger = data.path().join("archive/a/decky/ledger.jsonl");
    let text = fs::read_to_string(&ledger).unwrap();
    let older = text
        .replace(r#""rolled":null,"#, "")
        .replace(r#","told":true"#, "");
    assert_ne!(older, text);
    fs::write(&ledger, older).unwrap();
    data.forget_index();
    let mut archive = data.open(small()).await;
    let epoch = archive.open_epoch(&key, id, Form::Log, 0, origin).await;
    assert_eq!(archive.stand(epoch.unwrap()).unwrap().end, 4);
}

#[test]
fn dies_where_it_is_told() {
    let data = Data::new();
    let died = run(async {
        let mut archive = data
            .open(Options {
                fault: die(0),
                ..small()
            })
            .await;
        write(&mut archive, 0, 1).await;
    });
    assert_eq!(died, Err(Step::Create));
}
