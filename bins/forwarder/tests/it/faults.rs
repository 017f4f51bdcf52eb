//! Receivers that die, reset, listen to nothing or refuse.

use std::time::{Duration, SystemTime};

use pki::Registry;

use crate::bed::{Bed, limits, line, lines, until};
use crate::receiver::{Brought, Manner, Receiver};

/// Over all connections: nothing missing, each connection without a hole.
pub(crate) fn complete(connections: &[Brought], count: u64) {
    let mut next = 0;
    for brought in connections {
        let Some(first) = brought.messages.first() else {
            continue;
        };
        let start = (0..count).find(|&n| line(n) == *first).unwrap();
        assert!(start <= next, "{start} after {next}: lines are missing");
        for (n, message) in (start..).zip(&brought.messages) {
            assert!(*message == line(n), "line {n} is not what was written");
        }
        next = next.max(start + brought.messages.len() as u64);
    }
    assert_eq!(next, count);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_receiver_costs_repeats_only() {
    let bed = Bed::new().await;
    let mut receiver = Receiver::start(&bed).await;
    let port = receiver.port;
    bed.append(&lines(0..2000));
    let forwarder = bed.start(&[port]);
    let mut brought = Vec::new();
    for kill in 1..=5 {
        receiver.has(1).await;
        bed.append(&lines(kill * 2000..(kill + 1) * 2000));
        brought.extend(receiver.kill().await);
        receiver = Receiver::start_at(&bed, port, Manner::Serve).await;
    }
    until(async || receiver.messages().last() == Some(&line(11_999))).await;
    forwarder.stop().await;
    brought.extend(receiver.kill().await);
    // What a receiver had when it died is its own affair; here it remembers.
    complete(&brought, 12_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_in_mid_stream_loses_nothing() {
    let bed = Bed::new().await;
    let receiver = Receiver::start_at(&bed, 0, Manner::ResetAfter(300_000)).await;
    bed.append(&lines(0..20_000));
    let forwarder = bed.start(&[receiver.port]);
    until(async || receiver.connections().len() >= 4).await;
    receiver.behave(Manner::Serve);
    until(async || receiver.messages().last() == Some(&line(19_999))).await;
    forwarder.stop().await;
    let connections = receiver.connections();
    assert!(connections.len() >= 4);
    complete(&connections, 20_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deaf_receiver_is_left_and_nothing_counts_as_delivered() {
    let bed = Bed::new().await;
    let deaf = Receiver::start_at(&bed, 0, Manner::Deaf).await;
    let port = deaf.port;
    bed.append(&lines(0..100_000));
    let mut limits = limits();
    limits.unacknowledged = Duration::from_millis(1500);
    let forwarder = bed.start_with(&[port], "", limits);
    until(async || {
        let stream = forwarder.stream().await;
        stream.is_some_and(|stream| stream["connected"] == false && stream["error"].is_string())
    })
    .await;
    // A batch is larger than the other side's buffer.
    let offset = forwarder.stream().await.unwrap()["offset"]
        .as_u64()
        .unwrap();
    assert_eq!(offset, 0, "that cannot have been delivered");
    deaf.kill().await;
    let receiver = Receiver::start_at(&bed, port, Manner::Serve).await;
    until(async || receiver.messages().last() == Some(&line(99_999))).await;
    forwarder.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_in_our_kernel_does_not_count() {
    let bed = Bed::new().await;
    let deaf = Receiver::start_at(&bed, 0, Manner::Deaf).await;
    let port = deaf.port;
    // More than the other side's buffer, less than both together: every write succeeds.
    bed.append(&lines(0..1000));
    let size = lines(0..1000).len() as u64;
    let mut limits = limits();
    limits.batch = 4 << 10;
    let forwarder = bed.start_with(&[port], "", limits);
    let mut offset = 0;
    until(async || {
        let stream = forwarder.stream().await.unwrap_or_default();
        offset = stream["offset"].as_u64().unwrap_or(0);
        stream["sent"] == size && offset > 0
    })
    .await;
    assert!(offset < size, "{offset} of {size}");
    deaf.kill().await;
    let receiver = Receiver::start_at(&bed, port, Manner::Serve).await;
    until(async || receiver.messages().last() == Some(&line(999))).await;
    forwarder.stop().await;
    assert!(
        receiver.count() < 1000,
        "what the other side's kernel took is not sent again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_worker_keeps_its_lines() {
    let bed = Bed::new().await;
    let receiver = Receiver::start(&bed).await;
    let port = receiver.port;
    let registry = Registry::open(&bed.data()).await.unwrap();
    registry
        .revoke(&"w1".parse().unwrap(), SystemTime::now())
        .await
        .unwrap();
    bed.append(&lines(0..1000));
    let forwarder = bed.start(&[port]);
    // In TLS 1.3 our handshake ends before the master judges: the first batch may be on its way already.
    until(async || {
        let stream = forwarder.stream().await;
        stream.is_some_and(|stream| {
            stream["error"]
                .as_str()
                .is_some_and(|error| error.contains("refused") || error.contains("closed"))
        })
    })
    .await;
    let stream = forwarder.stream().await.unwrap();
    assert_eq!(stream["offset"], 0, "{stream}");
    assert_eq!(receiver.count(), 0);
    forwarder.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_workers_certificate_is_no_master() {
    let bed = Bed::new().await;
    let receiver = Receiver::start(&bed).await;
    let port = receiver.port;
    bed.append(&lines(0..10));
    let forwarder = bed.start_with(&[port], "master_names = [\"someone-else\"]", limits());
    until(async || {
        let stream = forwarder.stream().await;
        stream.is_some_and(|stream| {
            stream["error"]
                .as_str()
                .is_some_and(|error| error.contains("not the master's"))
        })
    })
    .await;
    assert_eq!(receiver.count(), 0);
    forwarder.stop().await;
}
