//! Every key of a rule, and what is said of a wrong one.

use super::*;

#[track_caller]
fn refused(rule: &str, expected: &[&str]) {
    let problems = parse_rules(&format!("[[rule]]\n{rule}")).unwrap_err();
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(shown, expected, "{rule}");
}

fn one(rule: &str) -> Arc<Rule> {
    let mut rules =
        parse_rules(&format!("[[rule]]\n{rule}")).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!(rules.len(), 1);
    rules.remove(0)
}

#[test]
fn defaults_and_every_key() {
    let rule = one("name = 'a'\npattern = 'x'");
    assert_eq!(
        (rule.severity, rule.cooldown, rule.stream),
        (Severity::Warn, Duration::from_secs(60), None)
    );
    assert_eq!(
        (&rule.on, &rule.cooldown_scope),
        (&Subject::Line, &CooldownScope::Container)
    );
    assert!(rule.enabled && !rule.stop && rule.labels.is_empty() && rule.workload.is_none());
    let rule = one(
        "name = 'a'\npattern = 'x(?P<g>y)'\nseverity = 'error'\ncooldown = '1h 30m'\ncooldown_scope = 'capture:g'\nstream = 'stderr'\n\
         on = 'field:user'\nenabled = false\nworkload = 'w/a'\noverrides = 'b'\nstop = true\nlabels = { b = '2', a = '1' }",
    );
    assert_eq!(
        (rule.severity, rule.cooldown),
        (Severity::Error, Duration::from_secs(5400))
    );
    assert_eq!(
        (rule.stream, &rule.on),
        (Some(Stream::Stderr), &Subject::Field("user".into()))
    );
    assert_eq!(rule.cooldown_scope, CooldownScope::Capture("g".into()));
    assert_eq!(
        (rule.id(), rule.overrides.as_deref()),
        ("a@w/a".to_owned(), Some("b"))
    );
    assert_eq!(
        rule.labels,
        [("a".into(), "1".into()), ("b".into(), "2".into())]
    );
    assert!(!rule.enabled && rule.stop);
    for (cooldown, seconds) in [("0", 0), ("'0'", 0), ("'24h'", 86_400), ("'1d'", 86_400)] {
        assert_eq!(
            one(&format!("name = 'a'\npattern = 'x'\ncooldown = {cooldown}"))
                .cooldown
                .as_secs(),
            seconds
        );
    }
}

#[test]
fn an_override_that_switches_off_needs_neither_name_nor_pattern() {
    let rule = one("overrides = 'g'\nworkload = 'w/a'\nenabled = false");
    assert_eq!((rule.name.as_str(), &rule.pattern), ("g", &None));
    refused(
        "overrides = 'g'\nworkload = 'w/a'",
        &["line 1: rule.0.pattern: missing"],
    );
}

#[test]
fn every_problem_is_told_with_its_line_and_key() {
    refused(
        "name = ''\npattern = 'a*'\nseverity = 'fatal'\ncooldown = '25h'\nstream = 'both'\non = 'field:'\nenabled = 'yes'\n\
         workload = 'gate'\noverrides = 'g'\nstop = 1\nlabels = { a = 1 }\nseverty = 'warn'",
        &[
            "line 2: rule.0.name: 0 octets, not 1 to 120",
            "line 3: rule.0.pattern: matches without a single character, so it would hit every line",
            "line 8: rule.0.enabled: string, not true or false",
            "line 9: rule.0.workload: `gate` is not WORKER/CONTAINER",
            "line 13: rule.0.severty: unknown key, did you mean `severity`?",
        ],
    );
    refused(
        "name = 'a'\npattern = 'x'\nseverity = 'fatal'\ncooldown = '25h'\nstream = 'both'\non = 'field:'\nstop = 1\nlabels = { a = 1 }\n\
         cooldown_scope = 'capture:g'",
        &[
            "line 4: rule.0.severity: `fatal` is none of info, warn, error",
            "line 5: rule.0.cooldown: 1day 1h, more than 1day",
            "line 6: rule.0.stream: `both` is none of any, stdout, stderr",
            "line 7: rule.0.on: `field:` is none of line, msg, field:NAME",
            "line 8: rule.0.stop: integer, not true or false",
            "line 9: rule.0.labels: a: integer, not a text",
            "line 10: rule.0.cooldown_scope: the pattern has no group `g`",
        ],
    );
    refused(
        "pattern = 5",
        &[
            "line 1: rule.0.name: missing",
            "line 2: rule.0.pattern: integer, not a text",
        ],
    );
    refused(
        "name = 'a'\npattern = 'x'\ncooldown = 60\ncooldown_scope = 'host'\noverrides = 'g'",
        &[
            "line 4: rule.0.cooldown: not a duration: write a number and a unit, like \"60s\" or \"1h\"",
            "line 5: rule.0.cooldown_scope: `host` is none of container, workload, rule, capture:GROUP",
            "line 6: rule.0.overrides: needs a workload: an override is for one",
        ],
    );
}

#[test]
fn names_and_patterns_have_lengths() {
    let rule =
        |name: &str, pattern: &str| format!("[[rule]]\nname = '{name}'\npattern = '{pattern}'");
    for (name, pattern, right) in [
        (1, 1, true),
        (120, 1024, true),
        (121, 1, false),
        (1, 1025, false),
        (0, 1, false),
        (1, 0, false),
    ] {
        let found = parse_rules(&rule(&"n".repeat(name), &"p".repeat(pattern))).is_ok();
        assert_eq!(found, right, "{name} {pattern}");
    }
    for name in ["a@b", " a", "a "] {
        assert!(parse_rules(&rule(name, "x")).is_err(), "{name}");
    }
    refused(
        "name = \"a\\nb\"\npattern = 'x'",
        &["line 2: rule.0.name: '\\n' is not allowed in a name"],
    );
}

#[test]
fn files_have_limits_and_syntax() {
    let problem = |text: &str| parse_rules(text).unwrap_err().remove(0).to_string();
    assert_eq!(
        problem("a ="),
        "line 1: string values must be quoted, expected literal string"
    );
    assert_eq!(
        problem("rule = 1"),
        "line 1: rule: not a list of tables: write [[rule]]"
    );
    assert_eq!(
        problem("rule = [1]"),
        "line 1: rule.0: not a table: write [[rule]]"
    );
    assert_eq!(
        problem("[[rules]]"),
        "line 1: rules: unknown key, did you mean `rule`?"
    );
    assert_eq!(
        problem("[[trigger]]"),
        "line 1: trigger: unknown key, known are rule"
    );
    let long = format!("#{}", " ".repeat(crate::MAX_FILE));
    assert_eq!(problem(&long), "1048577 octets, longer than 1048576");
    let many = "[[rule]]\nname='a'\npattern='x'\n".repeat(crate::MAX_ROWS + 1);
    assert_eq!(problem(&many), "line 1: rule: 5001 tables, more than 5000");
    assert_eq!(parse_rules("# nothing").unwrap(), []);
}
