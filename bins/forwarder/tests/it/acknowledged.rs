//! Acknowledged delivery against a master of the test's own.

use std::fs;

use crate::bed::{Bed, append, limits, line, lines, until};
use crate::master::{Archive, Manner, Master, assert_same};

#[tokio::test(flavor = "multi_thread")]
async fn delivers_the_file_byte_for_byte() {
    let bed = Bed::new().await;
    let master = Master::start(&bed).await;
    let mut text = lines(0..3000);
    text.extend_from_slice(b"\n\none\n\n\ntwo\n\n");
    bed.append(&text);
    let forwarder = bed.start(&[master.port]);
    master.has(&text).await;
    bed.append(b"unfini");
    bed.append(b"shed\n\n");
    text.extend_from_slice(b"unfinished\n\n");
    master.has(&text).await;
    forwarder.delivered(text.len() as u64).await;
    let stream = forwarder.stream().await.unwrap();
    assert_eq!(stream["mode"], "acknowledged");
    assert_eq!(stream["acknowledged"], text.len());
    forwarder.stop().await;
    assert_eq!(master.archive().epochs.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn goes_on_where_the_master_says() {
    let bed = Bed::new().await;
    let master = Master::start(&bed).await;
    bed.append(&lines(0..100));
    let forwarder = bed.start(&[master.port]);
    master.has(&lines(0..100)).await;
    forwarder.stop().await;
    bed.append(&lines(100..200));
    let forwarder = bed.start(&[master.port]);
    master.has(&lines(0..200)).await;
    forwarder.stop().await;
    assert_eq!(master.archive().epochs.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_begins_an_epoch() {
    let bed = Bed::new().await;
    let master = Master::start(&bed).await;
    bed.append(&lines(0..100));
    let forwarder = bed.start(&[master.port]);
    master.has(&lines(0..100)).await;
    bed.append(b"no end");
    bed.rotate();
    bed.append(&lines(100..200));
    let mut text = lines(0..100);
    text.extend_from_slice(b"no end");
    text.extend_from_slice(&lines(100..200));
    master.has(&text).await;
    append(&bed.dir.path().join("decky.log.1"), b", late\n");
    let late = [&text[..], b", late\n"].concat();
    until(async || master.archive().text().len() == late.len()).await;
    forwarder.stop().await;
    let archive = master.archive();
    assert_eq!(archive.epochs.len(), 2);
    assert_eq!(archive.epochs[1].after, Some(archive.epochs[0].id));
    assert!(archive.epochs[0].bytes.ends_with(b"no end, late\n"));
    assert_same(&archive.epochs[1].bytes, &lines(100..200));
    assert!(bed.ledger().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_over_the_frame_limit_goes_in_parts() {
    let bed = Bed::new().await;
    let master = Master::start(&bed).await;
    let mut text = vec![b'b'; 2 * framing::MAX_FRAME as usize + 5];
    text.push(b'\n');
    text.extend_from_slice(&vec![b'c'; framing::MAX_FRAME as usize]);
    text.extend_from_slice(b"\nshort\n");
    bed.append(&text);
    let forwarder = bed.start(&[master.port]);
    master.has(&text).await;
    forwarder.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_and_cuts_lose_and_repeat_nothing() {
    let bed = Bed::new().await;
    let mut master = Master::start(&bed).await;
    let port = master.port;
    let mut text = lines(0..2000);
    bed.append(&text);
    let forwarder = bed.start(&[port]);
    for round in 1..=6 {
        let more = lines(round * 2000..(round + 1) * 2000);
        bed.append(&more);
        text.extend_from_slice(&more);
        let len = master.archive().text().len();
        master.behave(if round % 2 == 0 {
            Manner::Hold
        } else {
            Manner::CutAfter(30_000)
        });
        until(async || master.archive().text().len() > len).await;
        let archive = master.kill().await;
        assert!(text.starts_with(&archive.text()));
        master = Master::start_at(&bed, port, archive, Manner::Serve).await;
    }
    master.has(&text).await;
    forwarder.stop().await;
    assert_eq!(master.archive().epochs.len(), 1);
}

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
    bed.append(&lines(400..450));
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
    let copy = bed.dir.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for file in fs::read_dir(bed.state()).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_file() {
            fs::copy(file.path(), copy.join(file.file_name())).unwrap();
        }
    }
    let forwarder = bed.start(&[master.port]);
    bed.append(&lines(100..150));
    bed.rotate();
    bed.append(&lines(150..200));
    master.has(&lines(0..200)).await;
    forwarder.stop().await;
    fs::remove_dir_all(bed.state()).unwrap();
    fs::rename(&copy, bed.state()).unwrap();
    bed.append(&lines(200..250));
    let forwarder = bed.start(&[master.port]);
    master.has(&lines(0..250)).await;
    forwarder.delivered(lines(150..250).len() as u64).await;
    forwarder.stop().await;
    assert_same(&master.archive().text(), &lines(0..250));
    assert_eq!(master.archive().epochs.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn copytruncate_loses_and_repeats_nothing() {
    let bed = Bed::new().await;
    let master = Master::start(&bed).await;
    bed.append(&lines(0..100));
    let forwarder = bed.start(&[master.port]);
    master.has(&lines(0..100)).await;
    for round in 1..4 {
        // What is written between the last look and the copy is only in the copy.
        bed.append(&lines(round * 100..round * 100 + 50));
        let copy = bed.dir.path().join(format!("decky.log-2026010{round}"));
        fs::copy(bed.log(), copy).unwrap();
        fs::OpenOptions::new()
            .write(true)
            .open(bed.log())
            .unwrap()
            .set_len(0)
            .unwrap();
        bed.append(&lines(round * 100 + 50..(round + 1) * 100));
        master.has(&lines(0..(round + 1) * 100)).await;
    }
    forwarder.stop().await;
    assert_eq!(master.archive().epochs.len(), 4);
    assert!(bed.ledger().is_empty());
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
    until(async || master.archive().text().ends_with(&line_end(5099))).await;
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

fn line_end(n: u64) -> Vec<u8> {
    let mut line = line(n);
    line.push(b'\n');
    line
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lag_limit_is_a_gap_on_both_sides() {
    let bed = Bed::new().await;
    let master = Master::start(&bed).await;
    bed.append(&lines(0..1000));
    let forwarder = bed.start_with(&[master.port], "max_lag_bytes = 10000", limits());
    until(async || master.archive().text().ends_with(&line_end(999))).await;
    let metrics = forwarder.metrics().await;
    forwarder.stop().await;
    let archive = master.archive();
    let (from, to, cause) = archive.gaps()[0];
    assert_eq!((from, cause), (0, delivery::GapCause::LagCap));
    assert_same(&archive.text()[to..], &lines(0..1000)[to..]);
    assert_eq!(lines(0..1000)[to - 1], b'\n');
    let ledger = bed.ledger();
    assert_eq!(ledger.len(), 1, "{ledger:?}");
    assert_eq!(
        (&ledger[0]["cause"], &ledger[0]["len"]),
        (&"lag-cap".into(), &to.into())
    );
    let gap =
        format!("logferry_forwarder_gap_bytes_total{{stream=\"decky\",cause=\"lag-cap\"}} {to}");
    assert!(metrics.contains(&gap), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_master_takes_over_and_the_first_goes_on() {
    let bed = Bed::new().await;
    let first = Master::start(&bed).await;
    let port = first.port;
    let second = Master::start_at(&bed, 0, Archive::new(2), Manner::Serve).await;
    bed.append(&lines(0..100));
    let forwarder = bed.start(&[port, second.port]);
    first.has(&lines(0..100)).await;
    let archive = first.kill().await;
    bed.append(&lines(100..200));
    // It is no sibling: it gets the epoch from its start.
    second.has(&lines(0..200)).await;
    let first = Master::start_at(&bed, port, archive, Manner::Serve).await;
    second.behave(Manner::Drain);
    bed.append(&lines(200..300));
    first.has(&lines(0..300)).await;
    forwarder.stop().await;
    assert_eq!(first.archive().epochs[0].id, second.archive().epochs[0].id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_shown_and_keeps_the_lines() {
    let bed = Bed::new().await;
    let refuse = Manner::Refuse(delivery::Code::NotEnrolled);
    let master = Master::start_at(&bed, 0, Archive::new(1), refuse).await;
    bed.append(&lines(0..10));
    let forwarder = bed.start(&[master.port]);
    until(async || {
        let stream = forwarder.stream().await;
        stream.is_some_and(|stream| {
            stream["error"]
                .as_str()
                .is_some_and(|error| error.contains("refused: not-enrolled"))
        })
    })
    .await;
    assert_eq!(forwarder.stream().await.unwrap()["connected"], false);
    master.behave(Manner::Serve);
    master.has(&lines(0..10)).await;
    forwarder.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_master_is_fallen_back_to_or_refused() {
    let bed = Bed::new().await;
    let receiver = crate::receiver::Receiver::start(&bed).await;
    bed.append(&lines(0..10));
    let forwarder = bed.start_with(&[receiver.port], "delivery = \"acknowledged\"", limits());
    until(async || {
        let stream = forwarder.stream().await;
        stream.is_some_and(|stream| {
            stream["error"]
                .as_str()
                .is_some_and(|error| error.contains("does not speak acknowledged delivery"))
        })
    })
    .await;
    forwarder.stop().await;
    assert_eq!(receiver.count(), 0);
    let forwarder = bed.start(&[receiver.port]);
    receiver.has(10).await;
    until(async || {
        forwarder
            .stream()
            .await
            .is_some_and(|stream| stream["mode"] == "plain")
    })
    .await;
    forwarder.stop().await;
    let expected: Vec<_> = (0..10).map(line).collect();
    assert!(receiver.messages() == expected);
}
