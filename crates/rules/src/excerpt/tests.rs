//! Where a text is cut.

use super::*;

#[test]
fn a_cut_divides_no_character() {
    for (octets, most, expected) in [
        ("abc".as_bytes(), 3, "abc"),
        (b"abcd", 3, "abc"),
        ("aé".as_bytes(), 2, "a"),
        ("a€".as_bytes(), 3, "a"),
        ("a😀b".as_bytes(), 4, "a"),
        ("a😀b".as_bytes(), 5, "a😀"),
        ("😀".as_bytes(), 2, ""),
        // No character is that long: cut anywhere.
        (
            b"\x80\x80\x80\x80\x80\x80",
            5,
            "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}",
        ),
        (b"\xffab", 2, "\u{fffd}a"),
        (b"", 0, ""),
    ] {
        let (text, truncated) = excerpt(octets, most);
        assert_eq!(
            (text.as_str(), truncated),
            (expected, octets.len() > most),
            "{}",
            octets.escape_ascii()
        );
    }
}

#[test]
fn a_message_is_2048_octets_and_a_mark() {
    assert_eq!(message(b"short"), ("short".to_owned(), false));
    assert_eq!(message(&[b'a'; 2048]), ("a".repeat(2048), false));
    let line = "a".repeat(2046) + "😀";
    assert_eq!(message(line.as_bytes()), ("a".repeat(2046) + "…", true));
}
