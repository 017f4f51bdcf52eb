//! Which texts patterns can't match without.

use super::*;
use crate::Pattern;

#[track_caller]
fn check(pattern: &str, expected: &[&[&str]]) {
    let sets = required(Pattern::new(pattern).unwrap().hir());
    let shown: Vec<Vec<String>> = sets
        .iter()
        .map(|set| {
            set.iter()
                .map(|text| String::from_utf8_lossy(text).into_owned())
                .collect()
        })
        .collect();
    assert_eq!(shown, expected, "{pattern}");
}

#[test]
fn finds_what_each_match_has() {
    check("Failed password", &[&["failed password"]]);
    check("(?i)GET /x", &[&["get /x"]]);
    check(r"user=(\S+) from", &[&["user="], &[" from"]]);
    check("a(b|c)d", &[&["abd", "acd"]]);
    check("(wget|curl) -", &[&["curl -", "wget -"]]);
    check("(wget .*x|curl .*y)z", &[&["curl ", "wget "]]);
    check("colou?r", &[&["color", "colour"]]);
    check("(ab){2,}", &[&["abab"]]);
    check("x(?P<n>yz+)", &[&["xy"]]);
    check("(?:^|;)rm -rf", &[&[";rm -rf", "rm -rf"]]);
    check("[aA]b", &[&["ab"]]);
}

#[test]
fn finds_nothing_where_there_is_nothing() {
    for pattern in [
        r"\d{16}",
        "a",
        "[a-z]+",
        "(ab)?c",
        "x|yy",
        "(foo)*[0-9]",
        ".",
    ] {
        check(pattern, &[]);
    }
}

#[test]
fn both_cases_that_are_not_ascii_are_each_a_text() {
    check(
        "(?i)straße!",
        &[&[
            "stra\u{df}e!",
            "stra\u{1e9e}e!",
            "ſtra\u{df}e!",
            "ſtra\u{1e9e}e!",
        ]],
    );
}
