//! Effective sets against their formula, and what is wrong between files.

use super::*;
use crate::{NoParts, Stream, parse_rules};

fn file(text: &str) -> Vec<Arc<Rule>> {
    parse_rules(text).unwrap()
}

/// One rule in one line: name, workload, what it overrides, whether it is on.
fn rule(name: &str, workload: &str, overrides: &str, enabled: bool) -> String {
    let mut text = format!("[[rule]]\nname = '{name}'\npattern = 'x'\nenabled = {enabled}\n");
    for (key, value) in [("workload", workload), ("overrides", overrides)] {
        if !value.is_empty() {
            text += &format!("{key} = '{value}'\n");
        }
    }
    text
}

#[track_caller]
fn effective(set: &RuleSet, workload: &str, expected: &[(&str, &str)]) {
    let found: Vec<_> = set
        .effective(workload)
        .map(|(rule, origin)| (rule.name.as_str(), origin.name()))
        .collect();
    assert_eq!(found, expected, "{workload}");
}

#[test]
fn effective_sets_are_globals_minus_overridden_ones_plus_overrides_and_own() {
    let text = [
        rule("g1", "", "", true),
        rule("g2", "", "", true),
        rule("own", "w/a", "", true),
        rule("g-off", "", "", false),
        rule("o1", "w/a", "g1", true),
        rule("o2", "w/a", "g2", false),
        rule("o-off", "w/a", "g-off", true),
        rule("own-off", "w/a", "", false),
        rule("g1", "w/b", "g1", true),
    ];
    let built = RuleSet::build([&*file(&text.concat())]);
    assert_eq!(built.problems, []);
    let set = built.set;
    effective(
        &set,
        "w/a",
        &[
            ("own", "workload"),
            ("o1", "override"),
            ("o-off", "override"),
        ],
    );
    effective(&set, "w/b", &[("g2", "global"), ("g1", "override")]);
    // Nobody's and unknown workloads have the enabled globals.
    effective(&set, "w/c", &[("g1", "global"), ("g2", "global")]);
    effective(&set, "", &[("g1", "global"), ("g2", "global")]);
    effective(&RuleSet::default(), "w/a", &[]);
}

#[test]
fn effective_sets_agree_with_the_formula() {
    // Every combination: the global on or off; no override, one on, one off; an own rule on or off.
    for global in [true, false] {
        for over in [None, Some(true), Some(false)] {
            for own in [true, false] {
                let text = rule("g", "", "", global)
                    + &over.map(|on| rule("o", "w/a", "g", on)).unwrap_or_default()
                    + &rule("r", "w/a", "", own);
                let set = RuleSet::build([&*file(&text)]).set;
                let mut expected = Vec::new();
                match over {
                    None if global => expected.push(("g", "global")),
                    Some(true) => expected.push(("o", "override")),
                    _ => {}
                }
                if own {
                    expected.push(("r", "workload"));
                }
                effective(&set, "w/a", &expected);
                effective(&set, "w/b", if global { &[("g", "global")] } else { &[] });
            }
        }
    }
}

#[track_caller]
fn refused(files: &[&str], expected: &[(usize, &str)]) -> RuleSet {
    let files: Vec<_> = files.iter().map(|text| file(text)).collect();
    let built = RuleSet::build(files.iter().map(Vec::as_slice));
    let found: Vec<_> = built
        .problems
        .iter()
        .map(|(file, problem)| (*file, problem.to_string()))
        .collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|(file, what)| (*file, (*what).to_owned()))
        .collect();
    assert_eq!(found, expected);
    built.set
}

#[test]
fn the_later_of_two_files_is_wrong() {
    let set = refused(
        &[
            &rule("a", "", "", true),
            &(rule("b", "", "", true) + &rule("a", "", "", false)),
        ],
        &[(1, "line 5: rule.1.name: there is a global `a` already")],
    );
    effective(&set, "w/x", &[("a", "global"), ("b", "global")]);
    refused(
        &[&rule("a", "w/x", "", true), &rule("a", "w/x", "", true)],
        &[(1, "line 1: rule.0.name: `w/x` has a rule `a` already")],
    );
    // Each scope has its own names.
    refused(
        &[
            &rule("a", "", "", true),
            &rule("a", "w/x", "", true),
            &rule("a", "w/y", "", true),
        ],
        &[],
    );
}

#[test]
fn an_override_needs_its_global_in_any_file_and_is_one_a_workload() {
    refused(
        &[&rule("o", "w/x", "g", true), &rule("g", "", "", true)],
        &[],
    );
    let set = refused(
        &[&(rule("o", "w/x", "g", true) + &rule("a", "", "", true))],
        &[(0, "line 1: rule.0.overrides: there is no global `g`")],
    );
    effective(&set, "w/x", &[("a", "global")]);
    refused(
        &[
            &rule("g", "", "", true),
            &rule("o", "w/x", "g", true),
            &rule("p", "w/x", "g", true),
        ],
        &[(2, "line 1: rule.0.overrides: `w/x` overrides `g` already")],
    );
    // A rule of a workload is no global.
    refused(
        &[&(rule("g", "w/y", "", true) + &rule("o", "w/x", "g", true))],
        &[(0, "line 6: rule.1.overrides: there is no global `g`")],
    );
}

#[test]
fn explains_without_counting_anything() {
    let set = RuleSet::build([&*file(
        "[[rule]]\nname = 'a'\npattern = 'u=(?P<u>.)'\nstop = true\n[[rule]]\nname = 'b'\npattern = 'y'\nstream = 'stderr'\n\
         [[rule]]\nname = 'c'\npattern = '1$'",
    )])
    .set;
    let line = Line {
        workload: "w/a",
        container: "w/a",
        stream: Stream::Stdout,
        text: b"y u=1",
        parts: &NoParts,
    };
    let explained = set.explain(&line, 1000);
    let found: Vec<_> = explained
        .iter()
        .map(|(rule, origin, found)| {
            (
                rule.name.as_str(),
                *origin,
                found.as_ref().map(|found| found.span.clone()),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("a", Origin::Global, Some(2..5)),
            ("b", Origin::Global, None),
            ("c", Origin::Global, Some(4..5))
        ]
    );
}

#[test]
fn a_set_looks_at_so_many_fields() {
    let rule = |at: usize| format!("[[rule]]\nname = 'r{at}'\npattern = 'x'\non = 'field:f{at}'\n");
    let text: String = (0..66).chain([70]).map(rule).collect();
    let text = text + "[[rule]]\nname = 'again'\npattern = 'x'\non = 'field:f3'\n";
    let set = refused(
        &[&text],
        &[
            (0, "line 257: rule.64.on: more than 64 different fields"),
            (0, "line 261: rule.65.on: more than 64 different fields"),
            (0, "line 265: rule.66.on: more than 64 different fields"),
        ],
    );
    assert_eq!(set.rules().len(), 65);
}
