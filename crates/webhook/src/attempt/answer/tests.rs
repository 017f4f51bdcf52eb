//! What statuses and Retry-After mean.

use super::*;

#[test]
fn statuses_mean_what_the_specification_says() {
    let after = Some(Duration::from_secs(7));
    let retry = Outcome::Retry { after };
    for (statuses, outcome) in [
        (&[200, 201, 204, 299][..], Outcome::Delivered),
        (&[300, 301, 302, 303, 304, 307, 308], Outcome::Rejected),
        (&[400, 401, 403, 404, 413, 422], Outcome::Rejected),
        (&[101, 600, 999], Outcome::Rejected),
        (&[408, 425, 429, 500, 502, 503, 504, 599], retry),
        (&[410], Outcome::Gone),
    ] {
        for status in statuses {
            let found = verdict(StatusCode::from_u16(*status).unwrap(), after);
            assert_eq!(found, outcome, "{status}");
        }
    }
}

#[test]
fn retry_after_is_seconds_or_a_date_and_capped() {
    let now = 784_111_777 - 30; // Sun, 06 Nov 1994 08:49:07 GMT
    for (value, seconds) in [
        ("0", Some(0_u64)),
        ("120", Some(120)),
        (" 120 ", Some(120)),
        ("3600", Some(3600)),
        ("3601", Some(3600)),
        ("99999999999999999999999", Some(3600)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
        ("Sunday, 06-Nov-94 08:49:37 GMT", Some(30)),
        ("Sun Nov  6 08:49:37 1994", Some(30)),
        ("Sun, 06 Nov 1994 08:49:07 GMT", Some(0)),
        ("Tue, 06 Nov 1990 08:49:07 GMT", Some(0)),
        ("Fri, 06 Nov 2026 08:49:07 GMT", Some(3600)),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ("\u{fffd}", None),
    ] {
        let found = retry_after(value.as_bytes(), now);
        assert_eq!(found, seconds.map(Duration::from_secs), "{value}");
    }
    assert_eq!(retry_after(b"\xff", now), None);
}
