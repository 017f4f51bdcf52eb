//! What the bytes of a `.log` epoch become in the merged files.

use archive::{EpochId, Form, StreamKey};
use serde_json::Value;

use super::*;

fn source(worker: &str) -> Source {
    Source {
        key: StreamKey::new(worker, "decky").unwrap(),
        epoch: EpochId::parse(&"cd".repeat(16)).unwrap(),
        form: Form::Log,
    }
}

/// Renders text that comes in chunks of these lengths, the last chunk being the end of the epoch if `ended`.
fn merge(bytes: &[u8], chunks: &[usize], long: usize, ended: bool) -> (Vec<u8>, Vec<u8>, usize) {
    let (mut log, mut json) = (Vec::new(), Vec::new());
    let (mut taken, mut line, mut held) = (0, None, 0);
    let mut chunks = chunks.iter().cycle();
    loop {
        held += (*chunks.next().unwrap()).min(bytes.len() - held);
        let text = Text {
            bytes: &bytes[taken..held],
            from: 100 + taken as u64,
            line,
            ended: ended && held == bytes.len(),
            long,
        };
        let mut files = Files {
            log: Some(&mut log),
            json: Some(&mut json),
        };
        let written = text.write(&source("web"), Timestamp::new(0, 0), &mut files);
        (taken, line) = (taken + written.taken, written.line);
        if held == bytes.len() {
            return (log, json, taken);
        }
    }
}

fn records(json: &[u8]) -> Vec<Value> {
    json.split_inclusive(|&b| b == b'\n')
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

const LINE: &str =
    "<134>1 2026-06-20T14:03:07Z cache-01 redis - command [relay@55555 src=\"192.0.2.9\"]";

#[test]
fn lines_stay_as_they_are_and_those_that_parse_have_a_record_with_their_place() {
    let bytes = format!("not syslog\n\n{LINE}\n{LINE} \u{1}\0\r\n");
    let bytes = [bytes.as_bytes(), b"\xff\xfe\n"].concat();
    let (log, json, taken) = merge(&bytes, &[usize::MAX], LONG, false);
    assert_eq!(log, bytes);
    assert_eq!(taken, bytes.len());
    let records = records(&json);
    assert_eq!(records.len(), 2);
    assert_eq!(records[0]["source_worker"], "web");
    assert_eq!(records[0]["source_stream"], "decky");
    assert_eq!(records[0]["source_epoch"], "cd".repeat(16));
    assert_eq!(records[0]["source_offset"], 112);
    assert_eq!(records[1]["source_offset"], 112 + LINE.len() + 1);
    assert_eq!(records[0]["attacker_ip"], "192.0.2.9");
}

#[test]
fn octets_that_are_no_text_are_replaced_in_the_record_alone() {
    let bytes = [LINE.as_bytes(), b" \xff\n"].concat();
    let (log, json, _) = merge(&bytes, &[usize::MAX], LONG, false);
    assert_eq!(log, bytes);
    let record = &records(&json)[0];
    assert_eq!(record["lossy"], true);
    assert_eq!(record["raw_line"], format!("{LINE} \u{fffd}"));
}

#[test]
fn an_incomplete_line_waits_and_is_ended_when_nothing_more_will_come() {
    let bytes = format!("a\n{LINE}");
    let (log, json, taken) = merge(bytes.as_bytes(), &[usize::MAX], LONG, false);
    assert_eq!((&log[..], taken, json.len()), (&b"a\n"[..], 2, 0));
    let (log, json, taken) = merge(bytes.as_bytes(), &[usize::MAX], LONG, true);
    assert_eq!(log, format!("{bytes}\n").as_bytes());
    assert_eq!(taken, bytes.len());
    assert_eq!(records(&json).len(), 1);
    // A line that is complete gets no second LF.
    let (log, ..) = merge(b"a\n", &[usize::MAX], LONG, true);
    assert_eq!(log, b"a\n");
}

#[test]
fn a_line_over_the_limit_is_cut_into_marked_parts_that_stand_together() {
    let parts = |log: &[u8]| {
        let text = String::from_utf8(log.to_vec()).unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let head = |mark: &str| {
        let epoch = "cd".repeat(16);
        format!(
            "<134>1 - web decky - raw [logferry@32473 source_stream=\"decky\" source_epoch=\"{epoch}\" line=\"102\" \
             {mark}] "
        )
    };
    let (log, ..) = merge(b"x\n0123456789abcdefghijklm\ny\n", &[usize::MAX], 10, false);
    let middle = format!("{}abcdefghij", head("part=\"2\""));
    let last = format!("{}klm", head("part=\"3\" last=\"1\""));
    assert_eq!(parts(&log), ["x", "0123456789", &middle, &last, "y"]);
    for line in [&middle, &last] {
        rfc5424::parse(line.as_bytes()).unwrap();
    }
    // A line of exactly the limit is whole, also at the end of everything.
    let (log, ..) = merge(b"0123456789\n0123456789", &[3], 10, true);
    assert_eq!(parts(&log), ["0123456789", "0123456789"]);
    // One that ends where it is cut has its end in the part behind.
    let (log, ..) = merge(b"x\n0123456789a", &[1], 10, true);
    let last = format!("{}a", head("part=\"2\" last=\"1\""));
    assert_eq!(parts(&log), ["x", "0123456789", &last]);
}

#[test]
fn no_part_of_a_cut_line_has_a_record() {
    let (log, json, _) = merge(format!("{LINE}\n").as_bytes(), &[7], 50, false);
    assert_eq!(log.iter().filter(|&&b| b == b'\n').count(), 2);
    assert_eq!(json, b"");
}

mod chunks {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            3 => vec(any::<u8>(), 0..40),
            2 => Just(b"\n".to_vec()),
            1 => Just(format!("\n{LINE}\n").into_bytes()),
            1 => vec(Just(b'x'), 0..200),
        ];
        vec(piece, 0..20).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_lines(
            bytes in bytes(),
            chunks in vec(1..60usize, 1..10),
            long in prop_oneof![Just(7usize), Just(64), Just(100_000)],
            ended in any::<bool>(),
        ) {
            let whole = merge(&bytes, &[usize::MAX], long, ended);
            let (log, json, taken) = merge(&bytes, &chunks, long, ended);
            prop_assert_eq!(&log, &whole.0);
            prop_assert_eq!(json, whole.1);
            prop_assert_eq!(taken, whole.2);
            prop_assert!(log.is_empty() || log.ends_with(b"\n"));
            if ended {
                prop_assert_eq!(taken, bytes.len());
            }
            if long > bytes.len() {
                // Uncut, the file is the text, but for the LF at the end.
                let mut expected = bytes[..taken].to_vec();
                if expected.last().is_some_and(|&b| b != b'\n') {
                    expected.push(b'\n');
                }
                prop_assert_eq!(log, expected);
            }
        }
    }
}
