//! RFC 5425 as a receiver speaks it (§4.3, §4.4).

use crate::support::{Master, frames, lines, message};

#[tokio::test]
async fn keeps_frames_split_at_any_octet() {
    let master = Master::started().await;
    let identity = master.enroll("web-1");
    let mut client = master.connect(&identity).await;
    let octets = frames(0, 3);
    // Each octet in a TLS record of its own, then all that is left in one.
    for octet in octets.chunks(1) {
        client.send(octet).await;
    }
    client.send(&frames(3, 2000)).await;
    client.close().await.unwrap();
    master.merged(2000).await;
    assert_eq!(master.archived("web-1"), frames(0, 2000));
    assert_eq!(master.merged_log(), lines(0, 2000));
    let records = master.records(2000).await;
    assert_eq!(records.len(), 2000);
    let mut offset = 0;
    for (n, record) in records.iter().enumerate() {
        assert_eq!(record["fields"]["n"], n.to_string());
        assert_eq!(record["attacker_ip"], "198.51.100.7");
        assert_eq!(record["source_worker"], "web-1");
        assert_eq!(record["source_offset"], offset);
        offset += frames(n, n + 1).len();
    }
    master.shows("frames_total", 2000).await;
    master.shows("invalid_frames_total", 0).await;
}

#[tokio::test]
async fn answers_close_notify() {
    let master = Master::started().await;
    let client = master.connect(&master.enroll("web-1")).await;
    // rustls says UnexpectedEof if the answer is missing.
    client.close().await.unwrap();
    master.shows("closed_total{reason=\"clean\"}", 1).await;
}

#[tokio::test]
async fn closes_on_bad_framing_and_keeps_what_was_whole() {
    let master = Master::started().await;
    let identity = master.enroll("web-1");
    let cases: [(&[u8], &str); 6] = [
        (b"hello", "len.non_digit"),
        (b"05 hello", "len.leading_zero"),
        (b"0 ", "len.leading_zero"),
        (b"9999999999 ", "len.too_long"),
        (b"1048577 ", "len.too_long"),
        (b"2!{}", "len.non_digit"),
    ];
    let mut sent = 0;
    for (octets, error) in cases {
        let before = master
            .metric(&format!("framing_errors_total{{error=\"{error}\"}}"))
            .await;
        let mut client = master.connect(&identity).await;
        client.send(&frames(sent, sent + 10)).await;
        client.send(octets).await;
        client.end().await.unwrap();
        sent += 10;
        let counted = format!("framing_errors_total{{error=\"{error}\"}}");
        master.shows(&counted, before + 1).await;
    }
    master.merged(sent).await;
    assert_eq!(master.archived("web-1"), frames(0, sent));
    let log = master.log();
    let told: Vec<_> = log
        .lines()
        .filter(|line| line.contains("framing broken"))
        .collect();
    assert_eq!(told.len(), 3, "once per address and error: {log}");
    let offset = frames(0, 10).len();
    for what in [
        "127.0.0.1:",
        "web-1",
        &format!("offset={offset}"),
        "octet 0x68",
    ] {
        assert!(told[0].contains(what), "{what}: {}", told[0]);
    }
}

#[tokio::test]
async fn a_torn_end_costs_only_itself() {
    let master = Master::started().await;
    let identity = master.enroll("web-1");
    for (rest, error) in [
        (&b"99 not all of it"[..], "eof.in_msg"),
        (b"12", "eof.in_len"),
    ] {
        let mut client = master.connect(&identity).await;
        client.send(&frames(0, 5)).await;
        client.send(rest).await;
        drop(client);
        let counted = format!("framing_errors_total{{error=\"{error}\"}}");
        master.shows(&counted, 1).await;
    }
    master.merged(10).await;
    assert_eq!(
        master.archived("web-1"),
        [frames(0, 5), frames(0, 5)].concat()
    );
}

#[tokio::test]
async fn takes_whatever_a_frame_holds() {
    let master = Master::started().await;
    let mut client = master.connect(&master.enroll("web-1")).await;
    let mut octets = Vec::new();
    let huge = vec![b'h'; 1 << 20];
    let line = message(7);
    let contents: [&[u8]; 6] = [
        b"no syslog",
        b"a\nb\n",
        b"\xff\0\r",
        b"17 looks like one",
        &huge,
        line.as_bytes(),
    ];
    for content in contents {
        framing::encode(content, &mut octets);
    }
    client.send(&octets).await;
    client.close().await.unwrap();
    master.merged(6).await;
    assert_eq!(master.archived("web-1"), octets);
    let log = [
        b"no syslog\na#012b#012\n\xff\0\r\n17 looks like one\n",
        &huge[..],
        b"\n",
        line.as_bytes(),
        b"\n",
    ]
    .concat();
    assert_eq!(master.merged_log(), log);
    assert_eq!(master.records(1).await.len(), 1);
    master.shows("invalid_frames_total", 5).await;
}

#[tokio::test]
async fn serves_many_connections_at_once() {
    let master = Master::started().await;
    let mut clients = tokio::task::JoinSet::new();
    for worker in 0..10 {
        let identity = std::sync::Arc::new(master.enroll(&format!("w{worker}")));
        for connection in 0..4 {
            let mut client = master.connect(&identity).await;
            clients.spawn(async move {
                for at in 0..20 {
                    client
                        .send(&frames(
                            connection * 1000 + at * 50,
                            connection * 1000 + (at + 1) * 50,
                        ))
                        .await;
                }
                client.close().await.unwrap();
            });
        }
    }
    clients.join_all().await;
    master.merged(40_000).await;
    let all = master.records(40_000).await;
    for worker in 0..10 {
        let records = all
            .iter()
            .filter(|r| r["source_worker"] == format!("w{worker}").as_str());
        let numbers: Vec<usize> = records
            .map(|r| r["fields"]["n"].as_str().unwrap().parse().unwrap())
            .collect();
        assert_eq!(numbers.len(), 4000);
        for connection in 0..4 {
            let own: Vec<_> = numbers
                .iter()
                .copied()
                .filter(|n| n / 1000 == connection)
                .collect();
            assert_eq!(
                own,
                (connection * 1000..(connection + 1) * 1000).collect::<Vec<_>>(),
                "in order per connection"
            );
        }
    }
}

#[tokio::test]
async fn commits_what_was_read_when_it_is_stopped() {
    let mut master = Master::with("commit = { max_delay = \"10s\" }\n");
    master.start().await;
    let mut client = master.connect(&master.enroll("web-1")).await;
    client.send(&frames(0, 500)).await;
    master.shows("frames_total", 500).await;
    master.stop();
    client.end().await.unwrap();
    assert_eq!(master.archived("web-1"), frames(0, 500));
    assert_eq!(master.merged_log(), lines(0, 500));
}
