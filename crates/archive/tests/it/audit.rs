//! `verify` and `gaps`: each way to damage a closed archive is found, with its place, and nothing else is.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use archive::audit::{self, Damage, GapLine, Scope};
use archive::{Compression, EpochId, Form, Options, Origin, StreamKey};

use crate::support::{Data, small};

async fn verify(data: &Data) -> Vec<Damage> {
    let mut damage = Vec::new();
    audit::verify(data.path(), Scope::default(), &mut |what| damage.push(what))
        .await
        .unwrap();
    damage
}

fn key() -> StreamKey {
    StreamKey::new("w", "decky").unwrap()
}

fn line(n: usize) -> Vec<u8> {
    format!("line {n} {}\n", "y".repeat(n % 31)).into_bytes()
}

/// A rolled epoch of small segments with a gap, and a sealed one of a segment with five pieces; closed in an orderly
/// way. The first segments of both are compressed if asked for.
async fn archived(packed: usize) -> (Data, Vec<PathBuf>) {
    let data = Data::new();
    let options = Options {
        segment_max_bytes: 1 << 30,
        ..small()
    };
    let (first, second) = (EpochId::from_bytes([1; 16]), EpochId::from_bytes([2; 16]));
    let mut archive = data.open(options).await;
    let a = archive
        .open_epoch(&key(), first, Form::Log, 0, Origin::default())
        .await
        .unwrap();
    for n in 0..60 {
        archive.append(a, &line(n)).unwrap();
        if n % 10 == 9 {
            archive.close_segment(a).unwrap();
        }
        if n == 29 {
            let to = archive.stand(a).unwrap().end + 5000;
            archive.gap(a, to, "lag-cap").unwrap();
        }
        archive.commit().await.unwrap();
    }
    archive.roll(a, second, "rotated", Some(0)).unwrap();
    let origin = Origin {
        after: Some(first),
        of: None,
    };
    let b = archive
        .open_epoch(&key(), second, Form::Log, 0, origin)
        .await
        .unwrap();
    for n in 0..44 {
        archive.append(b, &line(n).repeat(5000)).unwrap();
    }
    archive.seal(b).unwrap();
    archive.commit().await.unwrap();
    let mut done = 0;
    while done < packed {
        if let Compression::Done { .. } = archive.compress_next(16 << 20).await.unwrap() {
            done += 1;
        }
    }
    archive.close().await.unwrap();
    assert_eq!(verify(&data).await, []);
    let mut segments = data.files("archive", ".log");
    segments.extend(data.files("archive", ".zst"));
    segments.sort();
    assert_eq!(segments.len(), 7);
    (data, segments)
}

/// The base offset in a segment's name.
fn base(path: &Path) -> u64 {
    let name = path.file_name().unwrap().to_str().unwrap();
    name.split('.').next().unwrap().parse().unwrap()
}

/// Exactly this segment is damaged, at this offset.
#[track_caller]
fn only(damage: &[Damage], segment: &Path, offset: u64, what: &str) {
    let found = damage.iter().any(|found| {
        found.segment == segment && found.offset == offset && found.what.contains(what)
    });
    let elsewhere = damage.iter().find(|found| found.segment != segment);
    assert!(
        found && elsewhere.is_none(),
        "{segment:?} {offset} {what}: {damage:#?}"
    );
}

