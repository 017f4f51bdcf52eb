//! State or files that are lost, older than the other, or put back from a copy.

use std::fs;
use std::io::Write as _;

use crate::bed::{Bed, limits, lines, until};
use crate::master::{Master, assert_same};

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_state_directory_repeats_nothing() {
    let bed = Bed::new().await;
    let master = Master::start(&bed).await;
    let mut text = Vec::new();
    let forwarder = bed.start(&[master.port]);
    for round in 0..4 {
        if round > 0 {
            bed.rotate();
        }
        let more = lines(round * 100..(round + 1) * 100);
        bed.append(&more);
        text.extend_from_slice(&more);
        master.has(&text).await;
    }
    forwarder.stop().await;
    assert_eq!(master.archive().epochs.len(), 4);
    fs::remove_dir_all(bed.state()).unwrap();
    let (plain, packed) = ("decky.log.2", "decky.log.2.gz");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let bytes = fs::read(bed.dir.path().join(plain)).unwrap();
    gzip.write_all(&bytes).unwrap();
    fs::write(bed.dir.path().join(packed), gzip.finish().unwrap()).unwrap();
    fs::remove_file(bed.dir.path().join(plain)).unwrap();
    bed.append(&lines(400..450));
    fs::rename(
        bed.dir.path().join(packed),
        bed.dir.path().join("decky.log.3.gz"),
    )
    .unwrap();
    fs::rename(
        bed.dir.path().join("decky.log.3"),
        bed.dir.path().join("decky.log.4"),
    )
    .unwrap();
    bed.rotate();
    bed.append(&lines(450..500));
    text.extend_from_slice(&lines(400..500));
    let forwarder = bed.start(&[master.port]);
    master.has(&text).await;
    forwarder.delivered(lines(450..500).len() as u64).await;
    forwarder.stop().await;
    assert_same(&master.archive().text(), &text);
    assert_eq!(master.archive().epochs.len(), 5);
}

