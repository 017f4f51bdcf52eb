//! Commit windows: what stands, what is void, and what is on the disk then.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::time::Duration;

use archive::{AppendError, Archive, EpochId, Form, OpenError, Options, Reader, Step, StreamKey};

use crate::support::{Data, count, fail, frame, frames, plain, read, small, standing};

#[tokio::test]
async fn keeps_what_was_committed() {
    let data = Data::new();
    let mut archive = data.open(small()).await;
    let (a, b) = (
        archive.plain(&plain("a")).await.unwrap(),
        archive.plain(&plain("b")).await.unwrap(),
    );
    archive.append(a, &frames(0, 5)).unwrap();
    archive.append(b, &frame(0)).unwrap();
    archive.append(a, &frames(5, 9)).unwrap();
    let committed = archive.commit().await.unwrap();
    assert_eq!(
        committed.iter().map(|c| c.to).collect::<Vec<_>>(),
        [frames(0, 9).len() as u64, frame(0).len() as u64]
    );
    assert_eq!(archive.commit().await.unwrap(), []);
    assert_eq!(read(&data, &committed[0], 0), frames(0, 9));
    archive.close().await.unwrap();

    let mut archive = data.open(small()).await;
    assert_eq!(archive.recovered(), []);
    assert_eq!(
        archive.plain(&plain("a")).await.unwrap(),
        standing(&archive, "a").handle
    );
    assert_eq!(standing(&archive, "a").to, frames(0, 9).len() as u64);
    let a = standing(&archive, "a").handle;
    archive.append(a, &frame(9)).unwrap();
    archive.commit().await.unwrap();
    assert_eq!(count(&data.bytes("a")), 10);
}

#[tokio::test]
async fn closes_segments_by_size_and_age() {
    let data = Data::new();
    let mut archive = data
        .open(Options {
            segment_max_age: Duration::ZERO,
            ..small()
        })
        .await;
    let a = archive.plain(&plain("a")).await.unwrap();
    for n in 0..3 {
        archive.append(a, &frame(n)).unwrap();
        archive.commit().await.unwrap();
    }
    assert_eq!(
        data.segments("a").len(),
        3,
        "each append finds the segment too old"
    );
    archive.close_aged().unwrap();
    archive.commit().await.unwrap();
    drop(archive);
    assert_eq!(
        data.facts("a"),
        [
            "epoch", "opened", "closed", "opened", "closed", "opened", "closed"
        ]
    );

    let mut archive = data.open(small()).await;
    assert_eq!(archive.recovered(), []);
    for n in 3..40 {
        archive.append(a, &frame(n)).unwrap();
    }
    let committed = archive.commit().await.unwrap();
    assert!(data.segments("a").len() > 10);
    assert!(
        data.segments("a")
            .iter()
            .all(|path| fs::metadata(path).unwrap().len() <= 300)
    );
    assert_eq!(read(&data, &committed[0], 0), frames(0, 40));
    assert_eq!(read(&data, &committed[0], 1000), frames(0, 40)[1000..]);
}

