//! Frames as released clients send them, made by Google's own library, and those that no client sends.

use audit_codec::{
    Fault, FrameError, Http, Log, Message, Request, Status, Tag, Time, decode_frame, encode_frame,
};

/// Releases 0.5.0 to 0.8.3: tag 1, one allowed request.
pub(crate) const V1: &str = "010000420a400801120b0880f2d6ca0610959aef3a1a2f0a03474554121468747470733a2f2f6578616d706c652e636f6d2f1a12646f6d61696e3d6578616d706c652e636f6d";
/// An empty request.
pub(crate) const V2: &str = "01000000";
/// Release 0.9.0: tag 2, one refused request, neither session nor number.
pub(crate) const V3: &str = "0200003b0a390a3712060881f2d6ca061a2d0a04504f5354122568747470733a2f2f706173746562696e2e636f6d2f6170692f6170695f706f73742e706870";
/// Later: tag 2, a session with two records; the number 0 is absent on the wire.
pub(crate) const V4: &str = "020000a50aa2010a490801120c0882f2d6ca061080cab5ee011a370a03474554121b68747470733a2f2f6170692e6769746875622e636f6d2f757365721a13646f6d61696e3d2a2e6769746875622e636f6d0a2f120c0882f2d6ca061081cab5ee011a1d0a035055541216687474703a2f2f31302e302e302e312f783f713dc3bc2001122435663063326638652d366433622d346237652d396135312d306432633866346537613130";
/// A status.
pub(crate) const V5: &str = "02000006120408051003";
/// Every field.
pub(crate) const V6: &str = "020000900a8d010a580801120c0883f2d6ca0610ff93ebdc031a400a0644454c455445121a68747470733a2f2f682e6578616d706c653a383434332f612f621a1a646f6d61696e3d682e6578616d706c6520706174683d2f612f2a20ffffffff07122435663063326638652d366433622d346237652d396135312d3064326338663465376131301a0b636c617564652d636f6465";

pub(crate) const SESSION: &str = "5f0c2f8e-6d3b-4b7e-9a51-0d2c8f4e7a10";

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(digit).collect()
}

/// Decodes the one frame of a vector.
fn check(vector: &str, tag: Tag, expected: &Message<'_>) {
    let wire = hex(vector);
    let (frame, consumed) = decode_frame(&wire).unwrap().unwrap();
    assert_eq!((frame.tag, consumed), (tag, wire.len()));
    assert_eq!(
        Message::decode(tag, frame.payload).as_ref(),
        Ok(expected),
        "{vector}"
    );
    let mut again = Vec::new();
    encode_frame(tag, &expected.encode(tag), &mut again).unwrap();
    assert_eq!(again, wire, "{vector} written again");
}

fn time(seconds: i64, nanos: i32) -> Option<Time> {
    let seconds = 1_767_225_600 + seconds;
    Some(Time { seconds, nanos })
}

fn http<'a>(method: &'a str, url: &'a str, matched_rule: &'a str) -> Option<Http<'a>> {
    Some(Http {
        method,
        url,
        matched_rule,
    })
}

#[test]
fn released_clients() {
    let one = |log| Request {
        logs: vec![log],
        ..Request::default()
    };
    let v1 = Log {
        allowed: true,
        time: time(0, 123_456_789),
        http: http("GET", "https://example.com/", "domain=example.com"),
        sequence: 0,
    };
    check(V1, Tag::Logs, &Message::Logs(one(v1)));
    check(V2, Tag::Logs, &Message::Logs(Request::default()));
    let v3 = Log {
        time: time(1, 0),
        http: http("POST", "https://pastebin.com/api/api_post.php", ""),
        ..Log::default()
    };
    check(V3, Tag::Envelope, &Message::Logs(one(v3)));
    let first = Log {
        allowed: true,
        time: time(2, 500_000_000),
        http: http("GET", "https://api.github.com/user", "domain=*.github.com"),
        sequence: 0,
    };
    let second = Log {
        allowed: false,
        time: time(2, 500_000_001),
        http: http("PUT", "http://10.0.0.1/x?q=ü", ""),
        sequence: 1,
    };
    let v4 = Request {
        logs: vec![first, second],
        session_id: SESSION,
        process: "",
    };
    check(V4, Tag::Envelope, &Message::Logs(v4));
    let v5 = Status {
        channel_full: 5,
        batch_full: 3,
    };
    check(V5, Tag::Envelope, &Message::Status(v5));
    let v6 = Log {
        allowed: true,
        time: time(3, 999_999_999),
        http: http(
            "DELETE",
            "https://h.example:8443/a/b",
            "domain=h.example path=/a/*",
        ),
        sequence: i32::MAX,
    };
    let v6 = Request {
        logs: vec![v6],
        session_id: SESSION,
        process: "claude-code",
    };
    check(V6, Tag::Envelope, &Message::Logs(v6));
}