/// Each of them may be any of the epochs: more questions than one connection has.
#[tokio::test(flavor = "multi_thread")]
async fn many_short_files_are_all_asked_about() {
    const FILES: u64 = 16;
    let bed = Bed::new().await;
    let master = Master::start(&bed).await;
    let forwarder = bed.start(&[master.port]);
    let mut text = Vec::new();
    for n in 0..FILES {
        if n > 0 {
            bed.rotate();
        }
        let more = format!("{n:0len$}\n", len = 20 + 10 * n as usize).into_bytes();
        bed.append(&more);
        text.extend_from_slice(&more);
        master.has(&text).await;
    }
    forwarder.stop().await;
    fs::remove_dir_all(bed.state()).unwrap();
    let more = lines(1000..1010);
    bed.append(&more);
    text.extend_from_slice(&more);
    let forwarder = bed.start(&[master.port]);
    master.has(&text).await;
    forwarder.stop().await;
    assert_same(&master.archive().text(), &text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_reads_the_live_file_alone() {
    let bed = Bed::new().await;
    let master = Master::start(&bed).await;
    bed.append(&lines(0..100));
    bed.rotate();
    bed.append(&lines(100..200));
    let forwarder = bed.start(&[master.port]);
    master.has(&lines(100..200)).await;
    forwarder.delivered(lines(100..200).len() as u64).await;
    forwarder.stop().await;
    assert_same(&master.archive().text(), &lines(100..200));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_of_the_state_repeats_nothing() {
    let bed = Bed::new().await;
    let master = Master::start(&bed).await;
    bed.append(&lines(0..100));
    let forwarder = bed.start(&[master.port]);
    master.has(&lines(0..100)).await;
    forwarder.stop().await;
    bed.keep_state();
    let forwarder = bed.start(&[master.port]);
    bed.append(&lines(100..150));
    bed.rotate();
    bed.append(&lines(150..200));
    master.has(&lines(0..200)).await;
    forwarder.stop().await;
    bed.put_state_back();
    bed.append(&lines(200..250));
    let forwarder = bed.start(&[master.port]);
    master.has(&lines(0..250)).await;
    forwarder.delivered(lines(150..250).len() as u64).await;
    forwarder.stop().await;
    assert_same(&master.archive().text(), &lines(0..250));
    assert_eq!(master.archive().epochs.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_file_branches_where_the_histories_part() {
    let bed = Bed::new().await;
    let master = Master::start(&bed).await;
    bed.append(&lines(0..2000));
    let forwarder = bed.start(&[master.port]);
    master.has(&lines(0..2000)).await;
    forwarder.stop().await;
    // A snapshot of the disk from before, and then another future; the state is the snapshot's too.
    fs::remove_dir_all(bed.state()).unwrap();
    let common = lines(0..1000);
    fs::write(bed.log(), &common).unwrap();
    bed.append(&lines(5000..5100));
    let forwarder = bed.start(&[master.port]);
    until(async || master.archive().text().ends_with(&lines(5099..5100))).await;
    forwarder.stop().await;
    let archive = master.archive();
    assert_eq!(archive.epochs.len(), 2);
    assert_eq!(archive.epochs[1].of, Some(archive.epochs[0].id));
    assert_eq!(archive.epochs[1].base, common.len());
    assert_same(
        &archive.text(),
        &[lines(0..2000), lines(5000..5100)].concat(),
    );
}

/// The archive has two gaps, with 10 kB above each; the file that is put back parts above, in and below them.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_file_over_two_gaps_repeats_nothing() {
    for common in [4990, 3500, 2990, 1500, 500] {
        let bed = Bed::new().await;
        let master = Master::start(&bed).await;
        for part in [0..1000, 1000..3000, 3000..5000] {
            bed.append(&lines(part.clone()));
            let config = if part.start > 0 {
                "max_lag_bytes = 10000"
            } else {
                ""
            };
            let forwarder = bed.start_with(&[master.port], config, limits());
            until(async || {
                master
                    .archive()
                    .held()
                    .ends_with(&lines(part.end - 1..part.end))
            })
            .await;
            forwarder.stop().await;
        }
        let epoch = master.archive().epochs[0].clone();
        assert_eq!(epoch.gaps.len(), 2);
        fs::write(bed.log(), lines(0..common)).unwrap();
        bed.append(&lines(9000..9100));
        let forwarder = bed.start(&[master.port]);
        until(async || master.archive().held().ends_with(&lines(9099..9100))).await;
        forwarder.stop().await;
        let held = master.archive().held();
        let found: Vec<&[u8]> = held.split_inclusive(|byte| *byte == b'\n').collect();
        let mut once = found.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(found.len(), once.len(), "{common}: a line stands twice");
        // What the master had, and of the file what it had not: all above the gap in which, or above which, it parts.
        let all = lines(0..common);
        let gap = epoch.gaps.iter().rfind(|(from, ..)| *from < all.len());
        let base = gap
            .filter(|(_, to, _)| *to >= all.len())
            .map_or(all.len(), |gap| gap.0);
        assert_eq!(master.archive().epochs[1].base, base, "{common}");
    }
}

/// The copy is from before a branch: it names the epoch that the file was, and nothing of the one that it is.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_of_the_state_does_not_branch_again() {
    // A copy from behind where the histories part, and from before; as much of the branch as proves an epoch, and less.
    for (known, more) in [(2000, 100), (2000, 5), (500, 100), (500, 5)] {
        let bed = Bed::new().await;
        let master = Master::start(&bed).await;
        for part in [0..known, known..2000]
            .into_iter()
            .filter(|part| !part.is_empty())
        {
            bed.append(&lines(part.clone()));
            let forwarder = bed.start(&[master.port]);
            master.has(&lines(0..part.end)).await;
            forwarder.stop().await;
            if part.end == known {
                bed.keep_state();
            }
        }
        fs::write(bed.log(), lines(0..1000)).unwrap();
        bed.append(&lines(5000..5000 + more));
        fs::remove_dir_all(bed.state()).unwrap();
        let forwarder = bed.start(&[master.port]);
        let text = [lines(0..2000), lines(5000..5000 + more)].concat();
        master.has(&text).await;
        forwarder.stop().await;
        assert_eq!(master.archive().epochs.len(), 2);
        bed.put_state_back();
        bed.append(&lines(6000..6010));
        let text = [text, lines(6000..6010)].concat();
        let forwarder = bed.start(&[master.port]);
        until(async || master.archive().text().ends_with(&lines(6009..6010))).await;
        forwarder.stop().await;
        assert_same(&master.archive().text(), &text);
        // Whether the file of the epoch that was known had more, nobody can tell.
        let known = |fact: &serde_json::Value| fact["known"] == 0;
        assert!(bed.ledger().iter().all(known), "{:?}", bed.ledger());
    }
}

/// How a file comes back from a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Restore {
    /// While the forwarder is down.
    Down,
    /// Over the file, which keeps its inode.
    InPlace,
    /// By a rename over the file.
    Renamed,
}

/// It is shorter, begins as it did, and goes on otherwise; the state is newer.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_from_a_backup_branches_off() {
    for restore in [Restore::Down, Restore::InPlace, Restore::Renamed] {
        for kept in [100, 1000] {
            let bed = Bed::new().await;
            let master = Master::start(&bed).await;
            bed.append(&lines(0..2000));
            let mut forwarder = Some(bed.start(&[master.port]));
            master.has(&lines(0..2000)).await;
            let running = forwarder.as_ref().unwrap();
            running.delivered(lines(0..2000).len() as u64).await;
            if restore == Restore::Down {
                forwarder.take().unwrap().stop().await;
            }
            let backup = bed.dir.path().join("backup");
            fs::write(&backup, lines(0..kept)).unwrap();
            match restore {
                Restore::Renamed => fs::rename(&backup, bed.log()).unwrap(),
                Restore::Down | Restore::InPlace => {
                    fs::copy(&backup, bed.log()).unwrap();
                }
            }
            bed.append(&lines(5000..5100));
            let forwarder = forwarder.unwrap_or_else(|| bed.start(&[master.port]));
            until(async || master.archive().text().ends_with(&lines(5099..5100))).await;
            forwarder.stop().await;
            let text = [lines(0..2000), lines(5000..5100)].concat();
            assert_same(&master.archive().text(), &text);
            let archive = master.archive();
            let last = archive.epochs.last().unwrap();
            assert_eq!(last.of, Some(archive.epochs[0].id), "{restore:?}");
            assert!(bed.ledger().is_empty(), "{restore:?}: {:?}", bed.ledger());
        }
    }
}
