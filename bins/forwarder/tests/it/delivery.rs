//! What arrives when all goes well, and where it goes on after a stop.

use std::fs;

use crate::bed::{Bed, append, limits, line, lines, until};
use crate::receiver::{Manner, Receiver};

#[tokio::test(flavor = "multi_thread")]
async fn delivers_lines_byte_for_byte() {
    let bed = Bed::new().await;
    let receiver = Receiver::start(&bed).await;
    bed.append(&lines(0..3000));
    let forwarder = bed.start(&[receiver.port]);
    receiver.has(3000).await;
    bed.append(&lines(3000..3005));
    receiver.has(3005).await;
    forwarder.delivered(lines(0..3005).len() as u64).await;
    forwarder.stop().await;
    let expected: Vec<_> = (0..3005).map(line).collect();
    assert!(receiver.messages() == expected);
    let connections = receiver.connections();
    assert_eq!(connections.len(), 1);
    until(async || receiver.connections()[0].ended).await;
    assert!(
        receiver.connections()[0].orderly,
        "close_notify first (RFC 5425 §4.4)"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_no_blank_line_and_waits_for_the_end_of_a_line() {
    let bed = Bed::new().await;
    let receiver = Receiver::start(&bed).await;
    bed.append(b"\n\none\n\ntwo\n\r\nunfini");
    let forwarder = bed.start(&[receiver.port]);
    receiver.has(3).await;
    until(async || {
        forwarder
            .stream()
            .await
            .is_some_and(|stream| stream["offset"] == 13)
    })
    .await;
    bed.append(b"shed\n");
    receiver.has(4).await;
    forwarder.stop().await;
    assert_eq!(
        receiver.messages(),
        [&b"one"[..], b"two", b"\r", b"unfinished"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn goes_on_behind_what_was_delivered() {
    let bed = Bed::new().await;
    let receiver = Receiver::start(&bed).await;
    bed.append(&lines(0..100));
    let forwarder = bed.start(&[receiver.port]);
    receiver.has(100).await;
    forwarder.stop().await;
    bed.append(&lines(100..200));
    let forwarder = bed.start(&[receiver.port]);
    receiver.has(200).await;
    forwarder.stop().await;
    let expected: Vec<_> = (0..200).map(line).collect();
    assert!(
        receiver.messages() == expected,
        "an orderly stop repeats nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_over_the_frame_limit_goes_in_parts() {
    let bed = Bed::new().await;
    let receiver = Receiver::start(&bed).await;
    let limit = framing::MAX_FRAME as usize;
    let mut long = vec![b'a'; limit];
    let mut longer = vec![b'b'; 2 * limit + 5];
    long.push(b'\n');
    longer.push(b'\n');
    bed.append(&long);
    bed.append(&longer);
    bed.append(b"short\n");
    let forwarder = bed.start(&[receiver.port]);
    receiver.has(5).await;
    let metrics = forwarder.metrics().await;
    assert!(
        metrics.contains("logferry_forwarder_parts_total{stream=\"decky\"} 2"),
        "{metrics}"
    );
    forwarder.stop().await;
    let sizes: Vec<_> = receiver.messages().iter().map(Vec::len).collect();
    assert_eq!(sizes, [limit, limit, limit, 5, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rotations_during_an_outage_lose_nothing() {
    let bed = Bed::new().await;
    let receiver = Receiver::start(&bed).await;
    let port = receiver.port;
    bed.append(&lines(0..100));
    let forwarder = bed.start(&[port]);
    receiver.has(100).await;
    forwarder.delivered(lines(0..100).len() as u64).await;
    receiver.kill().await;
    for rotation in 1..6 {
        bed.rotate();
        bed.append(&lines(rotation * 100..(rotation + 1) * 100));
    }
    append(&bed.dir.path().join("decky.log.1"), &lines(9000..9001));
    let receiver = Receiver::start_at(&bed, port, Manner::Serve).await;
    receiver.has(501).await;
    forwarder.stop().await;
    let got = receiver.messages();
    assert_eq!(got.len(), 501);
    let mut sorted: Vec<_> = (100..600).map(line).collect();
    sorted.insert(400, line(9000));
    assert!(
        got == sorted,
        "rotated files oldest first, a late line at its file's end"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_while_stopped_loses_nothing() {
    let bed = Bed::new().await;
    let receiver = Receiver::start(&bed).await;
    bed.append(&lines(0..50));
    let forwarder = bed.start(&[receiver.port]);
    receiver.has(50).await;
    forwarder.stop().await;
    bed.append(&lines(50..60));
    bed.rotate();
    bed.append(&lines(60..70));
    bed.rotate();
    let plain = bed.dir.path().join("decky.log.2");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &fs::read(&plain).unwrap()).unwrap();
    fs::write(
        bed.dir.path().join("decky.log.2.gz"),
        gzip.finish().unwrap(),
    )
    .unwrap();
    fs::remove_file(plain).unwrap();
    bed.append(&lines(70..80));
    let forwarder = bed.start(&[receiver.port]);
    receiver.has(80).await;
    forwarder.stop().await;
    let expected: Vec<_> = (0..80).map(line).collect();
    assert!(receiver.messages() == expected);
    assert!(bed.ledger().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_is_a_gap_in_the_ledger() {
    let bed = Bed::new().await;
    let receiver = Receiver::start(&bed).await;
    bed.append(&lines(0..10));
    let forwarder = bed.start(&[receiver.port]);
    receiver.has(10).await;
    forwarder.stop().await;
    fs::remove_file(bed.log()).unwrap();
    bed.append(&lines(10..20));
    let forwarder = bed.start(&[receiver.port]);
    receiver.has(20).await;
    forwarder.stop().await;
    let ledger = bed.ledger();
    assert_eq!(ledger.len(), 1, "{ledger:?}");
    assert_eq!(ledger[0]["kind"], "gap");
    assert_eq!(ledger[0]["base"], lines(0..10).len());
    assert_eq!(ledger[0]["stream"], "decky");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lag_limit_skips_to_a_line_and_says_so() {
    let bed = Bed::new().await;
    let receiver = Receiver::start(&bed).await;
    bed.append(&lines(0..1000));
    let forwarder = bed.start_with(&[receiver.port], "max_lag_bytes = 10000", limits());
    until(async || receiver.messages().last() == Some(&line(999))).await;
    forwarder.stop().await;
    let got = receiver.messages();
    assert!(got.len() > 1 && got.len() < 200, "{}", got.len());
    let first = 1000 - got.len() as u64;
    let expected: Vec<_> = (first..1000).map(line).collect();
    assert!(got == expected, "begins at a line");
    let ledger = bed.ledger();
    assert_eq!(ledger.len(), 1, "{ledger:?}");
    assert_eq!(
        (&ledger[0]["cause"], &ledger[0]["base"]),
        (&"lag-cap".into(), &0.into())
    );
    assert_eq!(ledger[0]["len"], lines(0..first).len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_master_takes_over() {
    let bed = Bed::new().await;
    let first = Receiver::start(&bed).await;
    let second = Receiver::start(&bed).await;
    bed.append(&lines(0..10));
    let forwarder = bed.start(&[first.port, second.port]);
    first.has(10).await;
    forwarder.delivered(lines(0..10).len() as u64).await;
    first.kill().await;
    bed.append(&lines(10..20));
    second.has(10).await;
    forwarder.stop().await;
    let expected: Vec<_> = (10..20).map(line).collect();
    assert!(second.messages() == expected);
}
