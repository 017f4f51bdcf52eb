//! What is said on one acknowledged connection, word by word (docs/wire.md).

use delivery::control::{Beat, Missing, Roll};
use delivery::{Code, Control, GapCause, Hash, Print, RollCause};
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
    // A client's handshake ends before the listener's.
    master.shows("accepted_total", 2).await;
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

#[tokio::test]
async fn gaps_are_ledgered_counted_and_gone_over() {
    let master = Master::started().await;
    let identity = master.enroll("web-1");
    let (mut link, _) = master.resumed(&identity, "decky", 1).await;
    link.client.send(b"3 one").await;
    let skip = |to, cause| Control::Skip { to: at(to), cause };
    link.say(&skip(100, GapCause::LagCap)).await;
    link.client.send(b"3 two").await;
    let ack = link.acked(1, 104).await;
    assert_ne!(ack.ledger, Hash::of(b""));
    link.say(&skip(200, GapCause::DiskBudget)).await;
    link.acked(1, 200).await;
    link.close().await;
    assert_eq!(master.stream("web-1", "decky", epoch(1)), b"one\ntwo\n");
    for (what, value) in [
        ("gaps_total{cause=\"lag-cap\"}", 1),
        ("gap_bytes_total{cause=\"lag-cap\"}", 96),
        ("gap_bytes_total{cause=\"disk-budget\"}", 96),
    ] {
        master.shows(what, value).await;
    }
    let gaps: Vec<_> = master
        .ledger("web-1", "decky")
        .into_iter()
        .filter(|fact| fact["kind"] == "gap")
        .map(|fact| {
            (
                fact["base"].clone(),
                fact["len"].clone(),
                fact["cause"].clone(),
            )
        })
        .collect();
    assert_eq!(
        gaps,
        [
            (4.into(), 96.into(), "lag-cap".into()),
            (104.into(), 96.into(), "disk-budget".into())
        ]
    );
    assert!(master.log().contains("gap"), "{}", master.log());
    let (_, resume) = master.resumed(&identity, "decky", 1).await;
    assert_eq!(resume.offset, at(200));
    assert_eq!(resume.tail, Print::of(at(104), b"two\n"));
}

#[tokio::test]
async fn a_proof_says_what_is_missing() {
    let master = Master::started().await;
    let identity = master.enroll("web-1");
    let (mut link, _) = master.resumed(&identity, "decky", 1).await;
    link.client.send(b"3 one").await;
    let (to, cause) = (at(100), GapCause::LagCap);
    link.say(&Control::Skip { to, cause }).await;
    link.client.send(b"3 two").await;
    link.acked(1, 104).await;
    let missing = |from, to| {
        let (from, to) = (at(from), at(to));
        Some(Missing { from, to }).into()
    };
    for (end, len, proof) in [
        (104, 4, Hash::of(b"two\n").into()),
        (104, 5, missing(4, 100)),
        (90, 1, missing(4, 100)),
        (5, 5, missing(4, 100)),
        (105, 5, None.into()),
    ] {
        let (epoch, end) = (epoch(1), at(end));
        link.say(&Control::Prove { epoch, end, len }).await;
        let answer = link.hear().await.unwrap();
        assert_eq!(answer, Some(Control::Proof(proof)), "{len} before {end}");
    }
}