fn flip(path: &Path, at: u64) {
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

/// Positions all over a file: both ends, around the pieces, and between.
fn positions(len: u64) -> Vec<u64> {
    let pieces = (0..=len >> 20).flat_map(|n| [(n << 20).saturating_sub(1), n << 20]);
    let mut all: Vec<u64> = pieces
        .chain([len / 3, len / 2, len - 1])
        .filter(|at| *at < len)
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[tokio::test]
async fn finds_a_flipped_byte_within_its_piece() {
    for packed in [0, 7] {
        let (data, segments) = archived(packed).await;
        let mut large = 0;
        for path in &segments {
            let len = fs::metadata(path).unwrap().len();
            for at in positions(len) {
                flip(path, at);
                let damage = verify(&data).await;
                if packed == 0 {
                    let piece = at >> 20 << 20;
                    large += usize::from(piece > 0);
                    only(&damage, path, base(path) + piece, "are not what was");
                    assert_eq!(damage.len(), 1);
                } else {
                    // In a compressed segment it may be the frame, or the table.
                    assert!(!damage.is_empty(), "{path:?} {at}");
                    assert!(damage.iter().all(|what| what.segment == *path));
                }
                flip(path, at);
            }
        }
        assert!(
            packed > 0 || large > 4,
            "pieces beyond the first were damaged"
        );
        assert_eq!(verify(&data).await, []);
    }
}

#[tokio::test]
async fn finds_bytes_that_were_removed_or_inserted() {
    let (data, segments) = archived(0).await;
    for path in &segments {
        let whole = fs::read(path).unwrap();
        for at in [0, whole.len() / 2, whole.len() - 1] {
            let mut less = whole.clone();
            less.remove(at);
            fs::write(path, &less).unwrap();
            let damage = verify(&data).await;
            only(
                &damage,
                path,
                base(path) + less.len() as u64,
                "truncated, 1 bytes",
            );
            let mut more = whole.clone();
            more.insert(at, b'z');
            fs::write(path, &more).unwrap();
            let damage = verify(&data).await;
            only(
                &damage,
                path,
                base(path) + whole.len() as u64,
                "1 bytes more",
            );
        }
        fs::write(path, &whole[..0]).unwrap();
        only(&verify(&data).await, path, base(path), "truncated");
        fs::write(path, &whole).unwrap();
    }
    assert_eq!(verify(&data).await, []);
}

#[tokio::test]
async fn finds_segments_that_were_removed_swapped_or_inserted() {
    for packed in [0, 7] {
        let (data, segments) = archived(packed).await;
        for path in &segments {
            let aside = data.path().join("aside");
            fs::rename(path, &aside).unwrap();
            let damage = verify(&data).await;
            assert_eq!(damage.len(), 1);
            assert_eq!(damage[0].offset, base(path));
            assert!(damage[0].what.contains("missing"), "{damage:?}");
            assert_eq!(damage[0].segment.parent(), path.parent());
            fs::rename(&aside, path).unwrap();
        }
        // Two of one epoch change places.
        let (one, other) = (&segments[1], &segments[4]);
        let swap = || {
            let aside = data.path().join("aside");
            fs::rename(one, &aside).unwrap();
            fs::rename(other, one).unwrap();
            fs::rename(&aside, other).unwrap();
        };
        swap();
        let damage = verify(&data).await;
        for path in [one, other] {
            assert!(
                damage.iter().any(|what| what.segment == *path),
                "{damage:?}"
            );
        }
        swap();
        assert_eq!(verify(&data).await, []);
        let folder = segments[0].parent().unwrap();
        let ending = if packed > 0 { "log.zst" } else { "log" };
        let end = 1 << 40;
        for at in [base(&segments[1]) + 1, base(&segments[3]) - 100, end] {
            let inserted = folder.join(format!("{at:020}.{ending}"));
            fs::copy(&segments[0], &inserted).unwrap();
            only(&verify(&data).await, &inserted, at, "nobody ledgered");
            fs::remove_file(inserted).unwrap();
        }
        // At the very end of the epoch, and in an epoch that nobody knows.
        let end = base(&segments[5]) + {
            let mut reader = archive::Reader::open(
                data.path(),
                &key(),
                EpochId::from_bytes([1; 16]),
                Form::Log,
                base(&segments[5]),
            )
            .unwrap();
            let mut bytes = Vec::new();
            while reader.read(u64::MAX, 1000, &mut bytes).is_ok() {}
            bytes.len() as u64
        };
        let inserted = folder.join(format!("{end:020}.{ending}"));
        fs::copy(&segments[0], &inserted).unwrap();
        only(&verify(&data).await, &inserted, end, "nobody ledgered");
        fs::remove_file(inserted).unwrap();
        let stranger = folder.with_file_name("ab".repeat(16));
        fs::create_dir(&stranger).unwrap();
        let inserted = stranger.join(segments[0].file_name().unwrap());
        fs::copy(&segments[0], &inserted).unwrap();
        only(&verify(&data).await, &inserted, 0, "nobody ledgered");
        fs::remove_dir_all(stranger).unwrap();
        for name in ["notes.txt", "00000000000000000000.frames"] {
            let foreign = folder.join(name);
            fs::write(&foreign, "x").unwrap();
            only(
                &verify(&data).await,
                &foreign,
                0,
                "no segment of this epoch",
            );
            fs::remove_file(foreign).unwrap();
        }
        assert_eq!(verify(&data).await, []);
    }
}

#[tokio::test]
async fn finds_a_changed_ledger() {
    let (data, _) = archived(0).await;
    let path = data.path().join("archive/w/decky/ledger.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let start = |n: usize| lines[..n].concat().len() as u64;
    for n in 0..lines.len() {
        // A digit of a length, or the time: still a line of JSON.
        let digit = lines[n]
            .find("2026")
            .or_else(|| lines[n].find("20"))
            .unwrap()
            + 3;
        let mut changed = whole.clone().into_bytes();
        changed[start(n) as usize + digit] ^= 1;
        fs::write(&path, &changed).unwrap();
        let damage = verify(&data).await;
        only(&damage, &path, start(n), "this line is not the one");

        let mut removed = lines.clone();
        removed.remove(n);
        fs::write(&path, removed.concat()).unwrap();
        let damage = verify(&data).await;
        let of_ledger = damage.iter().filter(|what| what.segment == path);
        assert!(of_ledger.count() > 0, "line {n} removed: {damage:?}");

        if n > 0 {
            let mut swapped = lines.clone();
            swapped.swap(n - 1, n);
            fs::write(&path, swapped.concat()).unwrap();
            let damage = verify(&data).await;
            assert!(
                damage.iter().any(|what| what.segment == path),
                "{n} swapped"
            );
        }
        let mut inserted = lines.clone();
        inserted.insert(n, lines[n]);
        fs::write(&path, inserted.concat()).unwrap();
        assert!(verify(&data).await.iter().any(|what| what.segment == path));
    }
    for cut in [0, 1, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..cut]).unwrap();
        let damage = verify(&data).await;
        assert!(
            damage.iter().any(|what| what.segment == path),
            "cut at {cut}"
        );
    }
    fs::remove_file(&path).unwrap();
    let damage = verify(&data).await;
    assert!(
        damage
            .iter()
            .any(|what| what.segment == path && what.what.contains("missing"))
    );
    fs::write(&path, &whole).unwrap();
    assert_eq!(verify(&data).await, []);
}

#[tokio::test]
async fn works_without_an_index_and_while_the_archive_is_open() {
    let (data, segments) = archived(0).await;
    data.forget_index();
    assert_eq!(verify(&data).await, []);
    flip(&segments[2], 5);
    only(
        &verify(&data).await,
        &segments[2],
        base(&segments[2]),
        "are not what was",
    );
    flip(&segments[2], 5);

    let mut archive = data.open(small()).await;
    let third = EpochId::from_bytes([3; 16]);
    let c = archive
        .open_epoch(&key(), third, Form::Log, 0, Origin::default())
        .await
        .unwrap();
    // Nothing committed, then something, then more that is not: in a file of its own, and behind what stands.
    archive.append(c, &[b'a'; 280]).unwrap();
    assert_eq!(verify(&data).await, []);
    archive.commit().await.unwrap();
    assert_eq!(verify(&data).await, []);
    archive.append(c, &[b'b'; 10]).unwrap();
    archive.append(c, &[b'c'; 290]).unwrap();
    assert_eq!(verify(&data).await, []);
    drop(archive);
    assert_eq!(verify(&data).await, [], "after a crash");
    // What stands of an open segment is known by its last bytes.
    let open = data.files("archive/w/decky", "00000000000000000000.log");
    flip(&open[2], 100);
    only(
        &verify(&data).await,
        &open[2],
        0,
        "are not what was committed",
    );
    flip(&open[2], 100);
    data.open(small()).await.close().await.unwrap();
    assert_eq!(verify(&data).await, []);
}

#[tokio::test]
async fn tells_gaps_once_and_by_scope() {
    let data = Data::new();
    let mut archive = data.open(small()).await;
    for (worker, stream) in [("a", "x"), ("a", "y"), ("b", "x")] {
        let key = StreamKey::new(worker, stream).unwrap();
        let id = EpochId::from_bytes([7; 16]);
        let epoch = archive
            .open_epoch(&key, id, Form::Log, 10, Origin::default())
            .await
            .unwrap();
        archive.gap(epoch, 20, "imported").unwrap();
        archive.gap(epoch, 30, "imported").unwrap();
        archive.commit().await.unwrap();
        archive.gap(epoch, 40, "imported").unwrap();
        archive.gap(epoch, 50, "lag-cap").unwrap();
        archive.append(epoch, b"line\n").unwrap();
        archive.gap(epoch, 100, "unreadable").unwrap();
        archive
            .roll(epoch, EpochId::from_bytes([8; 16]), "truncated", None)
            .unwrap();
        archive.commit().await.unwrap();
    }
    let gaps = |scope| {
        let mut gaps: Vec<GapLine> = Vec::new();
        audit::gaps(data.path(), scope, &mut |gap| gaps.push(gap)).unwrap();
        gaps
    };
    let all = gaps(Scope::default());
    assert_eq!(all.len(), 12);
    let told: Vec<_> = all[..4]
        .iter()
        .map(|gap| (gap.from, gap.to, gap.bytes, gap.cause.as_str()))
        .collect();
    let range = |from, to, cause| (Some(from), Some(to), Some(to - from), cause);
    assert_eq!(
        told,
        [
            range(10, 40, "imported"),
            range(40, 50, "lag-cap"),
            range(55, 100, "unreadable"),
            (Some(100), None, None, "truncated"),
        ]
    );
    let of = |worker, stream| gaps(Scope { worker, stream }).len();
    assert_eq!((of(Some("a"), None), of(None, Some("x"))), (8, 8));
    assert_eq!((of(Some("b"), Some("y")), of(Some("b"), Some("x"))), (0, 4));
    let json = serde_json::to_string(&all[3]).unwrap();
    let expected = format!(
        r#"{{"worker":"a","stream":"x","epoch":"{}","from":100,"to":null,"bytes":null,"cause":"truncated","at":"2"#,
        "07".repeat(16)
    );
    assert!(json.starts_with(&expected), "{json}");
}

#[tokio::test]
async fn an_archive_that_was_never_used_has_neither_gaps_nor_damage() {
    let data = Data::new();
    let scope = Scope::default;
    audit::gaps(data.path(), scope(), &mut |gap| panic!("{gap:?}")).unwrap();
    audit::verify(data.path(), scope(), &mut |damage| panic!("{damage:?}"))
        .await
        .unwrap();
    // One that is gone is another matter.
    drop(data.open(small()).await);
    fs::remove_dir(data.path().join("archive")).unwrap();
    assert!(audit::gaps(data.path(), scope(), &mut |_| {}).is_err());
    assert!(
        audit::verify(data.path(), scope(), &mut |_| {})
            .await
            .is_err()
    );
}
