//! The table of docs/bus.md: what DECNET's own matching answers.

use super::{is_segment, matches};

#[test]
fn matches_as_decnet_does() {
    for (pattern, topic, expected) in [
        ("a", "a", true),
        ("a", "A", false),
        ("a", "a.b", false),
        ("a.b", "a", false),
        ("a.*", "a.b", true),
        ("a.*", "a.b.c", false),
        ("a.*", "a", false),
        ("a.*", "a.", false),
        ("a.*.c", "a.b.c", true),
        ("a.*.b", "a..b", false),
        ("a..b", "a..b", true),
        ("*", "a", true),
        ("*", "a.b", false),
        ("*", "", false),
        ("*.*", "a.b", true),
        ("a.>", "a", false),
        ("a.>", "a.b", true),
        ("a.>", "a.b.c", true),
        ("a.>", "a.", true),
        (">", "a", true),
        (">", "", true),
        ("a.>.c", "a.b.c", true),
        ("", "", true),
        ("", ">", false),
    ] {
        assert_eq!(matches(pattern, topic), expected, "{pattern:?} {topic:?}");
    }
}

#[test]
fn a_word_has_no_sign_of_a_pattern() {
    for good in [
        "a",
        "audit-proxy",
        "w_1",
        "é".escape_default().to_string().as_str(),
    ] {
        assert!(is_segment(good), "{good:?}");
    }
    for bad in ["", "a.b", "*", "a>", "a b", "a\n", "é"] {
        assert!(!is_segment(bad), "{bad:?}");
    }
}
