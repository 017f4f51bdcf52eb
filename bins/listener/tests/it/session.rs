//! What is said on one acknowledged connection, word by word (docs/wire.md).

use delivery::control::Beat;
use delivery::{Code, Control, Print};
use tokio::io::AsyncWriteExt as _;

use crate::link::{at, epoch, hello};
use crate::support::{Master, frames, lines};

fn mark(offset: usize) -> Control {
    Control::Mark { offset: at(offset) }
}

#[tokio::test]
async fn takes_a_connection_split_at_any_octet() {
    let mut master = Master::started().await;
    let identity = master.enroll("web-1");
    let (mut link, resume) = master.resumed(&identity, "decky", 1).await;
    assert_eq!((resume.offset, resume.epoch), (at(0), epoch(1)));
    let bytes = lines(0, 3);
    let mut wire = frames(0, 3);
    for control in [
        mark(bytes.len()),
        Control::Blank { count: 2 },
        Control::Part {},
    ] {
        framing::encode_control(&control.encode().unwrap(), &mut wire);
    }
    framing::encode(b"a piece", &mut wire);
    framing::encode(b" and its end", &mut wire);
    for octet in wire.chunks(1) {
        link.client.send(octet).await;
    }
    let all = [&bytes[..], b"\n\na piece and its end\n"].concat();
    link.acked(1, all.len()).await;
    assert!(master.stream("web-1", "decky", epoch(1)) == all);
    link.close().await;
    master.stop();
    assert!(master.merged_log().starts_with(&bytes));
}

#[tokio::test]
async fn goes_on_inside_a_line_that_came_in_pieces() {
    let master = Master::started().await;
    let identity = master.enroll("web-1");
    let (mut link, _) = master.resumed(&identity, "decky", 1).await;
    link.say(&Control::Part {}).await;
    link.client.send(b"5 begin").await;
    link.acked(1, 5).await;
    link.close().await;
    let (mut link, resume) = master.resumed(&identity, "decky", 1).await;
    assert_eq!(resume.offset, at(5));
    assert_eq!(resume.tail, Print::of(at(5), b"begin"));
    link.client.send(b"4 ning2 !!").await;
    link.acked(1, 13).await;
    assert_eq!(
        master.stream("web-1", "decky", epoch(1)),
        b"beginning\n!!\n"
    );
}

#[tokio::test]
async fn another_history_starts_at_its_base() {
    let master = Master::started().await;
    let identity = master.enroll("web-1");
    let (mut link, _) = master.resumed(&identity, "decky", 1).await;
    link.client.send(b"6 common3 one").await;
    link.acked(1, 11).await;
    link.close().await;
    let mut branch = hello("decky", epoch(2));
    (branch.of, branch.base) = (Some(epoch(1)), Some(at(7)));
    let mut link = master.link(&identity).await;
    link.say(&Control::Hello(branch)).await;
    assert_eq!(link.resume().await.offset, at(7));
    link.client.send(b"3 two").await;
    link.acked(2, 11).await;
    assert_eq!(master.stream("web-1", "decky", epoch(2)), b"two\n");
}

