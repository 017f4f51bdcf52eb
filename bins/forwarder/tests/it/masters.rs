//! Several masters, and such as know less than others.

use crate::archive::Archive;
use crate::bed::{Bed, limits, line, lines, until};
use crate::master::{Manner, Master, assert_same};

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
async fn a_sibling_goes_on_behind_what_the_other_has() {
    let bed = Bed::new().await;
    let first = Master::start(&bed).await;
    let mut archive = Archive::new(2);
    archive.siblings.push(first.archive().id);
    let second = Master::start_at(&bed, 0, archive, Manner::Serve).await;
    bed.append(&lines(0..100));
    let forwarder = bed.start(&[first.port, second.port]);
    first.has(&lines(0..100)).await;
    forwarder.delivered(lines(0..100).len() as u64).await;
    first.kill().await;
    bed.append(&lines(100..200));
    let len = lines(0..200).len();
    until(async || second.archive().text().len() == len).await;
    forwarder.stop().await;
    let archive = second.archive();
    let at = lines(0..100).len();
    assert_eq!(archive.gaps(), [(0, at, delivery::GapCause::Elsewhere)]);
    assert_same(&archive.text()[at..], &lines(100..200));
    assert!(bed.ledger().is_empty(), "nothing is missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_with_an_older_copy_of_its_archive_gets_the_rest_again() {
    let bed = Bed::new().await;
    let master = Master::start(&bed).await;
    bed.append(&lines(0..1000));
    let forwarder = bed.start(&[master.port]);
    master.has(&lines(0..1000)).await;
    forwarder.delivered(lines(0..1000).len() as u64).await;
    forwarder.stop().await;
    let kept = lines(0..400).len() + 30;
    master.edit(|archive| {
        archive.epochs[0].bytes.truncate(kept);
        archive.epochs[0].committed = kept;
        archive.epochs[0].in_line = true;
    });
    let forwarder = bed.start(&[master.port]);
    master.has(&lines(0..1000)).await;
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
