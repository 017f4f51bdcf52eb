//! Retention and compression of closed segments, beside the merged outputs that are made of them.

use std::fs;
use std::path::PathBuf;

use archive::{Archive, EpochId, Form, Options, Origin, StreamKey};

use crate::support::{Master, count, lines, until};

/// An archive with so many lines of a worker in an epoch that is over, and in one that goes on.
pub(crate) async fn fill(master: &Master, each: usize) -> Vec<u8> {
    let options = Options {
        segment_max_bytes: 200_000,
        ..Options::default()
    };
    let mut archive = Archive::open(&master.data(), options).await.unwrap();
    let key = StreamKey::new("web-1", "decky").unwrap();
    let mut all = Vec::new();
    for n in 0..2 {
        let id = EpochId::from_bytes([n as u8; 16]);
        let handle = archive
            .open_epoch(&key, id, Form::Log, 0, Origin::default())
            .await
            .unwrap();
        let text = lines(n * each, (n + 1) * each);
        for window in text.chunks(64 << 10) {
            archive.append(handle, window).unwrap();
            archive.commit().await.unwrap();
        }
        if n == 0 {
            let next = EpochId::from_bytes([1; 16]);
            archive.roll(handle, next, "gone", Some(0)).unwrap();
            archive.seal(handle).unwrap();
            archive.commit().await.unwrap();
        }
        all.extend_from_slice(&text);
    }
    archive.close().await.unwrap();
    all
}

/// The segments of the worker, by epoch.
pub(crate) fn segments(master: &Master, epoch: u8) -> Vec<PathBuf> {
    let dir = master
        .data()
        .join("archive/web-1/decky")
        .join(format!("{epoch:02x}").repeat(16));
    let mut files: Vec<_> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn retention_removes_what_is_merged_and_waits_for_the_rest() {
    let mut master = Master::with("[retention]\nmax_bytes = \"1MiB\"\n");
    let all = fill(&master, 10_000).await;
    let before = segments(&master, 0).len() + segments(&master, 1).len();
    assert!(all.len() > 3 << 20);
    // The merged files can't be written.
    let places = master.data().join("merged/places.sqlite");
    fs::create_dir_all(master.data().join("merged")).unwrap();
    fs::write(&places, vec![7; 9000]).unwrap();
    master.start().await;
    until("retention waits", async || {
        (master.metric("retention_waiting").await > 0).then_some(())
    })
    .await;
    assert_eq!(master.metric("removed_segments_total").await, 0);
    let now = segments(&master, 0).len() + segments(&master, 1).len();
    assert_eq!(now, before);
    fs::remove_file(places).unwrap();
    master.merged(20_000).await;
    until("segments are removed", async || {
        (master.metric("retention_waiting").await == 0
            && master.metric("removed_segments_total").await > 0)
            .then_some(())
    })
    .await;
    master.stop();
    assert!(master.merged_log() == all);
    assert_eq!(segments(&master, 0), Vec::<PathBuf>::new());
    let left: u64 = segments(&master, 1)
        .iter()
        .map(|file| fs::metadata(file).unwrap().len())
        .sum();
    assert!((1..=1 << 20).contains(&left), "{left}");
    let ledger =
        fs::read_to_string(master.data().join("archive/web-1/decky/ledger.jsonl")).unwrap();
    assert!(ledger.contains("\"kind\":\"removed\""));
    // Nothing comes again.
    master.start().await;
    master.shows("merged_lag_bytes", 0).await;
    master.kill();
    assert!(master.merged_log() == all);
}

#[tokio::test]
async fn compressed_segments_are_merged_like_others() {
    let mut master = Master::with("[segment]\ncompress = true\n");
    let all = fill(&master, 10_000).await;
    let config = fs::read_to_string(master.path("listener.toml")).unwrap();
    let merged = config.find("[merged]").unwrap();
    let segment = config.find("[segment]").unwrap();
    let off = [&config[..merged], &config[segment..]].concat();
    fs::write(master.path("listener.toml"), off).unwrap();
    master.start().await;
    until("closed segments are compressed", async || {
        let plain = |path: &PathBuf| path.extension().is_some_and(|end| end == "log");
        (segments(&master, 0)
            .iter()
            .filter(|path| plain(path))
            .count()
            == 0)
            .then_some(())
    })
    .await;
    assert!(master.metric("compressed_bytes_total").await > 1 << 20);
    assert!(!segments(&master, 0).is_empty());
    master.stop();
    fs::write(master.path("listener.toml"), config).unwrap();
    master.start().await;
    master.merged(20_000).await;
    master.stop();
    assert!(master.merged_log() == all);
    assert_eq!(count(&master.merged_log()), master.merged_json().len());
}
