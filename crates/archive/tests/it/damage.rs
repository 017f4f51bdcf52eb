//! An older index put back at any time, and files full of anything.

use std::fs;
use std::path::{Path, PathBuf};

use archive::audit::{self, Scope};
use archive::{
    Archive, Chunk, EpochId, Form, Handle, Options, Origin, Reader, Recovered, StreamKey,
};
use proptest::prelude::*;

use crate::support::{Data, small};

pub(crate) fn key() -> StreamKey {
    StreamKey::new("w", "decky").unwrap()
}

pub(crate) fn id(n: u8) -> EpochId {
    EpochId::from_bytes([n; 16])
}

pub(crate) async fn open(archive: &mut Archive, n: u8) -> Handle {
    archive
        .open_epoch(&key(), id(n), Form::Log, 0, Origin::default())
        .await
        .unwrap()
}

fn index(data: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    ["", "-wal", "-shm"]
        .map(|suffix| data.join(format!("index.sqlite{suffix}")))
        .map(|path| (path.clone(), fs::read(path).ok()))
        .into()
}

fn put_back(copy: &[(PathBuf, Option<Vec<u8>>)]) {
    for (path, bytes) in copy {
        match bytes {
            Some(bytes) => fs::write(path, bytes).unwrap(),
            None => drop(fs::remove_file(path)),
        }
    }
}

pub(crate) fn bytes(data: &Data, n: u8, end: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if end > 0 {
        let mut reader = Reader::open(data.path(), &key(), id(n), Form::Log, 0).unwrap();
        while reader.read(end, 1000, &mut bytes).unwrap() != Chunk::End {}
    }
    bytes
}

/// Twelve windows of two epochs, all together less than one window may have; a copy of the index after each, and
/// before a thirteenth that a crash interrupts. Whichever copy is put back, everything acknowledged is there.
#[tokio::test]
async fn no_older_index_cuts_what_was_acknowledged() {
    for copy in 0..=12 {
        for clean in [true, false] {
            let data = Data::new();
            let mut archive = data.open(Options::default()).await;
            let mut copies = vec![index(data.path())];
            let mut acked = [0, 0];
            let (mut a, mut b) = (open(&mut archive, 1).await, open(&mut archive, 2).await);
            for n in 0..12u64 {
                let line = vec![b'a' + n as u8; 10 + n as usize];
                archive.append(a, &line).unwrap();
                if n % 3 == 0 {
                    archive.append(b, &line).unwrap();
                }
                if n == 7 {
                    archive.roll(a, id(2), "rotated", Some(0)).unwrap();
                }
                for report in archive.commit().await.unwrap() {
                    acked[usize::from(report.handle == b)] = report.to;
                }
                copies.push(index(data.path()));
                if n == 9 {
                    archive.close().await.unwrap();
                    copies.pop();
                    copies.push(index(data.path()));
                    archive = data.open(Options::default()).await;
                    (a, b) = (open(&mut archive, 1).await, open(&mut archive, 2).await);
                }
            }
            let expected = [bytes(&data, 1, acked[0]), bytes(&data, 2, acked[1])];
            if clean {
                archive.close().await.unwrap();
            } else {
                archive.append(a, b"not acknowledged").unwrap();
                drop(archive);
            }
            data.settled();
            put_back(&copies[copy]);
            let mut archive = data.open(Options::default()).await;
            let ends = [1, 2].map(|n| (n, usize::from(n) - 1));
            for (n, at) in ends {
                let handle = open(&mut archive, n).await;
                let end = archive.stand(handle).unwrap().end;
                assert!(end >= acked[at], "copy {copy}: {end} of {}", acked[at]);
                assert_eq!(bytes(&data, n, end)[..expected[at].len()], expected[at]);
                if clean || copy >= 11 {
                    assert_eq!(end, acked[at], "copy {copy}");
                }
            }
            let rebuilt = archive.recovered().contains(&Recovered::IndexRebuilt);
            // The copy of the window before is brought up by the witness.
            assert_eq!(
                rebuilt,
                copy < 11,
                "copy {copy}, {clean} {:?}",
                archive.recovered()
            );
            let mut damage = Vec::new();
            audit::verify(data.path(), Scope::default(), &mut |what| damage.push(what))
                .await
                .unwrap();
            assert_eq!(damage, []);
        }
    }
}

