//! Whoever breaks the protocol loses its connection, and nobody else anything.

use crate::link::{epoch, hello};
use crate::support::{Master, until};
use delivery::Control;

fn control(json: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    framing::encode_control(json.as_bytes(), &mut wire);
    wire
}

#[tokio::test]
async fn closes_the_one_who_breaks_the_rules() {
    let master = Master::started().await;
    let identity = master.enroll("web-1");
    let (mut other, _) = master.resumed(&identity, "other", 99).await;
    let roll = r#"{"roll":{"end":7,"epoch":"00000000000000000000000000000009","cause":"rotated","lost":null}}"#;
    let wrong: [Vec<u8>; 16] = [
        control(r#"{"hello":{}}"#),
        control(r#"{"mark":{"offset":8}}"#),
        control(r#"{"mark":{"offset":7},"mark":{"offset":7}}"#),
        control(r#"{"mark":"#),
        control("[]"),
        control("{}"),
        control(r#"{"drain":{"after_ms":1}}"#),
        control(r#"{"blank":{"count":0}}"#),
        control(r#"{"skip":{"to":3,"cause":"lag-cap"}}"#),
        control(r#"{"skip":{"to":30,"cause":"bored"}}"#),
        control(roll),
        [
            control(r#"{"part":{}}"#),
            control(r#"{"mark":{"offset":4}}"#),
        ]
        .concat(),
        [
            control(r#"{"part":{}}"#),
            b"1 a".to_vec(),
            control(r#"{"skip":{"to":30,"cause":"lag-cap"}}"#),
        ]
        .concat(),
        b"3 a\nb".to_vec(),
        b"03 abc".to_vec(),
        b"1048577 ".to_vec(),
    ];
    for (n, wire) in wrong.iter().enumerate() {
        let stream = format!("s{n}");
        let (mut link, _) = master.resumed(&identity, &stream, n as u8).await;
        link.client.send(b"3 one").await;
        link.acked(n as u8, 4).await;
        link.client.send(wire).await;
        link.closed().await;
        // The worker begins again where it was.
        let (mut link, resume) = master.resumed(&identity, &stream, n as u8).await;
        let archived = master.stream("web-1", &stream, epoch(n as u8));
        assert!(archived.starts_with(b"one\n"), "{n}: {archived:?}");
        assert_eq!(resume.offset.get() as usize, archived.len(), "{n}");
        link.client.send(b"3 two").await;
        link.acked(n as u8, archived.len() + 4).await;
    }
    master.shows("closed_total{reason=\"violation\"}", 13).await;
    master.shows("closed_total{reason=\"framing\"}", 3).await;
    other.client.send(b"2 ok").await;
    other.acked(99, 3).await;
}

#[tokio::test]
async fn closes_who_does_not_begin_with_a_hello() {
    let master = Master::started().await;
    let identity = master.enroll("web-1");
    let early = [
        b"3 one".to_vec(),
        control(r#"{"beat":{"backlog_bytes":0,"oldest_ms":0,"clock_ms":0}}"#),
        control(r#"{"hullo":{}}"#),
    ];
    for wire in early {
        let mut link = master.link(&identity).await;
        link.client.send(&wire).await;
        link.closed().await;
    }
    let mut link = master.link(&identity).await;
    link.say(&Control::Hello(hello("../evil", epoch(1)))).await;
    assert_eq!(link.refused().await.code, delivery::Code::BadStream);
    let mut link = master.link(&identity).await;
    link.say(&Control::Hello(hello("syslog", epoch(1)))).await;
    assert_eq!(link.refused().await.code, delivery::Code::BadStream);
    assert!(!master.data().join("archive/web-1").exists());
    assert!(!master.data().join("archive/evil").exists());
}

#[tokio::test]
async fn a_megabyte_without_a_mark_is_too_much() {
    let master = Master::started().await;
    let identity = master.enroll("web-1");
    let (mut link, _) = master.resumed(&identity, "decky", 1).await;
    let mut wire = Vec::new();
    for _ in 0..3 << 6 {
        framing::encode(&[b'x'; 1 << 14], &mut wire);
    }
    // It may be cut off while it sends.
    let _ = tokio::io::AsyncWriteExt::write_all(&mut link.client.0, &wire).await;
    until("it is closed", async || {
        (master.metric("closed_total{reason=\"violation\"}").await == 1).then_some(())
    })
    .await;
}
