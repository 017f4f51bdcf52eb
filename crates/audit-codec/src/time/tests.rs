//! Times that exist, and times that do not.

use super::{Time, write_nano};

fn check(seconds: i64, nanos: i32, expected: Option<&str>) {
    let text = Time { seconds, nanos }.instant().map(|instant| {
        let mut out = Vec::new();
        write_nano(instant, &mut out);
        String::from_utf8(out).unwrap()
    });
    assert_eq!(text.as_deref(), expected, "{seconds} s {nanos} ns");
}

#[test]
fn writes_what_go_writes() {
    check(0, 0, Some("1970-01-01T00:00:00Z"));
    check(
        1_767_225_600,
        123_456_789,
        Some("2026-01-01T00:00:00.123456789Z"),
    );
    check(1_767_225_602, 500_000_000, Some("2026-01-01T00:00:02.5Z"));
    check(0, 1, Some("1970-01-01T00:00:00.000000001Z"));
    check(-1, 10, Some("1969-12-31T23:59:59.00000001Z"));
    check(253_402_300_799, 0, Some("9999-12-31T23:59:59Z"));
    check(-62_135_596_800, 0, Some("0001-01-01T00:00:00Z"));
}

#[test]
fn carries_and_refuses() {
    check(0, 1_500_000_000, Some("1970-01-01T00:00:01.5Z"));
    check(0, -1, Some("1969-12-31T23:59:59.999999999Z"));
    check(253_402_300_799, 1_000_000_000, None);
    check(253_402_300_800, -1, Some("9999-12-31T23:59:59.999999999Z"));
    check(i64::MAX, i32::MAX, None);
    check(i64::MIN, i32::MIN, None);
    check(i64::MAX, 0, None);
}
