//! Following an archive that is written beside it.

use archive::{Compression, Options, Retention, StreamKey};

use crate::bed::{Bed, Master, NO_RATE, numbers, until};

#[tokio::test]
async fn new_workers_streams_epochs_segments_and_gaps_are_followed() {
    let bed = Bed::archive();
    bed.rule_for_hits();
    bed.configure("archive", NO_RATE);
    let options = Options {
        segment_max_bytes: 64,
        ..Options::default()
    };
    let mut master = Master::with(&bed, options).await;
    let (first, decky) = master.epoch("w1", "decky").await;
    master.write(decky, "hit 1\nnothing\nhit 2\nhit ").await;
    let program = bed.start();
    assert_eq!(numbers(&bed.has(2).await), [1, 2]);
    master.write(decky, "3\n").await;
    bed.has(3).await;
    // Another worker, another stream, segments that are full, and a gap.
    let (_, other) = master.epoch("w2", "audit").await;
    master.write(other, "hit 4\n").await;
    bed.has(4).await;
    for n in 5..50 {
        master
            .write(decky, &format!("{} hit {n}\n", "x".repeat(20)))
            .await;
    }
    bed.has(49).await;
    master.archive.append(decky, b"cut off hit 50").unwrap();
    let end = master.archive.stand(decky).unwrap().end + 14;
    master.archive.gap(decky, end + 1000, "lag-cap").unwrap();
    master.write(decky, "hit 51\n").await;
    bed.has(51).await;
    // The next epoch; what comes late into the one before still counts, and its unended end.
    let (second, next) = master.epoch("w1", "decky").await;
    master
        .archive
        .roll(decky, second, "rotated", Some(0))
        .unwrap();
    master.write(next, "hit 52\n").await;
    bed.has(52).await;
    master.write(decky, "hit 53\nhit 54").await;
    bed.has(53).await;
    master.archive.seal(decky).unwrap();
    master.archive.commit().await.unwrap();
    let events = bed.has(54).await;
    assert_eq!(numbers(&events), (1..=54).collect::<Vec<_>>());
    let last = &events[53];
    assert_eq!(last["worker"], "w1");
    assert_eq!(last["source_stream"], "decky");
    assert_eq!(last["source_epoch"], first.to_string());
    assert_eq!(last["workload_id"], "w1/-");
    assert_eq!(last["message"], "hit 54");
    assert!(bed.metric("logferry_scanner_gaps_total").await >= 1.0);
    assert!(program.stop(), "{}", bed.stderr());
}

#[tokio::test]
async fn what_is_not_committed_makes_no_event() {
    let bed = Bed::archive();
    bed.rule_for_hits();
    let mut master = Master::open(&bed).await;
    let (_, first) = master.epoch("w1", "decky").await;
    let (_, second) = master.epoch("w2", "decky").await;
    master.write(first, "hit 1\n").await;
    let _program = bed.start();
    bed.has(1).await;
    master.archive.append(first, b"hit 666\n").unwrap();
    // The file has it by now, and the window falls.
    master.archive.void().await.unwrap();
    master.write(second, "hit 2\n").await;
    bed.has(2).await;
    master.write(first, "hit 3\n").await;
    assert_eq!(numbers(&bed.has(3).await), [1, 2, 3]);
}

#[tokio::test]
async fn a_first_start_at_the_end_begins_with_the_next_whole_line() {
    let bed = Bed::archive();
    bed.rule_for_hits();
    bed.configure("archive", "start = \"end\"");
    let mut master = Master::open(&bed).await;
    let (_, decky) = master.epoch("w1", "decky").await;
    let (_, sealed) = master.epoch("w2", "decky").await;
    master.write(sealed, "hit 1\n").await;
    master.archive.seal(sealed).unwrap();
    master.write(decky, "hit 2\nhit").await;
    let program = bed.start();
    until("streams", async || {
        bed.page("/status")
            .await
            .is_some_and(|(_, status)| status["streams"] == 2)
    })
    .await;
    master.write(decky, " 3\nhit 4\n").await;
    assert_eq!(numbers(&bed.has(1).await), [4]);
    program.kill();
    // What is new while nobody looks is not passed over.
    let (_, late) = master.epoch("w3", "decky").await;
    master.write(late, "hit 5\n").await;
    master.write(decky, "hit 6\n").await;
    let _program = bed.start();
    let mut found = numbers(&bed.has(3).await);
    found.sort_unstable();
    assert_eq!(found, [4, 5, 6]);
}

