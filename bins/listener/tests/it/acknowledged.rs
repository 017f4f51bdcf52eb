//! Acknowledged delivery (docs/wire.md) of whole files: the real sender, real TLS, the real process.

use std::sync::Arc;
use std::time::Duration;

use delivery::sender::Why;
use tokio::task::JoinSet;

use crate::link::epoch;
use crate::sending::Sending;
use crate::support::{Master, frames, lines, segments, until};

#[tokio::test]
async fn archives_a_file_and_says_so() {
    let mut master = Master::started().await;
    let identity = master.enroll("web-1");
    let mut bytes = lines(0, 20_000);
    bytes.extend_from_slice(b"\n\n\nafter blank ones\n");
    bytes.extend_from_slice(&vec![b'x'; 3 << 20]);
    bytes.extend_from_slice(b"\nlast\n");
    let mut sending = Sending::new("decky", epoch(1), bytes.clone());
    let why = sending.send(&master, &identity).await.unwrap();
    assert_eq!(why, Why::Finished);
    assert_eq!(sending.acked, bytes.len());
    assert!(master.stream("web-1", "decky", epoch(1)) == bytes);
    // Nothing is left to say, and nothing is repeated.
    let why = sending.send(&master, &identity).await.unwrap();
    assert_eq!(why, Why::Finished);
    sending.bytes.extend_from_slice(&lines(0, 10));
    sending.send(&master, &identity).await.unwrap();
    assert!(master.stream("web-1", "decky", epoch(1)) == sending.bytes);
    master.shows("epochs_opened_total", 1).await;
    let status = master.status().await.unwrap();
    let stream = &status["workers"]["web-1"]["streams"]["decky"];
    assert_eq!(stream["offset"], sending.bytes.len());
    assert_eq!(stream["epoch"], epoch(1).to_string());
    master.stop();
}

#[tokio::test]
async fn a_killed_listener_neither_loses_nor_repeats() {
    let mut master = Master::with(
        "commit = { max_delay = \"5ms\", max_bytes = \"64KiB\" }\n[segment]\nmax_bytes = \"1MiB\"\n",
    );
    let identity = master.enroll("web-1");
    let mut sending = Sending::new("decky", epoch(1), lines(0, 150_000));
    for round in 0..6 {
        master.start().await;
        let acked = sending.acked;
        sending.kill_at = Some(acked + 100_000 + (round * 377_771) % 900_000);
        let sent = sending.send(&master, &identity).await;
        assert!(!matches!(sent, Ok(Why::Finished)), "killed in the middle");
        assert!(sending.acked > acked, "{sent:?}");
        master.kill();
    }
    master.start().await;
    assert!(matches!(
        sending.send(&master, &identity).await,
        Ok(Why::Finished)
    ));
    assert!(master.stream("web-1", "decky", epoch(1)) == sending.bytes);
    master.merged(150_000).await;
    master.stop();
    assert!(master.merged_log() == sending.bytes);
}

#[tokio::test]
async fn a_file_is_sent_again_whose_only_segment_is_lost() {
    let mut master = Master::started().await;
    let identity = master.enroll("web-1");
    let sent = async |master: &Master| {
        let mut sending = Sending::new("decky", epoch(1), lines(0, 100));
        let why = sending.send(master, &identity).await.unwrap();
        assert_eq!(why, Why::Finished);
        assert!(master.stream("web-1", "decky", epoch(1)) == sending.bytes);
    };
    sent(&master).await;
    master.stop();
    let dir = format!("archive/web-1/decky/{}", epoch(1));
    for segment in segments(&master.data().join(dir)) {
        std::fs::remove_file(segment).unwrap();
    }
    master.start().await;
    sent(&master).await;
    master.stop();
}

#[tokio::test]
async fn workers_do_not_wait_for_each_other() {
    let master = Arc::new(Master::started().await);
    // One that is in the middle of a frame, and one that does not read.
    let identity = master.enroll("slow");
    let (mut slow, _) = master.resumed(&identity, "slow", 90).await;
    slow.client.send(b"100 begun").await;
    let (mut deaf, _) = master.resumed(&identity, "deaf", 91).await;
    deaf.client.send(&frames(0, 1000)).await;
    let mut tasks = JoinSet::new();
    for n in 0..8 {
        let (identity, master) = (master.enroll(&format!("web-{n}")), Arc::clone(&master));
        let bytes = lines(usize::from(n) * 1000, usize::from(n) * 1000 + 3000);
        tasks.spawn(async move {
            let mut sending = Sending::new("decky", epoch(n), bytes);
            let why = sending.send(&master, &identity).await.unwrap();
            assert_eq!(why, Why::Finished);
            let archived = master.stream(&format!("web-{n}"), "decky", epoch(n));
            assert!(archived == sending.bytes);
        });
    }
    let all = tokio::time::timeout(Duration::from_secs(30), tasks.join_all());
    all.await.unwrap();
    slow.client.send(&[b'x'; 95]).await;
    slow.acked(90, 101).await;
    deaf.acked(91, lines(0, 1000).len()).await;
}

#[tokio::test]
async fn a_stop_lets_forwarders_finish() {
    let mut master = Master::started().await;
    let identity = master.enroll("web-1");
    let mut sending = Sending::new("decky", epoch(1), lines(0, 200_000));
    let stopping = async {
        until("something is committed", async || {
            (master.metric("committed_bytes_total").await > 100_000).then_some(())
        })
        .await;
        master.signal(rustix::process::Signal::TERM);
    };
    let (why, ()) = tokio::join!(sending.send(&master, &identity), stopping);
    assert_eq!(why.unwrap(), Why::Drained);
    master.ended();
    // What it was told is all there is, and it was told of all there is.
    let archived = master.stream("web-1", "decky", epoch(1));
    assert_eq!(archived.len(), sending.acked);
    assert!(sending.acked > 100_000 && sending.bytes.starts_with(&archived));
}

#[tokio::test]
async fn stays_small_while_it_receives() {
    let master = Arc::new(Master::started().await);
    let identity = master.enroll("web-1");
    let mut tasks = JoinSet::new();
    for n in 0..4u8 {
        let (identity, master) = (identity.clone(), Arc::clone(&master));
        tasks.spawn(async move {
            let mut sending = Sending::new(&format!("s{n}"), epoch(n), lines(0, 80_000));
            sending.send(&master, &identity).await.unwrap();
        });
    }
    tasks.join_all().await;
    let path = format!("/proc/{}/status", master.pid().as_raw_nonzero());
    let status = std::fs::read_to_string(path).unwrap();
    let kib = |name: &str| -> u64 {
        let value = status.lines().find_map(|line| line.strip_prefix(name));
        value
            .unwrap()
            .trim_end_matches(" kB")
            .trim()
            .parse()
            .unwrap()
    };
    // The code of a debug build is some 20 MiB, of a release build some 8.
    let own = kib("VmHWM:") - kib("RssFile:");
    assert!(own < 24 << 10, "{own} KiB");
}
