//! Go's dialect, octets that are not UTF-8, and the limits.

use super::*;

/// Whether `pattern` matches each of the texts.
#[track_caller]
fn check(pattern: &str, hits: &[&[u8]], misses: &[&[u8]]) {
    let compiled = Pattern::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
    for (texts, expected) in [(hits, true), (misses, false)] {
        for text in texts {
            let shown = text.escape_ascii();
            assert_eq!(
                compiled.is_match(text, usize::MAX),
                expected,
                "{pattern} on {shown}"
            );
            assert_eq!(
                compiled.find(text, usize::MAX).is_some(),
                expected,
                "{pattern} on {shown}"
            );
        }
    }
}

#[track_caller]
fn refused(pattern: &str, expected: &str) {
    assert_eq!(
        Pattern::new(pattern).unwrap_err().to_string(),
        expected,
        "{pattern}"
    );
}

#[test]
fn perl_classes_and_word_boundaries_are_ascii() {
    check(r"^\d$", &[b"7"], &["٣".as_bytes(), b"x"]);
    check(r"^\w$", &[b"_", b"Z"], &["é".as_bytes(), b"-"]);
    check(
        r"^\s$",
        &[b" ", b"\t", b"\x0c", b"\r", b"\n"],
        &[b"\x0b", "\u{a0}".as_bytes()],
    );
    check(r"^\D$", &["٣".as_bytes()], &[b"3"]);
    check(r"^[\d.]+$", &[b"1.2"], &["1٣".as_bytes()]);
    check(r"^[^\W]$", &[b"a"], &["é".as_bytes()]);
    // é is no word character, so a word begins after it.
    check(
        r"\bcafe\b",
        &["écafe".as_bytes(), "cafeé".as_bytes()],
        &[b"xcafe"],
    );
    check(r"x\By", &[b"xy"], &[b"x y"]);
    // The cases of a letter are Unicode's for Go too.
    check("(?i)^k$", &[b"K", "\u{212a}".as_bytes()], &[b"x"]);
}

