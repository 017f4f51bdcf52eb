//! Kill -9 of the real process while clients send: the archive holds a prefix of each connection, and the merged
//! outputs are the archive.

use std::time::Duration;

use framing::{Decoder, Frame};

use crate::support::{Client, Master, count, frames, lines, until};

/// The contents of whole frames.
fn contents(mut octets: &[u8]) -> Vec<Vec<u8>> {
    let mut contents = Vec::new();
    while let Some((Frame::Message(message), consumed)) =
        Decoder::new(1 << 20).decode(octets).unwrap()
    {
        contents.push(message.to_vec());
        octets = &octets[consumed..];
    }
    assert_eq!(octets, b"", "only whole frames are archived");
    contents
}

/// Sends frames from `n` on until the connection breaks; how many were sent at least in part.
async fn flood(mut client: Client, mut n: usize) -> usize {
    use tokio::io::AsyncWriteExt as _;
    loop {
        if client.0.write_all(&frames(n, n + 100)).await.is_err() || client.0.flush().await.is_err()
        {
            return n + 100;
        }
        n += 100;
    }
}

#[tokio::test]
async fn a_killed_listener_keeps_a_prefix_of_each_connection_and_merges_it_once() {
    let mut master = Master::with(
        "commit = { max_delay = \"5ms\", max_bytes = \"64KiB\" }\n[segment]\nmax_bytes = \"1MiB\"\n",
    );
    let identity = master.enroll("web-1");
    // Frames that may be in the archive, one block of numbers per connection.
    let mut sent = Vec::new();
    for round in 0..8usize {
        master.start().await;
        let client = master.connect(&identity).await;
        let before = master.metric("committed_bytes_total").await;
        let flood = tokio::task::spawn(flood(client, round * 1_000_000));
        let enough = 200_000 + (round as u64 * 37_777) % 900_000;
        until("enough is committed", async || {
            (master.metric("committed_bytes_total").await > before + enough).then_some(())
        })
        .await;
        master.kill();
        sent.push(flood.await.unwrap());
    }
    master.start().await;
    let archived = contents(&master.archived("web-1"));
    master.merged(archived.len()).await;
    master.stop();

    let mut rest = &archived[..];
    for (round, end) in sent.into_iter().enumerate() {
        let first = round * 1_000_000;
        let expected = contents(&frames(first, end));
        let kept = rest
            .iter()
            .zip(&expected)
            .take_while(|(a, b)| a == b)
            .count();
        assert!(kept > 500, "round {round}: only {kept}");
        rest = &rest[kept..];
    }
    assert_eq!(rest.len(), 0, "nothing but prefixes, in order");
    let merged: Vec<u8> = archived
        .iter()
        .flat_map(|message| [message, &b"\n"[..]].concat())
        .collect();
    assert!(
        master.merged_log() == merged,
        "the merged .log is the archive"
    );
    let records = master.merged_json();
    assert_eq!(records.len(), archived.len());
    let mut offset = 0;
    for (record, message) in records.iter().zip(&archived) {
        assert_eq!(record["source_offset"], offset);
        let mut frame = Vec::new();
        framing::encode(message, &mut frame);
        offset += frame.len();
    }
}

#[tokio::test]
async fn the_merged_outputs_catch_up_after_they_were_off() {
    let mut master = Master::init();
    let identity = master.enroll("web-1");
    let config = std::fs::read_to_string(master.path("listener.toml")).unwrap();
    let off = config.split_once("[merged]").unwrap().0;
    std::fs::write(master.path("listener.toml"), off).unwrap();
    master.start().await;
    let mut client = master.connect(&identity).await;
    client.send(&frames(0, 30_000)).await;
    client.close().await.unwrap();
    master.stop();
    assert!(!master.path("m/all.log").exists());
    std::fs::write(master.path("listener.toml"), config).unwrap();
    master.start().await;
    let mut client = master.connect(&identity).await;
    client.send(&frames(30_000, 30_500)).await;
    client.close().await.unwrap();
    master.merged(30_500).await;
    master.stop();
    assert!(master.merged_log() == lines(0, 30_500));
    assert_eq!(master.merged_json().len(), 30_500);
}

#[tokio::test]
async fn a_paused_listener_loses_nothing() {
    let master = Master::started().await;
    let mut client = master.connect(&master.enroll("web-1")).await;
    client.send(&frames(0, 100)).await;
    master.signal(rustix::process::Signal::STOP);
    let sender = tokio::task::spawn(async move {
        client.send(&frames(100, 20_000)).await;
        client.close().await.unwrap();
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    master.signal(rustix::process::Signal::CONT);
    sender.await.unwrap();
    master.merged(20_000).await;
    assert_eq!(count(&master.merged_log()), 20_000);
    assert!(master.merged_log() == lines(0, 20_000));
}