#[test]
fn headers_that_end_a_connection() {
    let check = |vector, expected| assert_eq!(decode_frame(&hex(vector)), Err(expected));
    check("01008001", FrameError::TooLong(32769));
    check("03000000", FrameError::UnknownTag(3));
    check("ff008001", FrameError::UnknownTag(255));
}

fn decode(vector: &str) -> Result<Message<'static>, Fault> {
    let wire = hex(vector).leak();
    let (frame, consumed) = decode_frame(wire).unwrap().unwrap();
    assert_eq!(consumed, wire.len());
    Message::decode(frame.tag, frame.payload).map_err(|error| error.fault)
}

#[test]
fn frames_that_are_no_message() {
    assert_eq!(decode("01000005ffffffffff"), Err(Fault::Truncated));
    let latin1 = "010000110a0f08011a0b0a034745541204fffefafb";
    assert_eq!(decode(latin1), Err(Fault::Utf8));
}

#[test]
fn envelopes_with_something_else() {
    assert_eq!(decode("02000000"), Ok(Message::Unknown));
    assert_eq!(decode("020000041a020801"), Ok(Message::Unknown));
    let negative = Status {
        channel_full: -1,
        batch_full: -9,
    };
    assert_eq!(
        decode("02000018121608ffffffffffffffffff0110f7ffffffffffffffff01"),
        Ok(Message::Status(negative))
    );
    let status = Status {
        channel_full: 5,
        batch_full: 3,
    };
    let both = "020000410a390a3712060881f2d6ca061a2d0a04504f5354122568747470733a2f2f706173746562696e2e636f6d2f6170692f6170695f706f73742e706870120408051003";
    assert_eq!(
        decode(both),
        Ok(Message::Status(status)),
        "the last one stands"
    );
}

/// A payload of tag 1.
fn bare(payload: &[u8]) -> Result<Message<'static>, Fault> {
    let payload = payload.to_vec().leak();
    Message::decode(Tag::Logs, payload).map_err(|error| error.fault)
}

#[test]
fn what_go_passes_over() {
    let request = |logs| {
        Ok(Message::Logs(Request {
            logs,
            ..Request::default()
        }))
    };
    let denied = Log::default;
    // A known field of another type: session_id as a number, logs as fixed64, allowed as text.
    assert_eq!(bare(b"\x10\x05"), request(vec![]));
    assert_eq!(bare(b"\x0912345678"), request(vec![]));
    assert_eq!(bare(b"\x0a\x02\x0a\x00"), request(vec![denied()]));
    // Unknown fields of every type, groups inside groups.
    assert_eq!(
        bare(b"\x20\x01\x2d1234\x31\x31\x32345678\x3a\x01x"),
        request(vec![])
    );
    assert_eq!(
        bare(b"\x23\x2b\x08\x01\x2c\x24\x0a\x00"),
        request(vec![denied()])
    );
    // Overlong numbers; a bool of any number; int32 cut to 32 bits.
    let odd = bare(b"\x0a\x0b\x88\x80\x00\x88\x00\x20\x85\x80\x80\x80\x10");
    let log = Log {
        allowed: true,
        sequence: 5,
        ..denied()
    };
    assert_eq!(odd, request(vec![log]));
    // A record without a request in it, and one that comes in two parts.
    let parts = b"\x0a\x10\x1a\x05\x0a\x03GET\x1a\x07\x12\x01/\x1a\x02ok";
    let log = Log {
        http: http("GET", "/", "ok"),
        ..denied()
    };
    assert_eq!(bare(parts), request(vec![log]));
}

#[test]
fn what_go_refuses() {
    let check = |payload: &[u8], fault| assert_eq!(bare(payload), Err(fault), "{payload:02x?}");
    check(b"\x0a", Fault::Truncated);
    check(b"\x0a\x05\x08", Fault::Truncated);
    check(b"\x80", Fault::Truncated);
    check(b"\x21\x01", Fault::Truncated);
    check(
        b"\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
        Fault::Overflow,
    );
    check(b"\x00\x01", Fault::FieldNumber);
    check(b"\x80\x80\x80\x80\x10\x01", Fault::FieldNumber);
    check(b"\x0e\x01", Fault::WireType);
    check(b"\x0f\x01", Fault::WireType);
    check(b"\x0c", Fault::EndGroup);
    check(b"\x0b\x14", Fault::EndGroup);
    check(b"\x0b", Fault::Truncated);
    // A length that overflows every addition.
    check(
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        Fault::Truncated,
    );
    check(&[0x0b; 32768], Fault::Depth);
    let mut deepest = vec![0x0b; 10_001];
    deepest.extend([0x0c; 10_001]);
    assert!(bare(&deepest).is_ok(), "as deep as Go goes");
}
