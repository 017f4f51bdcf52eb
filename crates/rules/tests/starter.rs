//! The rules that are shipped: all off, and each finds what it is for and leaves alone what only looks like it.

mod starter {
    pub(crate) mod cases;
}

use std::{collections::BTreeSet, sync::Arc};

use rules::{Line, NoParts, RuleSet, Stream, parse_rules};
use starter::cases::CASES;

fn files() -> Vec<(String, String)> {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../deploy/etc/logferry/rules.d"
    );
    let entries = std::fs::read_dir(folder).expect("the rules");
    let mut files: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let text = std::fs::read_to_string(&path).expect("a file");
            (path.display().to_string(), text)
        })
        .collect();
    files.sort();
    files
}

/// The shipped rules, switched on or as they are.
fn set(on: bool) -> RuleSet {
    let parsed: Vec<Vec<Arc<rules::Rule>>> = files()
        .iter()
        .map(|(name, text)| {
            let text = match on {
                true => text.replace("enabled  = false", "enabled  = true"),
                false => text.clone(),
            };
            parse_rules(&text).unwrap_or_else(|problems| panic!("{name}: {problems:?}"))
        })
        .collect();
    let built = RuleSet::build(parsed.iter().map(Vec::as_slice));
    assert_eq!(built.problems, []);
    built.set
}

#[test]
fn shipped_rules_are_off() {
    let set = set(false);
    assert!(set.rules().len() >= 30);
    assert_eq!(set.effective("w1/gate").count(), 0);
}

#[test]
fn each_rule_finds_what_it_is_for_and_nothing_else() {
    let set = set(true);
    let names: BTreeSet<&str> = set.rules().iter().map(|rule| rule.name.as_str()).collect();
    let tested: BTreeSet<&str> = CASES.iter().map(|(name, ..)| *name).collect();
    assert_eq!(names, tested);
    let mut wrong: Vec<String> = Vec::new();
    for (name, hits, misses) in CASES {
        assert!(!hits.is_empty() && !misses.is_empty(), "{name}");
        for (texts, expected) in [(hits, true), (misses, false)] {
            for text in *texts {
                if matches(&set, text).contains(*name) != expected {
                    wrong.push(format!("{name}: {text}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn lines_of_everyday_hit_nothing() {
    let set = set(true);
    for text in [
        r#"<134>1 2026-06-20T14:05:11.000482+00:00 omega-decky sessrec - session_recorded [relay@55555 sid="0d4bb7a2" service="ssh" src_ip="203.0.113.44" duration_s="118.402"]"#,
        r#"<134>1 2026-06-20T14:03:07+00:00 relay-decky ftp - connection [relay@55555 src_ip="2001:db8::7" src_port="50122"]"#,
        "<134>1 2026-06-20T14:00:00+00:00 mail-decky smtp - startup - SMTP server starting as mail-decky",
        r#"10.0.0.5 - - [20/Jun/2026:14:00:00 +0000] "GET /index.html HTTP/1.1" 200 512 "-" "Mozilla/5.0 (X11; Linux x86_64)""#,
        " * Serving Flask app \"server\"",
        "Server listening on 0.0.0.0 port 22.",
        "",
    ] {
        assert_eq!(matches(&set, text), BTreeSet::new(), "{text}");
    }
}

fn matches(set: &RuleSet, text: &str) -> BTreeSet<String> {
    let line = Line {
        workload: "w1/gate",
        container: "w1/gate",
        stream: Stream::Stdout,
        text: text.as_bytes(),
        parts: &NoParts,
    };
    let all = set.explain(&line, usize::MAX).into_iter();
    all.filter_map(|(rule, _, found)| found.map(|_| rule.name.clone()))
        .collect()
}
