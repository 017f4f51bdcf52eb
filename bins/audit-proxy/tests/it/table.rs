//! What the proxy does with each thing that can come over the socket: the original's table, row by row.

use std::io::Write as _;
use std::os::unix::net::UnixStream;

use audit_codec::{Log, Message, Request, Tag};

use crate::bed::{
    Bed, Proxy, SESSION, frame, hex, is_closed, message, status, until, write_in_two,
};

const V1: &str = "010000420a400801120b0880f2d6ca0610959aef3a1a2f0a03474554121468747470733a2f2f6578616d706c652e636f6d2f1a12646f6d61696e3d6578616d706c652e636f6d";
const V2: &str = "01000000";
const V3: &str = "0200003b0a390a3712060881f2d6ca061a2d0a04504f5354122568747470733a2f2f706173746562696e2e636f6d2f6170692f6170695f706f73742e706870";
const V4: &str = "020000a50aa2010a490801120c0882f2d6ca061080cab5ee011a370a03474554121b68747470733a2f2f6170692e6769746875622e636f6d2f757365721a13646f6d61696e3d2a2e6769746875622e636f6d0a2f120c0882f2d6ca061081cab5ee011a1d0a035055541216687474703a2f2f31302e302e302e312f783f713dc3bc2001122435663063326638652d366433622d346237652d396135312d306432633866346537613130";
const V5: &str = "02000006120408051003";
const V6: &str = "020000900a8d010a580801120c0883f2d6ca0610ff93ebdc031a400a0644454c455445121a68747470733a2f2f682e6578616d706c653a383434332f612f621a1a646f6d61696e3d682e6578616d706c6520706174683d2f612f2a20ffffffff07122435663063326638652d366433622d346237652d396135312d3064326338663465376131301a0b636c617564652d636f6465";

