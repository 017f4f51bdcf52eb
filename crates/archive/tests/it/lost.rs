//! Segments that vanish while they are written: what stands, what is said of it, and what goes on.

use std::fs;

use archive::audit::{self, Scope};
use archive::{
    AppendError, Archive, Chunk, Form, Options, Origin, Proof, ReadError, Reader, Recovered,
    StreamKey,
};

use crate::damage::{bytes, id, key, open};
use crate::support::{Data, small};

/// What costs one stream its bytes costs the others nothing, whenever it is found out.
#[tokio::test]
async fn a_segment_that_vanishes_costs_only_its_stream() {
    // While it is open, while it is not, and with everything around it.
    for (files, all) in [(1024, false), (0, false), (1024, true), (0, true)] {
        let data = Data::new();
        let mut archive = data
            .open(Options {
                max_open_files: files,
                segment_max_bytes: 1000,
                ..small()
            })
            .await;
        let other = StreamKey::new("v", "decky").unwrap();
        let other = archive.open_epoch(&other, id(9), Form::Log, 0, Origin::default());
        let other = other.await.unwrap();
        let a = open(&mut archive, 1).await;
        archive.append(a, b"first\n").unwrap();
        archive.close_segment(a).unwrap();
        archive.append(a, b"second\n").unwrap();
        archive.append(other, b"one\n").unwrap();
        archive.commit().await.unwrap();
        // Lets go of files when there may be none.
        archive.append(other, b"two\n").unwrap();
        archive.commit().await.unwrap();
        assert_eq!(archive.take_found(), []);
        let stream = data.path().join("archive/w/decky");
        if all {
            fs::remove_dir_all(&stream).unwrap();
        } else {
            fs::remove_file(stream.join(format!("{}/{:020}.log", id(1), 6))).unwrap();
        }
        archive.append(other, b"three\n").unwrap();
        let kept = match archive.append(a, b"third\n") {
            Ok(()) => {
                archive.commit().await.unwrap_err();
                assert_eq!(archive.void().await.unwrap(), []);
                archive.append(other, b"three\n").unwrap();
                "the window was void"
            }
            Err(e) => {
                assert!(matches!(e, AppendError::Gone), "{e:?}");
                "the window stands"
            }
        };
        let stands = archive.commit().await.unwrap();
        assert_eq!(stands.len(), 1, "{kept}");
        assert_eq!(stands[0].to, 14, "{kept}");
        assert!(matches!(archive.append(a, b"x"), Err(AppendError::Gone)));
        let found = archive.take_found();
        assert!(
            matches!(&found[..], [Recovered::Damaged { committed: 13, .. }]),
            "{found:?}"
        );

        let a = open(&mut archive, 1).await;
        let found = archive.take_found();
        assert!(
            matches!(
                &found[..],
                [Recovered::Missing {
                    indexed: 13,
                    found: 6,
                    ..
                }]
            ),
            "{found:?}"
        );
        assert_eq!(archive.stand(a).unwrap().end, 6);
        archive.append(a, b"again\n").unwrap();
        archive.append(other, b"four\n").unwrap();
        assert_eq!(archive.commit().await.unwrap().len(), 2);
        archive.close().await.unwrap();
        let mut archive = data.open(small()).await;
        let a = open(&mut archive, 1).await;
        assert_eq!(archive.stand(a).unwrap().end, 12);
        if !all {
            assert_eq!(bytes(&data, 1, 12), b"first\nagain\n");
        }
        let mut damage = Vec::new();
        audit::verify(data.path(), Scope::default(), &mut |what| damage.push(what))
            .await
            .unwrap();
        let ours = damage.iter().all(|what| what.segment.starts_with(&stream));
        assert!(ours, "{damage:?}");
        assert_eq!(damage.is_empty(), !all, "{damage:?}");
    }
}

