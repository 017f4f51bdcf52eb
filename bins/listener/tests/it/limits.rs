//! Limits bite the one who passes them, and nobody else.

use delivery::control::Beat;
use delivery::{Code, Control, GapCause};
use tokio::net::TcpStream;

use crate::link::{at, epoch, hello};
use crate::sending::Sending;
use crate::support::{Master, PATIENCE, frames, lines};

#[tokio::test]
async fn closes_who_takes_too_long() {
    let mut master = Master::with("[limits]\nframe = \"1s\"\nidle = \"2s\"\nhandshake = \"1s\"\n");
    master.start().await;
    let identity = master.enroll("web-1");
    let silent = TcpStream::connect(&master.addr).await.unwrap();
    let mut stuck = master.connect(&identity).await;
    stuck.send(&frames(0, 3)).await;
    stuck.send(b"100 begun").await;
    let mut idle = master.connect(&identity).await;
    idle.send(&frames(3, 5)).await;
    // Both get close_notify.
    stuck.end().await.unwrap();
    idle.end().await.unwrap();
    for what in [
        "refused_total{reason=\"timeout\"}",
        "closed_total{reason=\"stuck\"}",
        "closed_total{reason=\"idle\"}",
    ] {
        master.shows(what, 1).await;
    }
    drop(silent);
    master.merged(5).await;
    assert_eq!(master.archived("web-1"), frames(0, 5));
}

#[tokio::test]
async fn who_says_nothing_takes_nobodys_turn() {
    let mut master = Master::with("[limits]\nhandshakes = 1\nhandshake = \"1h\"\n");
    master.start().await;
    let identity = master.enroll("web-1");
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(TcpStream::connect(&master.addr).await.unwrap());
    }
    master.shows("connections", 3).await;
    let connecting = tokio::time::timeout(PATIENCE, master.connect(&identity));
    let mut client = connecting.await.expect("nobody's turn is over");
    client.send(&frames(0, 5)).await;
    client.close().await.unwrap();
    master.merged(5).await;
    assert_eq!(master.archived("web-1"), frames(0, 5));
}

#[tokio::test]
async fn refuses_more_connections_than_allowed() {
    let mut master = Master::with("[limits]\nconnections = 3\nconnections_per_worker = 2\n");
    master.start().await;
    let (a, b) = (master.enroll("a"), master.enroll("b"));
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = master.connect(&a).await;
        client.send(&frames(0, 1)).await;
        held.push(client);
    }
    master.shows("frames_total", 2).await;
    let mut third = master.connect(&a).await;
    let _ = third.end().await;
    master
        .shows("refused_total{reason=\"worker_connections\"}", 1)
        .await;
    master.shows("connections", 2).await;
    let mut other = master.connect(&b).await;
    other.send(&frames(0, 1)).await;
    master.shows("frames_total", 3).await;
    assert!(master.try_connect(&b).await.is_err());
    master
        .shows("refused_total{reason=\"connections\"}", 1)
        .await;
    for client in held {
        client.close().await.unwrap();
    }
    master.shows("connections", 1).await;
    other.send(&frames(1, 2)).await;
    other.close().await.unwrap();
    let mut again = master.connect(&a).await;
    again.send(&frames(2, 3)).await;
    again.close().await.unwrap();
    master.merged(5).await;
}

/// Its host is gone, and nobody said so; the others are alive.
#[tokio::test]
async fn a_silent_connection_makes_room_for_a_newer_one() {
    let mut master = Master::with("[limits]\nidle = \"8s\"\nconnections_per_worker = 2\n");
    master.start().await;
    let identity = master.enroll("web-1");
    let (mut silent, _) = master.resumed(&identity, "a", 1).await;
    let (mut alive, _) = master.resumed(&identity, "b", 2).await;
    silent.client.send(b"3 one").await;
    silent.acked(1, 4).await;
    let mut newer = loop {
        alive.say(&beat()).await;
        let mut link = master.link(&identity).await;
        link.say(&Control::Hello(hello("a", epoch(1)))).await;
        match link.hear().await.unwrap() {
            Some(Control::Refuse(refuse)) => assert_eq!(refuse.code, Code::Limit),
            Some(Control::Resume(resume)) => {
                assert_eq!(resume.offset, at(4));
                break link;
            }
            other => panic!("{other:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_eq!(silent.refused().await.code, Code::Superseded);
    newer.client.send(b"3 two").await;
    newer.acked(1, 8).await;
    alive.client.send(b"2 ok").await;
    alive.acked(2, 3).await;
    assert_eq!(master.stream("web-1", "a", epoch(1)), b"one\ntwo\n");
    master.shows("displaced_total", 1).await;
}

fn beat() -> Control {
    Control::Beat(Beat {
        backlog_bytes: 0,
        oldest_ms: 0,
        clock_ms: 0,
    })
}

#[tokio::test]
async fn a_rate_pauses_and_loses_nothing() {
    let mut master = Master::with("[limits]\nrate = \"100KiB\"\n");
    master.start().await;
    let mut client = master.connect(&master.enroll("web-1")).await;
    client.send(&frames(0, 1500)).await;
    client.close().await.unwrap();
    master.merged(1500).await;
    assert_eq!(master.archived("web-1"), frames(0, 1500));
}

#[tokio::test]
async fn empty_lines_count_against_a_rate_as_well() {
    let mut master = Master::with("[limits]\nrate = \"64KiB\"\n");
    master.start().await;
    let (mut link, _) = master.resumed(&master.enroll("web-1"), "decky", 1).await;
    let begun = std::time::Instant::now();
    for _ in 0..4 {
        link.say(&Control::Blank { count: 65536 }).await;
    }
    link.acked(1, 4 << 16).await;
    assert!(begun.elapsed().as_millis() > 1500, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_rate_pauses_acknowledged_connections_as_well() {
    let mut master = Master::with("[limits]\nrate = \"64KiB\"\n");
    master.start().await;
    let identity = master.enroll("web-1");
    let begun = std::time::Instant::now();
    let mut sending = Sending::new("decky", epoch(1), lines(0, 1500));
    sending.send(&master, &identity).await.unwrap();
    let all = sending.bytes.len();
    assert!(master.stream("web-1", "decky", epoch(1)) == sending.bytes);
    // The first second's worth is saved up.
    let least = (all >> 16).saturating_sub(2) as u64;
    assert!(begun.elapsed().as_secs() >= least && least > 0);
}

#[tokio::test]
async fn many_gaps_cost_their_sender_and_nobody_else() {
    let master = Master::started().await;
    let identity = master.enroll("web-1");
    let (mut many, _) = master.resumed(&identity, "many", 1).await;
    let (mut other, _) = master.resumed(&master.enroll("web-2"), "decky", 2).await;
    let mut wire = Vec::new();
    for n in 1..=50 {
        framing::encode(b"x", &mut wire);
        let skip = Control::Skip {
            to: at(n * 10),
            cause: GapCause::LagCap,
        };
        framing::encode_control(&skip.encode().unwrap(), &mut wire);
    }
    let before = master.metric("commits_total").await;
    many.client.send(&wire).await;
    other.client.send(b"2 ok").await;
    other.acked(2, 3).await;
    many.acked(1, 500).await;
    assert_eq!(master.stream("web-1", "many", epoch(1)), b"x\n".repeat(50));
    assert!(master.metric("commits_total").await >= before + 25);
    let gaps = master.ledger("web-1", "many");
    assert_eq!(gaps.iter().filter(|fact| fact["kind"] == "gap").count(), 50);
}
