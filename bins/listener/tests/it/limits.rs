//! Limits bite the one who passes them, and nobody else.

use tokio::net::TcpStream;

use crate::support::{Master, frames};

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