#[tokio::test]
async fn frames_of_plain_senders_and_compressed_segments_are_read() {
    let bed = Bed::archive();
    bed.rule_for_hits();
    bed.configure("archive", NO_RATE);
    let mut master = Master::open(&bed).await;
    let plain = master
        .archive
        .plain(&StreamKey::plain("w1").unwrap())
        .await
        .unwrap();
    let mut frames = Vec::new();
    for n in 1..=100 {
        framing::encode(
            format!("<134>1 - host{n} app - - - hit {n}").as_bytes(),
            &mut frames,
        );
    }
    master.archive.append(plain, &frames).unwrap();
    master.archive.close_segment(plain).unwrap();
    master.archive.commit().await.unwrap();
    let (_, decky) = master.epoch("w2", "decky").await;
    let text: String = (101..=20_000).map(|n| format!("hit {n}\n")).collect();
    master.write(decky, &text).await;
    master.archive.close_segment(decky).unwrap();
    master.archive.commit().await.unwrap();
    let mut packed = 0;
    loop {
        match master.archive.compress_next(64 << 20).await.unwrap() {
            Compression::Idle => break,
            Compression::Done { .. } => packed += 1,
            _ => {}
        }
    }
    assert_eq!(packed, 2);
    let _program = bed.start();
    let events = bed.has(20_000).await;
    let mut found = numbers(&events);
    found.sort_unstable();
    assert_eq!(found, (1..=20_000).collect::<Vec<_>>());
    let plain = events
        .iter()
        .find(|event| event["captures"]["n"] == "7")
        .unwrap();
    assert_eq!(plain["workload_id"], "w1/host7");
    assert_eq!(plain["source_stream"], "syslog");
}

#[tokio::test]
async fn what_retention_took_before_it_was_read_is_counted() {
    let bed = Bed::archive();
    bed.rule_for_hits();
    let options = Options {
        segment_max_bytes: 1000,
        ..Options::default()
    };
    let mut master = Master::with(&bed, options).await;
    let (_, decky) = master.epoch("w1", "decky").await;
    let (_, gone) = master.epoch("w2", "decky").await;
    for n in 0..100 {
        master
            .write(decky, &format!("{} hit {n}\n", "x".repeat(100)))
            .await;
    }
    master.write(gone, "hit 1000\n").await;
    master.archive.seal(gone).unwrap();
    master.archive.commit().await.unwrap();
    let limits = Retention {
        max_bytes: Some(1),
        ..Retention::default()
    };
    let done = master.archive.retain(limits, &|_, _| None).await.unwrap();
    assert!(done.segments >= 10, "{done:?}");
    let _program = bed.start();
    master.write(decky, "hit 2000\n").await;
    until("the last hit", async || {
        numbers(&bed.events()).last() == Some(&2000)
    })
    .await;
    until("a count", async || {
        bed.metric("logferry_scanner_missed_bytes_total").await >= 9.0
            && bed.metric("logferry_scanner_gaps_total").await >= 2.0
    })
    .await;
}

#[tokio::test]
async fn it_waits_for_an_archive_that_is_not_there_yet() {
    let bed = Bed::archive();
    bed.rule_for_hits();
    // Not even its directory. Also at the end: all of it is new.
    std::fs::remove_dir_all(bed.data().join("archive")).unwrap_or_default();
    bed.configure("archive", "start = \"end\"");
    let _program = bed.start();
    until("an answer", async || {
        bed.page("/status").await.is_some_and(|(_, status)| {
            status["components"]["input"]
                .as_str()
                .is_some_and(|why| why.contains("index.sqlite"))
        })
    })
    .await;
    let mut master = Master::open(&bed).await;
    let (_, decky) = master.epoch("w1", "decky").await;
    master.write(decky, "hit 1\n").await;
    bed.has(1).await;
    until("health", async || {
        bed.page("/status")
            .await
            .is_some_and(|(_, status)| status["ready"] == true)
    })
    .await;
    // The master stops and starts: the index is closed, and opened again.
    master.archive.close().await.unwrap();
    let mut master = Master::open(&bed).await;
    let (_, other) = master.epoch("w2", "decky").await;
    master.write(other, "hit 2\n").await;
    assert_eq!(numbers(&bed.has(2).await), [1, 2]);
}

#[tokio::test]
async fn an_index_that_is_made_anew_repeats_nothing() {
    let bed = Bed::archive();
    bed.rule_for_hits();
    bed.configure("archive", NO_RATE);
    let mut master = Master::open(&bed).await;
    for n in 1..=5 {
        let (_, handle) = master.epoch("w1", "decky").await;
        master.write(handle, &format!("hit {n}\n")).await;
        if n < 5 {
            master.archive.seal(handle).unwrap();
            master.archive.commit().await.unwrap();
        }
    }
    let program = bed.start();
    bed.has(5).await;
    program.kill();
    master.archive.close().await.unwrap();
    std::fs::remove_file(bed.data().join("index.sqlite")).unwrap();
    let program = bed.start();
    let mut master = Master::open(&bed).await;
    let (_, handle) = master.epoch("w1", "decky").await;
    master.write(handle, "hit 6\n").await;
    bed.has(6).await;
    assert!(program.stop());
    assert_eq!(numbers(&bed.events()), [1, 2, 3, 4, 5, 6]);
}