#[tokio::test]
async fn an_index_that_is_damaged_inside_is_made_again() {
    let data = Data::new();
    let mut archive = data.open(small()).await;
    let a = open(&mut archive, 1).await;
    for _ in 0..50 {
        archive.append(a, &[b'x'; 100]).unwrap();
        archive.commit().await.unwrap();
    }
    archive.close().await.unwrap();
    let path = data.path().join("index.sqlite");
    let whole = fs::read(&path).unwrap();
    for page in 0..whole.len() / 4096 {
        let mut damaged = whole.clone();
        damaged[page * 4096..(page + 1) * 4096].fill(0x5a);
        fs::write(&path, &damaged).unwrap();
        let mut archive = data.open(small()).await;
        let a = open(&mut archive, 1).await;
        assert_eq!(archive.stand(a).unwrap().end, 5000, "page {page}");
        archive.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_ledger_with_a_damaged_end_stops_nothing() {
    let data = made().await;
    let ledger = data.path().join("archive/w/decky/ledger.jsonl");
    let mut bytes = fs::read(&ledger).unwrap();
    let at = bytes.len() - 10;
    bytes[at] = 0xff;
    fs::write(&ledger, &bytes).unwrap();
    let mut archive = data.open(small()).await;
    let a = open(&mut archive, 1).await;
    archive.gap(a, 2000, "lag-cap").unwrap();
    archive.commit().await.unwrap();
    archive.append(a, b"goes on\n").unwrap();
    archive.commit().await.unwrap();
    assert_eq!(archive.stand(a).unwrap().end, 2008);
    archive.close().await.unwrap();
    let aside = data.files("archive/w/decky", "").into_iter();
    let aside = aside.filter(|path| path.to_string_lossy().contains("damaged-"));
    assert_eq!(
        aside
            .map(|path| fs::read(path).unwrap())
            .collect::<Vec<_>>(),
        [bytes]
    );
    let mut damage = Vec::new();
    audit::verify(data.path(), Scope::default(), &mut |what| {
        damage.push(what.segment)
    })
    .await
    .unwrap();
    assert!(damage.contains(&ledger), "{damage:?}");
}

#[tokio::test]
async fn a_ledger_that_lost_lines_is_noticed() {
    let data = made().await;
    let ledger = data.path().join("archive/w/decky/ledger.jsonl");
    let text = fs::read_to_string(&ledger).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    fs::write(&ledger, lines[..lines.len() - 2].concat()).unwrap();
    let archive = data.open(small()).await;
    let lost = Recovered::Ledger { key: key() };
    assert_eq!(archive.recovered(), [lost]);
    archive.close().await.unwrap();
    let mut damage = Vec::new();
    audit::verify(data.path(), Scope::default(), &mut |what| damage.push(what))
        .await
        .unwrap();
    assert!(
        damage
            .iter()
            .any(|what| what.segment == ledger && what.what.contains("did not go on")),
        "{damage:?}"
    );
    assert_eq!(data.open(small()).await.recovered(), [], "once is enough");
}

/// A small archive, closed, to be overwritten.
async fn made() -> Data {
    let data = Data::new();
    let mut archive = data.open(small()).await;
    let a = open(&mut archive, 1).await;
    for _ in 0..4 {
        archive.append(a, b"some line of a log\n").unwrap();
        archive.close_segment(a).unwrap();
        archive.commit().await.unwrap();
    }
    archive.gap(a, 1000, "lag-cap").unwrap();
    archive.append(a, b"open\n").unwrap();
    archive.commit().await.unwrap();
    while archive.compress_next(1 << 20).await.unwrap() != archive::Compression::Idle {
        if data.files("archive", ".zst").len() == 2 {
            break;
        }
    }
    archive.close().await.unwrap();
    data
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever stands in a file, nothing panics: not the start, nor writing on, nor reading, nor `verify`.
    #[test]
    fn no_file_panics_anything(
        file in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        how in 0..4,
        forget in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let data = made().await;
            let files: Vec<PathBuf> = data
                .files("", "")
                .into_iter()
                .filter(|path| !path.ends_with("archive-id"))
                .collect();
            let path = file.get(&files);
            let mut content = fs::read(path).unwrap();
            let at = if content.is_empty() { 0 } else { at.index(content.len()) };
            match how {
                0 => content = bytes,
                1 => content.truncate(at),
                2 => drop(content.splice(at..at, bytes)),
                _ => {
                    let to = (at + bytes.len()).min(content.len());
                    content[at..to].copy_from_slice(&bytes[..to - at]);
                }
            }
            fs::write(path, content).unwrap();
            if forget {
                data.forget_index();
            }
            let mut found = 0;
            let _ = audit::verify(data.path(), Scope::default(), &mut |_| found += 1).await;
            let _ = audit::gaps(data.path(), Scope::default(), &mut |_| found += 1);
            if let Ok(mut archive) = Archive::open(data.path(), small()).await {
                let opened = archive
                    .open_epoch(&key(), id(1), Form::Log, 0, Origin::default())
                    .await;
                if let Ok(handle) = opened {
                    let _ = archive.append(handle, b"goes on\n");
                    let _ = archive.gap(handle, 5000, "lag-cap");
                    if archive.commit().await.is_err() {
                        let _ = archive.void().await;
                    }
                    let _ = archive.prove(&key(), id(1), 70, 70).await;
                    let _ = archive.epochs(&key(), 16).await;
                }
                for _ in 0..5 {
                    let _ = archive.compress_next(1 << 20).await;
                }
            }
            let reader = Reader::open(data.path(), &key(), id(1), Form::Log, 0);
            if let Ok(mut reader) = reader {
                let mut buf = Vec::new();
                while matches!(reader.read(2000, 100, &mut buf), Ok(Chunk::Bytes(_) | Chunk::Gap(_))) {}
            }
        });
    }
}