#[test]
fn quotes_braces_octal_and_brackets_are_as_in_go() {
    check(
        r"^\Qa.b[c\E+$",
        &[b"a.b[c", b"a.b[ccc"],
        &[b"axb[c", b"a.b[ca.b[c"],
    );
    check(r"\Qopen.", &[b"open."], &[b"openx"]);
    check(r"a\Q\E\Q\n\E", &[b"a\\n"], &[b"a\n"]);
    check(
        r#"{"user": "\w+"}"#,
        &[br#"{"user": "root"}"#],
        &[br#""user": "root""#],
    );
    check(r"^a{,2}$", &[b"a{,2}"], &[b"aa"]);
    check(r"^a{2}$", &[b"aa"], &[b"a{2}"]);
    check(r"^\x{41}{2}\101\07$", &[b"AAA\x07"], &[b"A"]);
    check(r"^[^[]+$", &[b"abc]"], &[b"a[b"]);
    check(r"^[[a]$", &[b"[", b"a"], &[b"]"]);
    check(r"^[]a]+$", &[b"]a"], &[b"["]);
    check(r"^[^]a]$", &[b"b"], &[b"]", b"a"]);
    check(r"^[a&&b]+$", &[b"a&b"], &[b"c"]);
    check(r"^[+--]+$", &[b"+,-"], &[b"."]);
    check(r"^[a~~b]+$", &[b"a~b"], &[b"c"]);
    check(r"^[a-c-]+$", &[b"b-"], &[b"d"]);
    check(r"^[a\]-]+$", &[b"a]-"], &[b"b"]);
    check(r"^[[:alpha:][:digit:]]+$", &[b"a1"], &[b"-", b":"]);
    check(r"^\pL+\p{Greek}$", &["éα".as_bytes()], &["é1".as_bytes()]);
    check(r"(?P<a>x)(?<b>y)", &[b"xy"], &[b"x"]);
    check(r"(?sU)^a.+b", &[b"a\nb"], &[b"ab"]);
    check(r"^a$", &[b"a"], &[b"a\n"]);
}

#[test]
fn octets_that_are_not_utf8_count_as_characters() {
    check(
        r"Failed password for .* from \S+",
        &[b"Failed password for r\xfft from 1.2.3.4"],
        &[],
    );
    check(
        r"^a.b$",
        &[b"axb", b"a\xffb", "aéb".as_bytes(), b"a\x80b"],
        &[b"ab", b"a\nb"],
    );
    check(r"^[^a]+$", &[b"\xc3\x28", b"b"], &[b"a", b"\xffa"]);
    check(
        r"^name=[^\x{e9}]$",
        &[b"name=\xff", b"name=e"],
        &["name=é".as_bytes()],
    );
    check(r"^\S\W$", &[b"\xfe\xff"], &[b"\xfea"]);
    check(r"^[a-z]$", &[b"a"], &[b"\xff"]);
    check(r"é.$", &["xéx".as_bytes(), b"\xc3\xa9\xff"], &[b"\xe9x"]);
}

#[test]
fn names_what_is_wrong_and_where() {
    refused("", "empty");
    refused(&"a".repeat(1025), "1025 octets, longer than 1024");
    refused("é(", "at character 2: unclosed group");
    refused(r"\Qa(b\E(", "at character 8: unclosed group");
    refused("a[b", "at character 2: unclosed character class");
    refused(r"(a)\1", "at character 4: backreferences are not supported");
    refused(
        "(?=a)",
        "at character 1: look-around, including look-ahead and look-behind, is not supported",
    );
    refused(
        "(?x) a",
        "at character 3: unknown flag, known are i, m, s, U",
    );
    refused(
        "a{1001}",
        "at character 2: repetition of 1001, more than 1000",
    );
    refused(
        "a(b{2,1001})",
        "at character 4: repetition of 1001, more than 1000",
    );
    for empty in ["^", "a*", r"\b", "(?:)", "^$", "a?|b", "()"] {
        refused(
            empty,
            "matches without a single character, so it would hit every line",
        );
    }
    refused(r"[^\x00-\x{10ffff}]", "can never match");
    refused(
        r"(?:\pL{500}){3}",
        "more than 1048576 octets when compiled: use smaller repetitions or classes",
    );
    let nested = format!("{}a{}", "(".repeat(51), ")".repeat(51));
    assert!(
        Pattern::new(&nested)
            .unwrap_err()
            .to_string()
            .contains("nested")
    );
    let nested = format!("{}a{}", "(".repeat(50), ")".repeat(50));
    assert!(Pattern::new(&nested).is_ok());
    assert!(Pattern::new(&"a".repeat(1024)).is_ok());
    for large in ["a{1000}", ".{1,1000}x", "[^a]{1000}", r"\S{0,1000}x"] {
        assert!(Pattern::new(large).is_ok(), "{large}");
    }
}

#[test]
fn shows_twenty_captures_of_256_octets() {
    let pattern = Pattern::new(&format!("(?P<first>x+)(y)?{}", "(z)".repeat(30))).unwrap();
    let text = [vec![b'x'; 300], vec![b'z'; 30]].concat();
    let found = pattern.find(&text, usize::MAX).unwrap();
    assert_eq!(found.span, 0..330);
    // The second group took no part.
    assert_eq!(found.captures.len(), MAX_CAPTURES - 1);
    assert_eq!(&*found.captures[0].name, "first");
    assert_eq!(found.captures[0].text, "x".repeat(256));
    assert!(found.captures[0].truncated && !found.captures[1].truncated);
    assert_eq!(&*found.captures[1].name, "3");
}

#[test]
fn looks_no_further_than_the_limit_but_knows_where_the_line_ends() {
    let pattern = Pattern::new("b$").unwrap();
    assert!(pattern.is_match(b"ab", 2) && !pattern.is_match(b"abb", 2));
    assert!(!pattern.is_match(b"aab", 2));
    let pattern = Pattern::new(r"b\b").unwrap();
    assert!(!pattern.is_match(b"abc", 2) && pattern.is_match(b"ab c", 2));
}

#[test]
fn long_gaps_count_octets_and_short_ones_characters() {
    check(
        "^.{2,32}$",
        &["éé".as_bytes(), "é".repeat(32).as_bytes()],
        &[b"x"],
    );
    check(
        "^.{2,33}$",
        &["é".repeat(16).as_bytes()],
        &["é".repeat(17).as_bytes()],
    );
    check(
        "^[^a]{33,}$",
        &["é".repeat(17).as_bytes()],
        &["é".repeat(16).as_bytes()],
    );
}

#[test]
fn a_large_pattern_sees_less_of_a_line() {
    let small = Pattern::new("aa+z").unwrap();
    let large = Pattern::new(r"a(?:a|b).{0,900}c\w{0,100}z").unwrap();
    let reach = reach(large.size());
    assert!(small.size() < 64 << 10 && large.size() > 64 << 10 && reach < 64 << 10);
    for (pattern, needle) in [(&small, "aaz"), (&large, "aacz")] {
        for at in [0, reach - 4, 60_000] {
            let line = [&vec![b'-'; at][..], needle.as_bytes()].concat();
            let seen = at <= reach - 4 || pattern == &small;
            assert_eq!(
                pattern.is_match(&line, 64 << 10),
                seen,
                "{} at {at}",
                pattern.text()
            );
        }
    }
    assert_eq!(super::reach(usize::MAX), MIN_REACH);
}
