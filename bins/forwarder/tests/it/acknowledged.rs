//! Acknowledged delivery against a master of the test's own.

use std::fs;
use std::time::Duration;

use crate::archive::Archive;
use crate::bed::{Bed, append, limits, lines, until};
use crate::master::{Manner, Master, assert_same};

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
async fn a_lag_limit_is_a_gap_on_both_sides() {
    let bed = Bed::new().await;
    let master = Master::start(&bed).await;
    bed.append(&lines(0..1000));
    let forwarder = bed.start_with(&[master.port], "max_lag_bytes = 10000", limits());
    until(async || master.archive().text().ends_with(&lines(999..1000))).await;
    let size = lines(0..1000).len() as u64;
    forwarder.delivered(size).await;
    let metrics = forwarder.metrics().await;
    let books = forwarder.stream().await.unwrap()["books"].clone();
    forwarder.stop().await;
    let skipped = master.archive().gaps()[0].1 as u64;
    let expected = serde_json::json!({
        "written": size,
        "acknowledged": size - skipped,
        "pending": 0,
        "gaps": skipped,
        "balanced": true,
    });
    assert_eq!(books, expected);
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
async fn signs_of_life_carry_the_backlog() {
    let bed = Bed::new().await;
    let master = Master::start_at(&bed, 0, Archive::new(1), Manner::Hold).await;
    bed.append(&lines(0..100));
    let mut limits = limits();
    limits.beat = Duration::from_millis(50);
    let forwarder = bed.start_with(&[master.port], "", limits);
    let backlog = lines(0..100).len() as u64;
    let told = async || {
        let beats = master.archive().beats;
        let last = beats.last().copied();
        last.is_some_and(|beat| beat.backlog_bytes == backlog && beat.oldest_ms > 0)
    };
    until(told).await;
    assert!(
        master
            .archive()
            .beats
            .iter()
            .all(|beat| beat.clock_ms > 1_700_000_000_000)
    );
    master.behave(Manner::Serve);
    until(async || {
        master
            .archive()
            .beats
            .last()
            .is_some_and(|beat| beat.backlog_bytes == 0)
    })
    .await;
    forwarder.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_acknowledges_nothing_is_left() {
    let bed = Bed::new().await;
    let master = Master::start_at(&bed, 0, Archive::new(1), Manner::Hold).await;
    bed.append(&lines(0..100));
    let mut limits = limits();
    limits.answer = Duration::from_millis(300);
    let forwarder = bed.start_with(&[master.port], "", limits);
    until(async || {
        let stream = forwarder.stream().await.unwrap_or_default();
        stream["error"]
            .as_str()
            .is_some_and(|error| error.contains("no ack in time"))
    })
    .await;
    master.behave(Manner::Serve);
    master.has(&lines(0..100)).await;
    forwarder.delivered(lines(0..100).len() as u64).await;
    forwarder.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_acknowledgements_and_not_for_ever() {
    let bed = Bed::new().await;
    let master = Master::start_at(&bed, 0, Archive::new(1), Manner::Hold).await;
    let port = master.port;
    bed.append(&lines(0..100));
    let mut short = limits();
    short.drain = Duration::from_millis(300);
    let forwarder = bed.start_with(&[port], "", short);
    until(async || master.archive().text().len() == lines(0..100).len()).await;
    forwarder.stop().await;
    let archive = master.kill().await;
    assert!(archive.text().is_empty(), "nothing was committed");
    let master = Master::start_at(&bed, port, archive, Manner::Serve).await;
    let forwarder = bed.start(&[port]);
    master.has(&lines(0..100)).await;
    forwarder.stop().await;
    let archive = master.archive();
    assert_same(&archive.text(), &lines(0..100));
    assert_eq!(archive.epochs.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_bounds_what_is_not_acknowledged() {
    let bed = Bed::new().await;
    let master = Master::start_at(&bed, 0, Archive::new(1), Manner::Hold).await;
    let text = lines(0..20_000);
    bed.append(&text);
    let mut limits = limits();
    limits.batch = 16 << 10;
    limits.window = 200_000;
    let forwarder = bed.start_with(&[master.port], "", limits);
    until(async || master.archive().text().len() >= 200_000).await;
    // The window and the batch that passed it, and one that was read ahead.
    let most = 200_000 + 2 * (16 << 10);
    assert!(master.archive().text().len() <= most);
    let metrics = forwarder.metrics().await;
    let shown = "logferry_forwarder_unacknowledged_bytes{stream=\"decky\"} 2";
    assert!(metrics.contains(shown), "{metrics}");
    assert!(master.archive().text().len() <= most);
    master.behave(Manner::Serve);
    master.has(&text).await;
    let metrics = forwarder.metrics().await;
    assert!(
        metrics.contains("logferry_forwarder_source_syncs_total{stream=\"decky\"} 1\n"),
        "a backlog is made durable once: {metrics}"
    );
    forwarder.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_is_told_by_the_roll_and_recorded() {
    let bed = Bed::new().await;
    let master = Master::start(&bed).await;
    bed.append(&lines(0..10));
    let forwarder = bed.start(&[master.port]);
    master.has(&lines(0..10)).await;
    forwarder.stop().await;
    bed.append(&lines(10..15));
    fs::remove_file(bed.log()).unwrap();
    bed.append(&lines(20..30));
    let forwarder = bed.start(&[master.port]);
    master.has(&[lines(0..10), lines(20..30)].concat()).await;
    forwarder.delivered(lines(20..30).len() as u64).await;
    forwarder.stop().await;
    let archive = master.archive();
    assert_eq!(archive.epochs.len(), 2);
    let (end, next, cause, lost) = archive.epochs[0].rolls[0];
    assert_eq!((end, next), (lines(0..10).len(), archive.epochs[1].id));
    assert_eq!((cause, lost), (delivery::RollCause::Gone, None));
    let ledger = bed.ledger();
    assert_eq!(ledger.len(), 1, "{ledger:?}");
    assert_eq!(ledger[0]["base"], lines(0..10).len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_is_not_forgotten_before_it_is_acknowledged() {
    let bed = Bed::new().await;
    let master = Master::start_at(&bed, 0, Archive::new(1), Manner::Serve).await;
    let port = master.port;
    bed.append(&lines(0..100));
    let mut short = limits();
    short.drain = Duration::from_millis(300);
    let forwarder = bed.start_with(&[port], "", short);
    master.has(&lines(0..100)).await;
    forwarder.delivered(lines(0..100).len() as u64).await;
    master.behave(Manner::Hold);
    bed.append(&lines(100..200));
    bed.rotate();
    bed.append(&lines(200..300));
    master.has(&lines(0..300)).await;
    forwarder.stop().await;
    let archive = master.kill().await;
    assert_same(&archive.text(), &lines(0..100));
    let master = Master::start_at(&bed, port, archive, Manner::Serve).await;
    let forwarder = bed.start(&[port]);
    master.has(&lines(0..300)).await;
    forwarder.stop().await;
    assert_eq!(master.archive().epochs.len(), 2);
}
