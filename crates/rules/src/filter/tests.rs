//! Filters alone and together, and the cache of their patterns.

use super::*;

const ALL: [Severity; 3] = Severity::ALL;

fn filter(
    severities: &[Severity],
    least: Option<Severity>,
    sources: &[&str],
    message: Option<&str>,
) -> Filter {
    Filter::new(severities.to_vec(), least, sources, message)
}

#[track_caller]
fn check(filter: &Filter, severity: Severity, source: &str, message: &str, expected: bool) {
    let verdict = filter.judge(&mut PatternCache::new(), severity, source, message);
    let expected = if expected {
        Verdict::Match
    } else {
        Verdict::NoMatch
    };
    assert_eq!(
        verdict, expected,
        "{filter:?} {severity:?} {source} {message}"
    );
}

#[test]
fn each_filter_alone_and_none() {
    for severity in ALL {
        check(&Filter::default(), severity, "anything", "", true);
        // A set, not a least one.
        let set = filter(&[Severity::Info, Severity::Error], None, &[], None);
        check(&set, severity, "s", "m", severity != Severity::Warn);
        let least = filter(&[], Some(Severity::Warn), &[], None);
        check(&least, severity, "s", "m", severity != Severity::Info);
    }
    let source = filter(&[], None, &["LogScanner", "b"], None);
    for (name, expected) in [
        ("logscanner", true),
        ("B", true),
        ("logscanne", false),
        ("", false),
    ] {
        check(&source, Severity::Info, name, "m", expected);
    }
    let message = filter(&[], None, &[], Some("fail(ed|ure)"));
    // Found anywhere: it is not tied to the beginning or the end.
    for (text, expected) in [
        ("login failed!", true),
        ("failure", true),
        ("fail", false),
        ("", false),
    ] {
        check(&message, Severity::Info, "s", text, expected);
    }
    check(
        &filter(&[], None, &[], Some("^$")),
        Severity::Info,
        "s",
        "",
        true,
    );
}

#[test]
fn all_filters_must_hold() {
    let all = filter(&[Severity::Error], Some(Severity::Warn), &["a"], Some("x"));
    for (severity, source, message) in [
        (Severity::Error, "a", "x"),
        (Severity::Warn, "a", "x"),
        (Severity::Error, "b", "x"),
        (Severity::Error, "a", "y"),
    ] {
        let expected = (severity, source, message) == (Severity::Error, "a", "x");
        check(&all, severity, source, message, expected);
    }
}

#[test]
fn a_pattern_that_does_not_compile_matches_nothing_and_shows() {
    let broken = filter(&[Severity::Error], None, &[], Some("("));
    let mut patterns = PatternCache::new();
    for severity in ALL {
        let verdict = broken.judge(&mut patterns, severity, "s", "(");
        assert_eq!(
            verdict,
            Verdict::Broken("at character 1: unclosed group".into())
        );
    }
    assert_eq!(
        patterns.compiled_total(),
        1,
        "that it is broken is remembered as well"
    );
}

#[test]
fn the_cache_is_bounded_and_keeps_what_is_used() {
    let mut patterns = PatternCache::new();
    let judge = |patterns: &mut PatternCache, at: usize| {
        let filter = filter(&[], None, &[], Some(&format!("a{at}b")));
        assert_eq!(
            filter.judge(patterns, Severity::Info, "s", &format!("xa{at}bx")),
            Verdict::Match
        );
    };
    for at in 0..MAX_CACHED {
        judge(&mut patterns, at);
    }
    judge(&mut patterns, 0);
    assert_eq!(
        (patterns.len(), patterns.compiled_total()),
        (MAX_CACHED, MAX_CACHED as u64)
    );
    // 1 is the one not used for longest now.
    judge(&mut patterns, MAX_CACHED);
    judge(&mut patterns, 0);
    assert_eq!(
        (patterns.len(), patterns.compiled_total()),
        (MAX_CACHED, MAX_CACHED as u64 + 1)
    );
    judge(&mut patterns, 1);
    assert_eq!(
        (patterns.len(), patterns.compiled_total()),
        (MAX_CACHED, MAX_CACHED as u64 + 2)
    );
}