/// What is said of an epoch's last bytes is said of bytes that it has.
#[tokio::test]
async fn nothing_is_proved_by_bytes_that_are_gone() {
    for (before, all, restart) in [
        (0, false, false),
        (0, true, false),
        (0, false, true),
        (0, true, true),
        (1, false, false),
        (1, false, true),
    ] {
        let data = Data::new();
        let mut archive = data.open(small()).await;
        let mut a = open(&mut archive, 1).await;
        for _ in 0..before {
            archive.append(a, b"closed\n").unwrap();
            archive.close_segment(a).unwrap();
        }
        archive.append(a, b"open, and half a line").unwrap();
        archive.commit().await.unwrap();
        let epoch = data.path().join(format!("archive/w/decky/{}", id(1)));
        let end = 7 * before;
        if all {
            fs::remove_dir_all(&epoch).unwrap();
        } else {
            fs::remove_file(epoch.join(format!("{end:020}.log"))).unwrap();
        }
        if restart {
            archive.close().await.unwrap();
            archive = data.open(small()).await;
        } else {
            archive.append(a, b"x").unwrap();
            archive.commit().await.unwrap_err();
            archive.void().await.unwrap();
        }
        a = open(&mut archive, 1).await;
        let stand = archive.stand(a).unwrap();
        assert_eq!((stand.end, stand.in_line), (end, false));
        let held = &b"closed\n"[..end as usize];
        let tail = (stand.tail.end, stand.tail.blake3);
        assert_eq!(tail, (end, *blake3::hash(held).as_bytes()));
        assert_eq!(archive.epochs(&key(), 1).await.unwrap()[0].tail, stand.tail);
        archive.append(a, b"again\n").unwrap();
        archive.commit().await.unwrap();
        assert_eq!(bytes(&data, 1, end + 6), [held, b"again\n"].concat());
    }
}

/// What is behind the last segment is proved, and read by whom that is enough, without the ledger: a worker that tells
/// of a gap in each window would have it read as a whole each time.
#[tokio::test]
async fn a_gap_at_the_end_is_known_without_the_ledger() {
    let data = Data::new();
    let mut archive = data.open(small()).await;
    let a = open(&mut archive, 1).await;
    archive.append(a, b"a line\n").unwrap();
    archive.gap(a, 20, "lag-cap").unwrap();
    archive.commit().await.unwrap();
    let mut reader = Reader::open(data.path(), &key(), id(1), Form::Log, 7).unwrap();
    let mut buf = Vec::new();
    assert_eq!(reader.read(20, 100, &mut buf).unwrap(), Chunk::Gap(20));
    // Nobody can read it.
    let ledger = data.path().join("archive/w/decky/ledger.jsonl");
    fs::rename(&ledger, data.path().join("away")).unwrap();
    fs::create_dir(&ledger).unwrap();
    let proof = archive.prove(&key(), id(1), 20, 20).await.unwrap();
    assert_eq!(proof, Proof::Missing(Some(7..20)));
    reader.seek(7);
    assert!(matches!(
        reader.read_held(20, 100, &mut buf),
        Err(ReadError::Missing(7))
    ));
    reader.read(20, 100, &mut buf).unwrap_err();
}

/// However many streams a window has, and so however they are synced: what is in a file without a name does not stand.
#[tokio::test]
async fn no_window_stands_that_wrote_to_a_removed_segment() {
    for streams in [1, 8, 9, 30] {
        let data = Data::new();
        let mut archive = data.open(small()).await;
        let mut handles = Vec::new();
        for n in 0..streams {
            let key = StreamKey::new(&format!("w{n}"), "decky").unwrap();
            let opened = archive.open_epoch(&key, id(1), Form::Log, 0, Origin::default());
            handles.push(opened.await.unwrap());
        }
        let append = |archive: &mut Archive| {
            for handle in &handles {
                archive.append(*handle, b"a line\n").unwrap();
            }
        };
        append(&mut archive);
        archive.commit().await.unwrap();
        append(&mut archive);
        fs::remove_file(&data.files("archive/w0/decky", ".log")[0]).unwrap();
        archive.commit().await.unwrap_err();
        assert_eq!(archive.void().await.unwrap(), []);
        let found = archive.take_found();
        assert!(
            matches!(&found[..], [Recovered::Damaged { committed: 7, .. }]),
            "{streams} streams: {found:?}"
        );
    }
}
