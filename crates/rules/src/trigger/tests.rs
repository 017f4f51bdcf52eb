//! Every key of a trigger, and what is said of a wrong one.

use super::*;
use crate::{PatternCache, Verdict};

fn one(keys: &str) -> Trigger {
    let text = format!("[[trigger]]\nname = 'a'\nurl = 'https://x.example/token'\n{keys}");
    parse_triggers(&text)
        .unwrap_or_else(|problems| panic!("{problems:?}"))
        .remove(0)
}

#[track_caller]
fn refused(keys: &str, expected: &[&str]) {
    let problems = parse_triggers(&format!("[[trigger]]\n{keys}")).unwrap_err();
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(shown, expected, "{keys}");
}

#[test]
fn defaults_and_every_key() {
    let trigger = one("");
    assert_eq!(
        (trigger.format, trigger.rate, trigger.enabled),
        (Format::Standard, 60, true)
    );
    assert_eq!(
        (trigger.group_wait, trigger.mute_until),
        (Duration::ZERO, None)
    );
    assert_eq!(
        (trigger.secret_files.len(), trigger.filter),
        (0, Filter::default())
    );
    let trigger = one(
        "secret_file = ['/a', '/b']\nformat = 'alertmanager'\nenabled = false\ngroup_wait = '30s'\nrate = 6000\n\
         mute_until = 2026-12-01T00:00:00Z\nseverity = ['error']\nmin_severity = 'warn'\nsource = ['logscanner']\nmessage = '^x'",
    );
    assert_eq!(trigger.secret_files, ["/a", "/b"]);
    assert_eq!(
        (trigger.format, trigger.rate, trigger.enabled),
        (Format::Alertmanager, 6000, false)
    );
    assert_eq!(
        (trigger.group_wait, trigger.mute_until),
        (Duration::from_secs(30), Some(1_796_083_200))
    );
    assert_eq!(one("secret_file = '/a'").secret_files, ["/a"]);
    assert_eq!(
        one("mute_until = '2026-12-01T01:00:00+01:00'").mute_until,
        Some(1_796_083_200)
    );
}

#[test]
fn every_problem_is_told_with_its_line_and_key() {
    refused(
        "name = 'a.b'\nurl = 5\nseverity = ['fatal', 'warn']\nsource = [1]\nmessage = '('\nformat = 'slack'\nrate = 0\nmute_until = 'soon'\n\
         group_wait = '2h'\nmin_severity = 'all'\nsecret = 'x'",
        &[
            "line 2: trigger.0.name: `a.b` is not 1 to 120 letters, digits, `-` or `_`",
            "line 3: trigger.0.url: integer, not a text",
            "line 4: trigger.0.severity: `fatal` is none of info, warn, error",
            "line 5: trigger.0.source: holds integer, not a text",
            "line 6: trigger.0.message: at character 1: unclosed group",
            "line 7: trigger.0.format: `slack` is none of standard, alertmanager",
            "line 8: trigger.0.rate: not a number from 1 to 6000",
            "line 9: trigger.0.mute_until: `soon` is not a time: write \"2026-12-31T23:59:59Z\"",
            "line 10: trigger.0.group_wait: 2h, more than 1h",
            "line 11: trigger.0.min_severity: `all` is none of info, warn, error",
            "line 12: trigger.0.secret: unknown key, known are name, url, secret_file, severity, min_severity, source, message, \
             format, enabled, mute_until, group_wait, rate",
        ],
    );
    refused(
        "enabled = true",
        &[
            "line 1: trigger.0.name: missing",
            "line 1: trigger.0.url: missing",
        ],
    );
}

#[test]
fn neither_debug_nor_problems_show_the_url() {
    let trigger = one("secret_file = '/hidden'");
    let shown = format!(
        "{trigger:?} {} {}",
        trigger.url_problem("no host"),
        trigger.secret_problem("missing")
    );
    assert!(
        !shown.contains("token") && !shown.contains("hidden"),
        "{shown}"
    );
    assert!(
        shown.ends_with("line 3: trigger.0.url: no host line 4: trigger.0.secret_file: missing"),
        "{shown}"
    );
}

#[test]
fn a_name_is_one_triggers_among_all_files() {
    let file =
        |name: &str| parse_triggers(&format!("[[trigger]]\nname = '{name}'\nurl = 'x'")).unwrap();
    let files = [file("a"), file("b"), file("a")];
    let problems = check_triggers(files.iter().map(Vec::as_slice));
    assert_eq!(problems.len(), 1);
    assert_eq!(
        (problems[0].0, problems[0].1.to_string()),
        (
            2,
            "line 1: trigger.0.name: there is a trigger `a` already".into()
        )
    );
}

#[test]
fn lists_may_be_texts_with_commas_blanks_and_any_case() {
    let trigger = one("severity = ' WARN, error,'\nsource = [' LogScanner ', 'a,b']");
    let mut patterns = PatternCache::new();
    let mut judge = |severity, source| trigger.filter.judge(&mut patterns, severity, source, "");
    assert_eq!(judge(Severity::Warn, "logscanner"), Verdict::Match);
    assert_eq!(judge(Severity::Error, "B"), Verdict::Match);
    assert_eq!(judge(Severity::Info, "b"), Verdict::NoMatch);
    assert_eq!(judge(Severity::Warn, "c"), Verdict::NoMatch);
}
