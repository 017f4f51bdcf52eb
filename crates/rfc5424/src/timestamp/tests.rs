//! Stamps read and written, at the edges of the calendar.

use proptest::prelude::*;

use super::*;

fn seconds(text: &str) -> Option<i64> {
    parse(text.as_bytes()).map(Timestamp::secs)
}

#[test]
fn reads_the_forms_that_python_reads() {
    let expected = Some(1_781_964_187);
    for text in [
        "2026-06-20T14:03:07Z",
        "2026-06-20t14:03:07z",
        "2026-06-20 14:03:07",
        "2026-06-20T14:03:07.999999999999Z",
        "2026-06-20T14:03:07,5+00:00",
        "2026-06-20T14:03:07.000+00:00",
        "2026-06-20T14:03:07.1234567+00:00",
        "2026-06-20T10:03:07-04:00",
        "2026-06-20T19:33:07+0530",
        "2026-06-20T16:03:07+02",
        "20260620T140307Z",
        "2026-W25-6T14:03:07Z",
        "2026W256T140307",
    ] {
        assert_eq!(seconds(text), expected, "{text}");
    }
    assert_eq!(seconds("2026-06-20"), Some(1_781_913_600));
    assert_eq!(seconds("2026-06-20T14"), Some(1_781_964_000));
    assert_eq!(seconds("2026-06-20T14:03"), Some(1_781_964_180));
    assert_eq!(seconds("2026-W25"), seconds("2026-06-15"));
    assert_eq!(seconds("2020-W53-7"), seconds("2021-01-03"));
}

#[test]
fn refuses_what_is_no_moment() {
    for text in [
        "",
        "-",
        "x",
        "2026",
        "2026-06",
        "2026-13-01",
        "2026-00-01",
        "2026-06-31",
        "1900-02-29",
        "2026-06-20T24:00:00Z",
        "2026-06-20T14:60:00Z",
        "2026-06-20T23:59:60Z",
        "2026-06-20T14:03:07.1x",
        "2026-06-20T14:03:07+24:00",
        "2026-06-20T14:03:07 +00:00",
        "2026-06-20T14:03:07Zulu",
        "2026-W54-1",
        "2026-W00-1",
        "2026-W25-8",
        "1781964187",
        "20-06-2026T14:03:07Z",
        "0000-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "Jun 20 14:03:07",
    ] {
        assert_eq!(seconds(text), None, "{text}");
    }
}

#[test]
fn the_strict_form_is_stricter() {
    for text in [
        "2026-06-20T14:03:07Z",
        "2026-06-20T14:03:07.123456-04:00",
        "0000-02-29T00:00:00Z",
    ] {
        assert!(parse_strict(text.as_bytes()).is_some(), "{text}");
    }
    for text in [
        "2026-06-20T14:03:07",
        "2026-06-20t14:03:07Z",
        "2026-06-20T14:03:07.1234567Z",
        "2026-06-20T14:03:07Zx",
        "-",
    ] {
        assert!(parse_strict(text.as_bytes()).is_none(), "{text}");
    }
}

#[test]
fn fractions_are_cut_not_rounded() {
    let read = parse(b"2026-06-20T14:03:07.1234567899Z").unwrap();
    assert_eq!(read.nanos(), 123_456_789);
    assert_eq!(read.to_string(), "2026-06-20T14:03:07.123456Z");
    assert_eq!(read.unix_us(), 1_781_964_187_123_456);
    assert_eq!(read.unix_ns(), 1_781_964_187_123_456_789);
    let mut out = Vec::new();
    read.write_record(&mut out);
    assert_eq!(out, b"2026-06-20 14:03:07");
}

#[test]
fn times_before_1970_round_down() {
    let read = Timestamp::from_unix_ns(-1);
    assert_eq!((read.secs(), read.nanos()), (-1, 999_999_999));
    assert_eq!(read.to_string(), "1969-12-31T23:59:59.999999Z");
}

#[test]
fn years_that_four_digits_cannot_show_are_held() {
    assert_eq!(
        Timestamp::new(i64::MAX, 0).to_string(),
        "9999-12-31T23:59:59.000000Z"
    );
    assert_eq!(
        Timestamp::new(i64::MIN, 0).to_string(),
        "0000-01-01T00:00:00.000000Z"
    );
    assert_eq!(Timestamp::new(i64::MAX, 0).unix_ns(), i64::MAX);
}

proptest! {
    #[test]
    fn what_is_written_reads_back(secs in -62_167_219_200_i64..=253_402_300_799, micros in 0_u32..1_000_000) {
        let time = Timestamp::new(secs, micros * 1000);
        prop_assert_eq!(parse(time.to_string().as_bytes()), Some(time));
        prop_assert_eq!(parse_strict(time.to_string().as_bytes()), Some(time));
    }

    #[test]
    fn strict_forms_mean_the_same_to_both(text in "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,7})?(Z|[+-][0-2][0-9]:[0-6][0-9])") {
        if let Some(time) = parse_strict(text.as_bytes()) {
            let year = time.secs() / 31_556_952 + 1970;
            prop_assert!(parse(text.as_bytes()) == Some(time) || !(1..9998).contains(&year), "{}", text);
        }
    }

    #[test]
    fn arbitrary_octets_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..40), text in "[0-9TWZ:.,+-]{0,40}") {
        let _ = (parse(&octets), parse_strict(&octets), parse(text.as_bytes()), parse_strict(text.as_bytes()));
    }
}