fn served() -> (Bed, Proxy, UnixStream) {
    let bed = Bed::new();
    let proxy = bed.start();
    let client = bed.connect();
    (bed, proxy, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn takes_every_release_on_one_connection() {
    let (bed, proxy, mut client) = served();
    for vector in [V1, V2, V3, V4, V5, V6] {
        write_in_two(&mut client, &hex(vector)).unwrap();
    }
    bed.has(5).await;
    let expected = [
        "https://example.com/",
        "https://pastebin.com/api/api_post.php",
        "https://api.github.com/user",
        "http://10.0.0.1/x?q=ü",
        "https://h.example:8443/a/b",
    ];
    assert_eq!(bed.urls(), expected);
    let (records, lines) = (bed.records(), bed.lines());
    assert_eq!(records[0]["event_time"], "2026-01-01T00:00:00.123456789Z");
    assert_eq!(records[0]["matched_rule"], "domain=example.com");
    assert_eq!(records[1]["decision"], "deny");
    assert_eq!(records[3]["sequence_number"], 1);
    assert_eq!(records[4]["process"], "claude-code");
    // The kernel's word for who we are.
    let uid = rustix::process::getuid().as_raw();
    assert_eq!(records[4]["pid"], std::process::id());
    assert_eq!(records[4]["uid"], uid);
    assert!(records[4]["gid"].is_u64() && records[4]["conn"].is_u64());
    for (record, line) in records.iter().zip(&lines) {
        assert_eq!(record["raw_line"], line.as_str());
        assert!(rfc5424::parse(line.as_bytes()).is_ok(), "{line}");
        assert!(line.contains(&format!("uid=\"{uid}\"")), "{line}");
    }
    // The empty request is a batch; the status is none.
    until(async || bed.original("batches_forwarded_total").await == 5).await;
    assert_eq!(bed.ours("records_total").await, 5);
    assert_eq!(
        bed.original("logs_dropped_total{reason=\"boundary_channel_full\"}")
            .await,
        5
    );
    assert_eq!(
        bed.original("logs_dropped_total{reason=\"boundary_batch_full\"}")
            .await,
        3
    );
    proxy.stop().await.unwrap();
    let told: Vec<_> = bed
        .ledger()
        .iter()
        .map(|fact| (fact["cause"].clone(), fact["records"].clone()))
        .collect();
    assert!(
        told.contains(&("boundary_channel_full".into(), 5.into())),
        "{told:?}"
    );
    assert!(
        told.contains(&("boundary_batch_full".into(), 3.into())),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn how_the_octets_are_cut_makes_no_difference() {
    let (bed, proxy, mut client) = served();
    for octet in hex(V4) {
        client.write_all(&[octet]).unwrap();
        tokio::task::yield_now().await;
    }
    let all: Vec<u8> = [V1, V4, V6].iter().flat_map(|vector| hex(vector)).collect();
    client.write_all(&all).unwrap();
    bed.has(6).await;
    let urls = bed.urls();
    assert_eq!((urls.len(), &urls[0], &urls[3]), (6, &urls[3], &urls[0]));
    proxy.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn end_at_a_frame_boundary_is_silent() {
    let (bed, proxy, mut client) = served();
    client.write_all(&hex(V1)).unwrap();
    drop(client);
    bed.has(1).await;
    until(async || bed.ours("connections").await == 0).await;
    proxy.stop().await.unwrap();
    assert!(bed.ledger().is_empty(), "{:?}", bed.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_is_refused_ends_its_connection_alone() {
    let (bed, proxy, mut good) = served();
    for (header, reason) in [
        ("01008001", "size"),
        ("03000000", "tag"),
        ("ff008001", "tag"),
        ("00008001", "tag"),
    ] {
        let before = bed
            .ours(&format!("rejected_frames_total{{reason=\"{reason}\"}}"))
            .await;
        let mut bad = bed.connect();
        bad.write_all(&hex(V1)).unwrap();
        bad.write_all(&hex(header)).unwrap();
        assert!(is_closed(&mut bad), "{header}");
        until(async || bad.write_all(b"more").is_err()).await;
        let reason = format!("rejected_frames_total{{reason=\"{reason}\"}}");
        until(async || bed.ours(&reason).await == before + 1).await;
    }
    good.write_all(&hex(V3)).unwrap();
    // What came before the header counts.
    bed.has(5).await;
    proxy.stop().await.unwrap();
    let causes: Vec<_> = bed
        .ledger()
        .iter()
        .map(|fact| fact["cause"].clone())
        .collect();
    assert!(
        causes.contains(&"tag".into()) && causes.contains(&"size".into()),
        "{causes:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_frame_is_taken() {
    let (bed, proxy, mut client) = served();
    let overhead = message_of("").len() - 4;
    // Three lengths around the text take two octets more each than for an empty one.
    let url = "x".repeat(32768 - overhead - 7);
    let wire = (0..4)
        .map(|more| message_of(&url[more..]))
        .find(|wire| wire.len() == 32772);
    write_in_two(&mut client, &wire.expect("a length that fits")).unwrap();
    bed.has(1).await;
    assert!(bed.urls()[0].len() > 32700);
    proxy.stop().await.unwrap();
}

fn message_of(url: &str) -> Vec<u8> {
    let http = audit_codec::Http {
        url,
        ..Default::default()
    };
    let log = Log {
        http: Some(http),
        ..Log::default()
    };
    let request = Request {
        logs: vec![log],
        ..Request::default()
    };
    let payload = Message::Logs(request).encode(Tag::Envelope);
    let mut wire = vec![2];
    wire.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    wire.extend_from_slice(&payload);
    wire
}

#[tokio::test(flavor = "multi_thread")]
async fn end_inside_a_frame_keeps_those_before() {
    let (bed, proxy, _client) = served();
    for cut in [2, 4, 30] {
        let mut client = bed.connect();
        client.write_all(&hex(V1)).unwrap();
        client.write_all(&hex(V3)[..cut]).unwrap();
    }
    let truncated = "rejected_frames_total{reason=\"truncated\"}";
    until(async || bed.ours(truncated).await == 3).await;
    bed.has(3).await;
    proxy.stop().await.unwrap();
    assert_eq!(bed.records().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_is_refused_leaves_the_connection() {
    let (bed, proxy, mut client) = served();
    let decode = "rejected_frames_total{reason=\"decode\"}";
    let variant = "rejected_frames_total{reason=\"variant\"}";
    let rows = [
        ("01000005ffffffffff", decode),
        ("010000110a0f08011a0b0a034745541204fffefafb", decode),
        ("02000000", variant),
        ("020000041a020801", variant),
    ];
    for (n, (bad, reason)) in rows.into_iter().enumerate() {
        let before = bed.ours(reason).await;
        client.write_all(&hex(bad)).unwrap();
        client.write_all(&hex(V1)).unwrap();
        bed.has(n + 1).await;
        assert_eq!(bed.ours(reason).await, before + 1, "{bad}");
    }
    proxy.stop().await.unwrap();
    let lost: u64 = bed
        .ledger()
        .iter()
        .filter_map(|fact| fact["len"].as_u64())
        .sum();
    assert_eq!(lost, 5 + 17 + 4, "octets of what was left out");
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_that_are_not_positive_count_for_nothing() {
    let (bed, proxy, mut client) = served();
    client
        .write_all(&hex(
            "02000018121608ffffffffffffffffff0110f7ffffffffffffffff01",
        ))
        .unwrap();
    client.write_all(&status(0, i64::MIN)).unwrap();
    // Logs and status in one envelope: the last one stands.
    let both = "020000410a390a3712060881f2d6ca061a2d0a04504f5354122568747470733a2f2f706173746562696e2e636f6d2f6170692f6170695f706f73742e706870120408051003";
    client.write_all(&hex(both)).unwrap();
    client.write_all(&hex(V1)).unwrap();
    bed.has(1).await;
    assert_eq!(
        bed.original("logs_dropped_total{reason=\"boundary_channel_full\"}")
            .await,
        5
    );
    assert_eq!(
        bed.original("logs_dropped_total{reason=\"boundary_batch_full\"}")
            .await,
        3
    );
    assert_eq!(bed.ours("frames_total{tag=\"2\",kind=\"status\"}").await, 3);
    proxy.stop().await.unwrap();
    assert_eq!(bed.records().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_wire_types_and_unknown_fields_pass() {
    let (bed, proxy, mut client) = served();
    // session_id as a number, an unknown group, an unknown fixed32, and one record.
    client
        .write_all(b"\x01\0\0\x0d\x10\x05\x2b\x08\x01\x2c\x3d1234\x0a\x00")
        .unwrap();
    bed.has(1).await;
    assert_eq!(bed.records()[0]["decision"], "deny");
    assert_eq!(bed.records()[0].get("session_id"), None);
    proxy.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_batches_at_once_are_no_reason_to_drop() {
    let (bed, proxy, mut client) = served();
    for n in 0..101 {
        client
            .write_all(&frame(SESSION, n * 10..n * 10 + 10))
            .unwrap();
    }
    bed.has(1010).await;
    let expected: Vec<String> = (0..1010).map(|n| format!("/{n}")).collect();
    assert_eq!(bed.urls(), expected);
    until(async || bed.original("batches_forwarded_total").await == 101).await;
    for reason in ["buffer_full", "forward_failed"] {
        let name = format!("batches_dropped_total{{reason=\"{reason}\"}}");
        assert_eq!(bed.original(&name).await, 0);
    }
    assert_eq!(bed.ours("sequence_gaps_total").await, 0);
    proxy.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_frame_makes_no_flood() {
    let (bed, proxy, mut client) = served();
    let many = Request {
        logs: vec![Log::default(); 10_001],
        ..Request::default()
    };
    let session = "s".repeat(16_000);
    let long = Request {
        logs: vec![Log::default(); 5_000],
        session_id: &session,
        process: "",
    };
    for request in [many, long] {
        client
            .write_all(&message(Tag::Logs, &Message::Logs(request)))
            .unwrap();
    }
    client.write_all(&hex(V1)).unwrap();
    bed.has(1).await;
    assert_eq!(
        bed.ours("rejected_frames_total{reason=\"records\"}").await,
        2
    );
    proxy.stop().await.unwrap();
    assert_eq!(bed.records().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_frame_is_broken_off_and_an_idle_client_is_not() {
    let bed = Bed::new();
    bed.configure("limits = { frame_timeout = \"200ms\" }");
    let proxy = bed.start();
    let mut idle = bed.connect();
    let mut stalled = bed.connect();
    stalled.write_all(&hex(V1)).unwrap();
    stalled.write_all(&hex(V3)[..20]).unwrap();
    // Others are served meanwhile.
    let mut other = bed.connect();
    other.write_all(&hex(V3)).unwrap();
    bed.has(2).await;
    assert!(is_closed(&mut stalled));
    until(async || bed.ours("rejected_frames_total{reason=\"timeout\"}").await == 1).await;
    idle.write_all(&hex(V1)).unwrap();
    bed.has(3).await;
    proxy.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_an_octet_are_noticed() {
    let (bed, proxy, mut client) = served();
    for _ in 0..3 {
        drop(bed.connect());
    }
    until(async || bed.ours("connections_closed_without_frame_total").await == 3).await;
    // One that says something is none of them.
    client.write_all(&hex(V1)).unwrap();
    drop(client);
    bed.has(1).await;
    proxy.stop().await.unwrap();
    let told = bed.ledger();
    let times: u64 = told
        .iter()
        .map(|fact| {
            assert_eq!(fact["kind"], "closed-without-frame");
            assert_eq!(fact["pid"], std::process::id());
            fact["times"].as_u64().unwrap()
        })
        .sum();
    assert_eq!(times, 3);
}