#[tokio::test]
async fn a_roll_is_answered_by_the_next_resume_and_acknowledged_by_its_ack() {
    let master = Master::started().await;
    let identity = master.enroll("web-1");
    let (mut link, _) = master.resumed(&identity, "decky", 1).await;
    let mut end = 0;
    for n in 1..=6u8 {
        link.client.send(b"5 first6 second").await;
        end += if n == 1 { 13 } else { 0 };
        let roll = Roll {
            end: at(end),
            epoch: epoch(n + 1),
            cause: RollCause::Rotated,
            lost: Some(0),
            of: None,
            base: None,
        };
        link.say(&Control::Roll(roll)).await;
        end = 13;
        loop {
            match link.hear().await.unwrap() {
                Some(Control::Resume(resume)) => {
                    assert_eq!((resume.epoch, resume.offset), (epoch(n + 1), at(0)));
                    break;
                }
                Some(Control::Ack(ack)) => assert!(ack.epoch == epoch(n), "{ack:?}"),
                other => panic!("{other:?}"),
            }
        }
    }
    link.acked(7, 0).await;
    link.close().await;
    for n in 1..=6 {
        assert_eq!(
            master.stream("web-1", "decky", epoch(n)),
            b"first\nsecond\n"
        );
    }
    // A rolled epoch may be continued.
    let (mut link, resume) = master.resumed(&identity, "decky", 2).await;
    assert_eq!(resume.offset, at(13));
    link.client.send(b"4 late").await;
    link.acked(2, 18).await;
    assert_eq!(
        master.stream("web-1", "decky", epoch(2)),
        b"first\nsecond\nlate\n"
    );
}

#[tokio::test]
async fn who_lost_its_state_is_told_what_is_held() {
    let master = Master::started().await;
    let identity = master.enroll("web-1");
    let bytes = lines(0, 100);
    for n in 1..=3 {
        let (mut link, _) = master.resumed(&identity, "decky", n).await;
        link.client.send(&frames(0, 100)).await;
        link.acked(n, bytes.len()).await;
        link.close().await;
    }
    let mut link = master.link(&identity).await;
    let mut lost = hello("decky", epoch(0));
    lost.epoch = None;
    link.say(&Control::Hello(lost)).await;
    let Some(Control::Epochs(held)) = link.hear().await.unwrap() else {
        panic!("no epochs")
    };
    let epochs: Vec<_> = held.iter().map(|held| held.epoch).collect();
    assert_eq!(epochs, [epoch(3), epoch(2), epoch(1)]);
    assert_eq!(held[0].end, at(bytes.len()));
    assert_eq!(held[0].head, Print::of(at(4096), &bytes[..4096]));
    let tail = &bytes[bytes.len() - 4096..];
    assert_eq!(held[0].tail, Print::of(at(bytes.len()), tail));
    link.say(&Control::Hello(hello("decky", epoch(2)))).await;
    assert_eq!(link.resume().await.offset, at(bytes.len()));
    for (end, len, proof) in [
        (5000, 1000, Hash::of(&bytes[4000..5000]).into()),
        (bytes.len() + 1, 10, None.into()),
    ] {
        let (epoch, end) = (epoch(1), at(end));
        link.say(&Control::Prove { epoch, end, len }).await;
        let answer = link.hear().await.unwrap();
        assert_eq!(answer, Some(Control::Proof(proof)));
    }
}

#[tokio::test]
async fn a_file_that_is_gone_is_sealed() {
    let master = Master::started().await;
    let identity = master.enroll("web-1");
    let (mut link, _) = master.resumed(&identity, "decky", 1).await;
    link.client.send(b"3 one").await;
    let roll = Control::Roll(Roll {
        end: at(4),
        epoch: epoch(2),
        cause: RollCause::Gone,
        lost: None,
        of: None,
        base: None,
    });
    link.say(&roll).await;
    assert_eq!(link.resume().await.epoch, epoch(2));
    link.acked(2, 0).await;
    link.close().await;
    // Its end was not heard, perhaps: to say it again is harmless, and to go on is not possible.
    let (mut link, resume) = master.resumed(&identity, "decky", 1).await;
    assert!(resume.sealed);
    link.say(&roll).await;
    assert_eq!(link.resume().await.epoch, epoch(2));
    link.acked(2, 0).await;
    link.close().await;
    let (mut link, _) = master.resumed(&identity, "decky", 1).await;
    link.client.send(b"3 two").await;
    assert_eq!(link.refused().await.code, Code::BadStream);
    assert_eq!(master.stream("web-1", "decky", epoch(1)), b"one\n");
    master.shows("gaps_total{cause=\"gone\"}", 2).await;
}
