//! The pre-filter against the patterns themselves.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{NoParts, Pattern, RuleSet, Stream, parse_rules};

fn set(patterns: &[String]) -> RuleSet {
    let rows = patterns.iter().enumerate();
    let text: String = rows
        .map(|(at, pattern)| format!("[[rule]]\nname = 'r{at}'\npattern = '''{pattern}'''\n"))
        .collect();
    RuleSet::build([&*parse_rules(&text).unwrap()]).set
}

fn candidates(set: &RuleSet, text: &[u8], limit: usize) -> Vec<u32> {
    let line = Line {
        workload: "w/c",
        container: "w/c",
        stream: Stream::Stdout,
        text,
        parts: &NoParts,
    };
    let mut scratch = Scratch::default();
    let subjects = set.matcher.subjects(&line);
    set.matcher.candidates(&subjects, limit, &mut scratch);
    scratch.candidates
}

/// Patterns of all the constructs that tell texts from no texts, over few letters, so that lines often match.
fn pattern() -> impl Strategy<Value = String> {
    let atom = prop::sample::select(vec![
        "a",
        "b",
        "ab",
        "bca",
        "abcabc",
        "[ab]",
        "[^a]",
        r"\w",
        ".",
        r"\.",
        "é",
        "[é]",
        "(?i:aBc)",
        r"\b",
        "^",
        "$",
        r"\Qa.b\E",
        "(?:a|bc)",
        "[[:digit:]]",
        "k",
        "(?i:ks)",
    ]);
    atom.prop_map(str::to_owned)
        .prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                (inner.clone(), inner.clone()).prop_map(|(left, right)| left + &right),
                (inner.clone(), inner.clone())
                    .prop_map(|(left, right)| format!("({left}|{right})")),
                (
                    inner.clone(),
                    prop::sample::select(vec!["*", "+", "?", "{2}", "{2,}", "{0,3}", "*?"])
                )
                    .prop_map(|(inner, times)| format!("(?:{inner}){times}")),
                inner.prop_map(|inner| format!("(?P<g>{inner})")),
            ]
        })
}

/// One that surely needs a character, so that few are refused for matching without any.
fn rule() -> impl Strategy<Value = String> {
    (pattern(), prop::sample::select(vec!["a", "c", ".", "[ab]"]))
        .prop_map(|(pattern, last)| pattern + last)
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        &b"a"[..],
        b"b",
        b"c",
        b"B",
        b"A",
        b"7",
        b".",
        b"\xe9",
        b"\xff",
        "é".as_bytes(),
        b" ",
        "\u{212a}".as_bytes(),
        b"\n",
        "ſ".as_bytes(),
        b"k",
    ]);
    vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn never_misses_what_a_pattern_finds(
        patterns in vec(rule(), 1..20),
        lines in vec(line(), 10..20),
        limit in prop::sample::select(vec![7, 40, 1000]),
    ) {
        let patterns: Vec<String> = patterns.into_iter().filter(|text| Pattern::new(text).is_ok()).collect();
        let set = set(&patterns);
        for line in lines {
            let candidates = candidates(&set, &line, limit);
            for (at, rule) in set.rules().iter().enumerate() {
                let pattern = rule.pattern.as_ref().unwrap();
                let hit = pattern.is_match(&line, limit);
                prop_assert_eq!(hit, pattern.find(&line, limit).is_some());
                prop_assert!(!hit || candidates.contains(&(at as u32)), "{} misses {}", pattern.text(), line.escape_ascii());
            }
        }
    }
}

#[test]
fn tells_few_candidates() {
    let patterns = [
        "Failed password for root",
        "Failed password for admin",
        r"\d{16}",
        "wget http",
    ];
    let set = set(&patterns.map(str::to_owned));
    assert_eq!(
        candidates(&set, b"Failed password for admin from", 1000),
        [1]
    );
    assert_eq!(
        candidates(&set, b"card 4111111111111111 and wGet hTTp", 1000),
        [2, 3]
    );
    assert_eq!(candidates(&set, b"nothing at all", 1000), [0; 0]);
}