#[tokio::test]
async fn beats_show_and_unknown_controls_are_counted() {
    let master = Master::started().await;
    let identity = master.enroll("web-1");
    let (mut link, _) = master.resumed(&identity, "decky", 1).await;
    let mut wire = Vec::new();
    framing::encode_control(br#"{"hullo":{"stream":1}}"#, &mut wire);
    framing::encode_control(br#"{"frob":[1,2]}"#, &mut wire);
    link.client.send(&wire).await;
    link.say(&Control::Beat(Beat {
        backlog_bytes: 4711,
        oldest_ms: 1500,
        clock_ms: 0,
    }))
    .await;
    link.client.send(b"2 ok").await;
    link.acked(1, 3).await;
    master.shows("unknown_controls_total", 2).await;
    let of = "{worker=\"web-1\",stream=\"decky\"}";
    master.shows(&format!("backlog_bytes{of}"), 4711).await;
    let status = master.status().await.unwrap();
    let stream = &status["workers"]["web-1"]["streams"]["decky"];
    assert_eq!(stream["mode"], "acknowledged");
    assert_eq!(stream["beat"]["backlog_bytes"], 4711);
    assert_eq!(stream["beat"]["oldest_ms"], 1500);
    assert!(stream["beat"]["clock_difference_ms"].as_i64().unwrap() < -1_000_000_000);
    assert_eq!(stream["connections"], 1);
}

#[tokio::test]
async fn limits_of_a_worker_are_told_in_words() {
    let mut master = Master::with("[limits]\nconnections_per_worker = 18\n");
    master.start().await;
    let identity = master.enroll("web-1");
    let mut links = Vec::new();
    for n in 0..16u8 {
        links.push(master.resumed(&identity, &format!("s{n}"), n).await.0);
    }
    let mut one_more = master.link(&identity).await;
    one_more.say(&Control::Hello(hello("s16", epoch(16)))).await;
    assert_eq!(one_more.refused().await.code, Code::Limit);
    let (again, _) = master.resumed(&identity, "s0", 0).await;
    assert_eq!(links.remove(0).refused().await.code, Code::Superseded);
    links.push(again);
    master.shows("connections", 16).await;
    links.push(master.link(&identity).await);
    links.push(master.link(&identity).await);
    let mut too_many = master.link(&identity).await;
    assert_eq!(too_many.refused().await.code, Code::Limit);
    master.shows("refusals_total{code=\"limit\"}", 2).await;
    master
        .shows("refused_total{reason=\"worker_connections\"}", 1)
        .await;
    // The others are served on.
    links[3].client.send(b"2 ok").await;
    links[3].acked(4, 3).await;
}

#[tokio::test]
async fn closes_who_takes_too_long() {
    let mut master = Master::with("[limits]\nframe = \"1s\"\nidle = \"2s\"\n");
    master.start().await;
    let identity = master.enroll("web-1");
    let (mut stuck, _) = master.resumed(&identity, "a", 1).await;
    stuck.client.send(b"100 begun").await;
    let (mut idle, _) = master.resumed(&identity, "b", 2).await;
    stuck.closed().await;
    idle.closed().await;
    master.shows("closed_total{reason=\"stuck\"}", 1).await;
    master.shows("closed_total{reason=\"idle\"}", 1).await;
}

#[tokio::test]
async fn revoked_and_unknown_workers_are_refused_in_words() {
    let mut master = Master::started().await;
    let (bad, good) = (master.enroll("bad"), master.enroll("good"));
    let (mut cut, _) = master.resumed(&bad, "decky", 1).await;
    let (mut stays, _) = master.resumed(&good, "decky", 1).await;
    cut.client.send(b"3 one").await;
    cut.acked(1, 4).await;
    let data = master.data();
    master.command(&["revoke", "bad", "--data", &data.to_string_lossy()]);
    assert_eq!(cut.refused().await.code, Code::Revoked);
    let mut again = master.link(&bad).await;
    assert_eq!(again.refused().await.code, Code::Revoked);
    stays.client.send(b"3 one").await;
    stays.acked(1, 4).await;
    master.shows("refusals_total{code=\"revoked\"}", 2).await;
    master.shows("refused_total{reason=\"revoked\"}", 2).await;
    drop(stays);
    master.stop();
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(data.join(format!("registry.sqlite{suffix}")));
    }
    master.command(&["init", "--data", &data.to_string_lossy()]);
    master.start().await;
    let mut unknown = master.link(&good).await;
    assert_eq!(unknown.refused().await.code, Code::NotEnrolled);
}

#[tokio::test]
async fn a_stop_asks_for_the_end_and_waits_for_it() {
    let mut master = Master::with("commit = { max_delay = \"5s\" }\n");
    master.start().await;
    let identity = master.enroll("web-1");
    let (mut link, _) = master.resumed(&identity, "decky", 1).await;
    let mut silent = master.link(&identity).await;
    master.signal(rustix::process::Signal::TERM);
    let heard = link.hear().await.unwrap();
    assert!(matches!(heard, Some(Control::Drain { .. })), "{heard:?}");
    assert_eq!(silent.refused().await.code, Code::Draining);
    // What was on the way is taken and acknowledged.
    link.client.send(b"4 last").await;
    link.acked(1, 5).await;
    link.client.0.shutdown().await.unwrap();
    master.ended();
    assert_eq!(master.stream("web-1", "decky", epoch(1)), b"last\n");
}