#[tokio::test]
async fn closes_few_aged_segments_a_window() {
    let data = Data::new();
    let mut archive = data
        .open(Options {
            segment_max_age: Duration::ZERO,
            ..small()
        })
        .await;
    let mut handles = Vec::new();
    for worker in 0..100 {
        let handle = archive.plain(&plain(&format!("w{worker}"))).await.unwrap();
        archive.append(handle, &frame(0)).unwrap();
        handles.push(handle);
    }
    archive.commit().await.unwrap();
    let closed = || {
        let ledgers = data.files("archive", "ledger.jsonl").into_iter();
        let text: String = ledgers
            .map(|path| fs::read_to_string(path).unwrap())
            .collect();
        text.matches(r#""kind":"closed""#).count()
    };
    for handle in &handles {
        archive.append(*handle, &frame(1)).unwrap();
    }
    archive.commit().await.unwrap();
    assert_eq!(closed(), 64);
    archive.close_aged().unwrap();
    archive.commit().await.unwrap();
    assert_eq!(closed(), 128);
    archive.close_aged().unwrap();
    archive.commit().await.unwrap();
    assert_eq!(
        closed(),
        164,
        "each stream's first frame, or both, in a segment that is closed"
    );
}

#[tokio::test]
async fn ledgers_the_hash_of_each_closed_segment() {
    let data = Data::new();
    for n in 0..30 {
        // Opened anew each time, so that most segments are hashed from the file.
        let mut archive = data.open(small()).await;
        let a = archive.plain(&plain("a")).await.unwrap();
        archive.append(a, &frame(n)).unwrap();
        archive.commit().await.unwrap();
    }
    let ledger = fs::read_to_string(data.path().join("archive/a/syslog/ledger.jsonl")).unwrap();
    let facts = ledger
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let closed: Vec<_> = facts.filter(|fact| fact["kind"] == "closed").collect();
    let segments = data.segments("a");
    assert_eq!(closed.len(), segments.len() - 1);
    for (fact, path) in closed.iter().zip(segments) {
        let bytes = fs::read(&path).unwrap();
        assert_eq!(fact["len"], bytes.len());
        assert_eq!(fact["blake3"], blake3::hash(&bytes).to_hex().as_str());
    }
}

#[tokio::test]
async fn voids_a_window_that_failed_at_any_step() {
    for step in [
        Step::Write,
        Step::Sync,
        Step::Ledger,
        Step::Ledgered,
        Step::Witness,
    ] {
        // The window's bytes are in a segment of their own, or behind committed ones.
        for segment_max_bytes in [300, 1 << 20] {
            // A window without a new segment has nothing to ledger.
            if !matches!(step, Step::Ledger | Step::Ledgered) || segment_max_bytes == 300 {
                void_at(step, segment_max_bytes).await;
            }
        }
    }
}

async fn void_at(step: Step, segment_max_bytes: u64) {
    let data = Data::new();
    let options = Options {
        segment_max_bytes,
        fault: fail(step, 1, ErrorKind::Other),
        ..small()
    };
    let mut archive = data.open(options).await;
    let a = archive.plain(&plain("a")).await.unwrap();
    archive.append(a, &frames(0, 3)).unwrap();
    archive.commit().await.unwrap();
    let failed = archive.append(a, &frames(3, 9)).is_err() || archive.commit().await.is_err();
    assert!(failed, "{step:?}");
    assert!(
        matches!(archive.append(a, &frame(0)), Err(AppendError::Void)),
        "{step:?}"
    );
    assert!(archive.commit().await.is_err(), "{step:?}");
    assert_eq!(archive.void().await.unwrap(), [], "{step:?}");
    assert_eq!(count(&data.bytes("a")), 3, "{step:?}: cut to the index");
    archive.append(a, &frames(3, 8)).unwrap();
    archive.append(a, &frames(8, 9)).unwrap();
    let committed = archive.commit().await.unwrap();
    assert_eq!(read(&data, &committed[0], 0), frames(0, 9), "{step:?}");
    drop(archive);
    assert_eq!(data.open(small()).await.recovered(), [], "{step:?}");
}

#[tokio::test]
async fn a_window_that_failed_at_the_index_stands() {
    let data = Data::new();
    let mut archive = data
        .open(Options {
            fault: fail(Step::Index, 1, ErrorKind::StorageFull),
            ..small()
        })
        .await;
    let a = archive.plain(&plain("a")).await.unwrap();
    archive.append(a, &frames(0, 3)).unwrap();
    archive.commit().await.unwrap();
    archive.append(a, &frames(3, 9)).unwrap();
    assert!(archive.commit().await.unwrap_err().is_full());
    assert!(matches!(
        archive.append(a, &frame(0)),
        Err(AppendError::Void)
    ));
    let stands = archive.void().await.unwrap();
    let ends = (stands[0].from, stands[0].to);
    assert_eq!(ends, (frames(0, 3).len() as u64, frames(0, 9).len() as u64));
    assert_eq!(read(&data, &stands[0], 0), frames(0, 9));
    archive.append(a, &frame(9)).unwrap();
    archive.commit().await.unwrap();
    drop(archive);
    assert_eq!(data.open(small()).await.recovered(), []);
}

#[tokio::test]
async fn a_full_disk_leaves_the_window_as_it_was() {
    for step in [Step::Write, Step::Create] {
        let data = Data::new();
        let mut archive = data
            .open(Options {
                fault: fail(step, 1, ErrorKind::StorageFull),
                ..small()
            })
            .await;
        let a = archive.plain(&plain("a")).await.unwrap();
        archive.append(a, &frames(0, 4)).unwrap();
        assert!(
            matches!(archive.append(a, &frames(4, 9)), Err(AppendError::Full(_))),
            "{step:?}"
        );
        archive.commit().await.unwrap();
        assert_eq!(count(&data.bytes("a")), 4, "{step:?}");
        archive.append(a, &frames(4, 9)).unwrap();
        archive.commit().await.unwrap();
        assert_eq!(count(&data.bytes("a")), 9, "{step:?}");
    }
}

#[tokio::test]
async fn leaves_the_reserve_alone() {
    let data = Data::new();
    let mut archive = data
        .open(Options {
            reserve_bytes: u64::MAX,
            ..small()
        })
        .await;
    let a = archive.plain(&plain("a")).await.unwrap();
    assert!(matches!(
        archive.append(a, &frame(0)),
        Err(AppendError::Full(_))
    ));
    assert_eq!(archive.commit().await.unwrap(), []);
}

#[tokio::test]
async fn holds_no_more_files_than_allowed() {
    let data = Data::new();
    let mut archive = data
        .open(Options {
            max_open_files: 3,
            ..small()
        })
        .await;
    for round in 0..3 {
        for worker in 0..20 {
            let handle = archive.plain(&plain(&format!("w{worker}"))).await.unwrap();
            archive.append(handle, &frame(round)).unwrap();
            archive.commit().await.unwrap();
        }
    }
    let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let ours = open.filter(|fd| {
        fs::read_link(fd.path()).is_ok_and(|to| to.starts_with(data.path().join("archive")))
    });
    assert!(ours.count() <= 8);
    for worker in 0..20 {
        assert_eq!(count(&data.bytes(&format!("w{worker}"))), 3);
    }
}

#[tokio::test]
async fn syncs_many_streams_as_well_as_few() {
    let data = Data::new();
    let mut archive = data.open(small()).await;
    for worker in 0..50 {
        let handle = archive.plain(&plain(&format!("w{worker}"))).await.unwrap();
        archive.append(handle, &frames(0, 20)).unwrap();
    }
    assert_eq!(archive.commit().await.unwrap().len(), 50);
    drop(archive);
    let archive = data.open(small()).await;
    assert_eq!(archive.recovered(), []);
    assert_eq!(archive.standing().count(), 50);
}

#[tokio::test]
async fn follows_no_link() {
    let data = Data::new();
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), data.path().join("archive/a")).unwrap();
    let mut archive = data.open(small()).await;
    archive.plain(&plain("a")).await.unwrap_err();
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn wants_to_be_made_first() {
    let empty = tempfile::tempdir().unwrap();
    let error = Archive::open(empty.path(), small()).await.unwrap_err();
    assert!(matches!(error, OpenError::NotInitialised(_)), "{error}");
}

