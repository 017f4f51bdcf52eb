//! What is found missing, doubled or out of order among records that were heard.

use std::io::Cursor;
use std::time::Instant;

use serde_json::{Value, json};

use super::Hearing;
use crate::audit::client::Connection;
use crate::audit::frame::Session;
use crate::verdict::Verdict;

/// Two connections with the records 0 to 10 and 10 to 20, one record a frame.
fn written() -> Vec<Connection> {
    let connection = |first: u32| Connection {
        frames: (first..first + 10).map(|n| (n, Instant::now())).collect(),
        end: first + 10,
    };
    vec![connection(0), connection(10)]
}

/// What is found, and how many records of connections' ends are missing.
fn hear(numbers: impl IntoIterator<Item = u32>, gaps: &[Value]) -> (Verdict, u32) {
    let session = Session::new(1);
    let (mut log, mut json) = (String::new(), String::new());
    for n in numbers {
        let (begin, said) = session.line(n);
        let line = format!("{begin}host{said}1\" uid=\"0\" gid=\"0\" conn=\"1\"]");
        json += &format!("{}\n", json!({ "raw_line": line }));
        log += &format!("{line}\n");
    }
    let mut hearing = Hearing::new([session]);
    let files = hearing.files(Cursor::new(log), Cursor::new(json));
    files.unwrap();
    let (verdict, losses) = hearing.finish(&[written()], gaps);
    (verdict, losses.iter().map(|loss| loss.records).sum())
}

fn gap(from: u32, to: u32) -> Value {
    json!({"epoch": Session::new(1).id, "from": from, "to": to})
}

#[test]
fn everything_once_is_clean() {
    let (verdict, missing) = hear(0..20, &[]);
    assert!(verdict.is_clean(), "{verdict:?}");
    assert_eq!(missing, 0);
}

#[test]
fn an_end_of_a_connection_may_be_missing_if_it_is_told() {
    let (verdict, missing) = hear((0..7).chain(10..20), &[gap(7, 10)]);
    assert!(verdict.is_clean(), "{verdict:?}");
    assert_eq!(missing, 3);
    let (verdict, _) = hear((0..7).chain(10..20), &[]);
    assert_eq!(verdict.lost, 3);
    let (verdict, _) = hear((0..7).chain(10..20), &[gap(7, 9)]);
    assert_eq!((verdict.lost, verdict.foreign), (3, 1));
}

#[test]
fn nothing_may_be_missing_before_what_stands_of_a_connection() {
    let (verdict, _) = hear((0..4).chain(6..20), &[gap(4, 6)]);
    assert_eq!(verdict.lost, 2);
}

#[test]
fn repeats_and_late_ones_are_found() {
    let (verdict, _) = hear((0..20).chain([3]), &[]);
    assert_eq!(verdict.repeated, 1);
    let (verdict, _) = hear((0..3).chain(4..20).chain([3]), &[gap(3, 4)]);
    assert_eq!(verdict.reordered, 1);
}

#[test]
fn what_nobody_wrote_is_found() {
    let (verdict, _) = hear(0..22, &[]);
    assert_eq!(verdict.foreign, 2);
}
