//! What a frame becomes in the merged files.

use archive::{EpochId, Form, StreamKey};

use super::*;

fn merge(messages: &[&[u8]]) -> (Vec<u8>, Vec<serde_json::Value>, Written) {
    let mut frames = Vec::new();
    for message in messages {
        framing::encode(message, &mut frames);
    }
    let epoch = EpochId::parse(&"ab".repeat(16)).unwrap();
    let source = Source {
        key: StreamKey::plain("web").unwrap(),
        epoch,
        form: Form::Frames,
    };
    let (mut log, mut json) = (Vec::new(), Vec::new());
    let mut files = Files {
        log: Some(&mut log),
        json: Some(&mut json),
    };
    let written = write(&frames, 100, &source, Timestamp::new(0, 0), &mut files);
    assert_eq!(written.taken, frames.len());
    let records = json
        .split_inclusive(|&b| b == b'\n')
        .map(|line| serde_json::from_slice(line).unwrap());
    (log, records.collect(), written)
}

#[test]
fn a_frame_is_a_line_and_a_record_with_its_place() {
    let line: &[u8] =
        b"<134>1 2026-06-20T14:03:07Z cache-01 redis - command [relay@55555 src=\"192.0.2.9\"]";
    let (log, records, written) = merge(&[b"not syslog", line]);
    assert_eq!(log, [b"not syslog\n", line, b"\n"].concat());
    assert_eq!(records.len(), 1);
    assert_eq!((written.lines, written.records, written.invalid), (2, 1, 1));
    assert_eq!(records[0]["source_worker"], "web");
    assert_eq!(records[0]["source_stream"], "syslog");
    assert_eq!(records[0]["source_epoch"], "ab".repeat(16));
    assert_eq!(records[0]["source_offset"], 100 + "10 not syslog".len());
    assert_eq!(records[0]["attacker_ip"], "192.0.2.9");
}

#[test]
fn no_frame_reaches_into_another_line() {
    let forged: &[u8] = b"<13>1 - a b - - - x\n<134>1 - forged x - - -\n\n";
    let (log, records, _) = merge(&[forged, b"\n", b"<13>1 - a b - - - y\n"]);
    assert_eq!(
        log,
        b"<13>1 - a b - - - x#012<134>1 - forged x - - -#012#012\n#012\n<13>1 - a b - - - y#012\n"
    );
    assert_eq!(records.len(), 1, "only the one whose LF is at its end");
    assert_eq!(records[0]["raw_line"], "<13>1 - a b - - - y");
}

#[test]
fn keeps_octets_that_are_no_text() {
    let (log, _, _) = merge(&[b"\xff\0\r\x1b"]);
    assert_eq!(log, b"\xff\0\r\x1b\n");
}