#[tokio::test]
async fn reads_across_a_gap() {
    let data = Data::new();
    let mut archive = data.open(small()).await;
    let key = StreamKey::new("a", "decky").unwrap();
    let id = EpochId::random();
    let epoch = archive
        .open_epoch(&key, id, Form::Log, 100, archive::Origin::default())
        .await
        .unwrap();
    archive.append(epoch, b"one\n").unwrap();
    archive.commit().await.unwrap();
    fs::write(
        data.path()
            .join(format!("archive/a/decky/{id}/00000000000000000200.log")),
        "two\n",
    )
    .unwrap();
    let mut reader = Reader::open(data.path(), &key, id, Form::Log, 102).unwrap();
    let mut buf = Vec::new();
    assert_eq!(
        reader.read(204, 100, &mut buf).unwrap(),
        archive::Chunk::Bytes(2)
    );
    assert_eq!(
        reader.read(204, 100, &mut buf).unwrap(),
        archive::Chunk::Gap(200)
    );
    assert_eq!(
        reader.read(204, 100, &mut buf).unwrap(),
        archive::Chunk::Bytes(4)
    );
    assert_eq!(
        reader.read(204, 100, &mut buf).unwrap(),
        archive::Chunk::End
    );
    assert_eq!(buf, b"e\ntwo\n");
    assert!(matches!(
        reader.read(300, 100, &mut buf),
        Err(archive::ReadError::Missing(204))
    ));
}
