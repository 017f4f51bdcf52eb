//! Stamps of Docker, Podman, and neither.

use super::*;

fn check(text: &str, expected: Option<i64>) {
    assert_eq!(parse_stamp(text.as_bytes()), expected, "{text}");
}

#[test]
fn reads_what_docker_and_podman_write() {
    check("1970-01-01T00:00:00Z", Some(0));
    check(
        "2026-11-21T05:24:25.123456789Z",
        Some(1_795_238_665_123_456_789),
    );
    check("2026-11-21T05:24:25.1Z", Some(1_795_238_665_100_000_000));
    check("2026-11-21T07:24:25+02:00", Some(1_795_238_665_000_000_000));
    check("2026-11-20T23:54:25-05:30", Some(1_795_238_665_000_000_000));
    check(
        "2024-02-29T23:59:60.999999999999Z",
        Some(1_709_251_200_999_999_999),
    );
    check("1969-12-31T23:59:59.5Z", Some(-500_000_000));
    check("2000-03-01T00:00:00Z", Some(951_868_800_000_000_000));
}

#[test]
fn refuses_the_rest() {
    for text in [
        "",
        "2026-11-21",
        "2026-11-21T05:24:25",
        "2026-11-21T05:24:25.Z",
        "2026-11-21T05:24:25.1",
        "2026-02-29T05:24:25Z",
        "2026-13-01T05:24:25Z",
        "2026-11-21T24:00:00Z",
        "2026-11-21T05:24:25Zx",
        "2026-11-21T05:24:25+2:00",
        "2026-11-21T05-24-25Z",
        "9999-11-21T05:24:25Z",
        "a026-11-21T05:24:25Z",
    ] {
        check(text, None);
    }
}

#[test]
fn the_remembered_day_changes_nothing() {
    let mut stamps = Stamps::default();
    for text in [
        "2026-11-21T00:00:00Z",
        "2026-11-22T00:00:00Z",
        "x026-11-22T00:00:00Z",
        "2026-11-21T00:00:01Z",
    ] {
        assert_eq!(stamps.parse(text.as_bytes()), parse_stamp(text.as_bytes()));
    }
}
