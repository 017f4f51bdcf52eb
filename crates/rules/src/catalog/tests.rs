//! What stays in use when a file goes bad.

use super::*;

fn rule(name: &str, pattern: &str) -> String {
    format!("[[rule]]\nname = '{name}'\npattern = '{pattern}'\n")
}

/// Updates, and gives what is in use (name and pattern) and what is wrong.
fn update(catalog: &mut Catalog, files: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
    let update = catalog.update(files.iter().map(|(name, text)| (*name, Ok(*text))));
    shown(update)
}

fn shown(update: Update) -> (Vec<String>, Vec<String>) {
    let rules = update.set.rules().iter();
    let pattern = |rule: &Rule| {
        rule.pattern
            .as_ref()
            .map_or("", |pattern| pattern.text())
            .to_owned()
    };
    let problems = update.problems.iter();
    (
        rules
            .map(|rule| format!("{} {}", rule.id(), pattern(rule)))
            .collect(),
        problems
            .map(|(file, problem)| format!("{file}: {problem}"))
            .collect(),
    )
}

#[test]
fn a_bad_file_keeps_its_last_good_rows_and_the_others_change() {
    let mut catalog = Catalog::new();
    let (rules, problems) = update(
        &mut catalog,
        &[("b.toml", &rule("b", "1")), ("a.toml", &rule("a", "1"))],
    );
    assert_eq!(
        (rules, problems),
        (vec!["a 1".to_owned(), "b 1".to_owned()], vec![])
    );
    let bad = rule("a", "(") + "colour = 1\n";
    let (rules, problems) = update(
        &mut catalog,
        &[("a.toml", &bad), ("b.toml", &rule("b", "2"))],
    );
    assert_eq!(rules, ["a 1", "b 2"]);
    let expected = [
        "a.toml: line 3: rule.0.pattern: at character 1: unclosed group",
        "a.toml: line 4: rule.0.colour: unknown key, known are name, pattern, severity, cooldown, cooldown_scope, stream, on, \
         enabled, workload, overrides, stop, labels",
    ];
    assert_eq!(problems, expected);
    // It stays like that however often one looks, until it is mended or gone.
    let (rules, problems) = update(
        &mut catalog,
        &[("a.toml", &bad), ("b.toml", &rule("b", "3"))],
    );
    assert_eq!(
        (rules, problems.len()),
        (vec!["a 1".to_owned(), "b 3".to_owned()], 2)
    );
    let (rules, problems) = update(&mut catalog, &[("a.toml", &rule("a", "4"))]);
    assert_eq!((rules, problems), (vec!["a 4".to_owned()], vec![]));
    let (rules, problems) = update(&mut catalog, &[]);
    assert_eq!((rules, problems), (vec![], vec![]));
}

#[test]
fn a_file_that_was_never_good_has_no_rows() {
    let mut catalog = Catalog::new();
    let both = rule("a", "1") + &rule("b", "");
    let (rules, problems) = update(
        &mut catalog,
        &[("a.toml", &both), ("b.toml", &rule("c", "1"))],
    );
    assert_eq!(rules, ["c 1"]);
    assert_eq!(problems, ["a.toml: line 6: rule.1.pattern: empty"]);
    let unreadable = catalog.update([
        ("a.toml", Err("permission denied".to_owned())),
        ("b.toml", Ok("[[rule]]")),
    ]);
    let (rules, problems) = shown(unreadable);
    assert_eq!(rules, ["c 1"]);
    assert_eq!(problems[0], "a.toml: permission denied");
}

#[test]
fn a_conflict_sends_the_later_file_back() {
    let mut catalog = Catalog::new();
    update(
        &mut catalog,
        &[("a.toml", &rule("a", "1")), ("b.toml", &rule("b", "1"))],
    );
    // The whole file goes back, the row that would do as well.
    let conflict = rule("a", "2") + &rule("b", "2");
    let (rules, problems) = update(
        &mut catalog,
        &[("a.toml", &rule("a", "3")), ("b.toml", &conflict)],
    );
    assert_eq!(rules, ["a 3", "b 1"]);
    assert_eq!(
        problems,
        ["b.toml: line 1: rule.0.name: there is a global `a` already"]
    );
}

#[test]
fn an_override_whose_global_is_gone_is_an_error_of_its_file() {
    let mut catalog = Catalog::new();
    let over = rule("own", "1")
        + "workload = 'w/a'\n"
        + &rule("o", "1")
        + "workload = 'w/a'\noverrides = 'g'\n";
    let (rules, problems) = update(
        &mut catalog,
        &[("g.toml", &rule("g", "1")), ("o.toml", &over)],
    );
    assert_eq!((rules.len(), problems.len()), (3, 0));
    let (rules, problems) = update(&mut catalog, &[("g.toml", ""), ("o.toml", &over)]);
    // All at once: there is no set with the override and without the global.
    assert_eq!(rules, ["own@w/a 1"]);
    assert_eq!(
        problems,
        ["o.toml: line 5: rule.1.overrides: there is no global `g`"]
    );
    let (rules, problems) = update(
        &mut catalog,
        &[("g.toml", &rule("g", "2")), ("o.toml", &over)],
    );
    assert_eq!((rules.len(), problems.len()), (3, 0));
}

#[test]
fn what_was_last_good_outlives_a_restart() {
    let mut catalog = Catalog::new();
    update(
        &mut catalog,
        &[("a.toml", &rule("a", "1")), ("b.toml", &rule("b", "1"))],
    );
    let kept: Vec<_> = catalog
        .last_good()
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .collect();
    let mut catalog = Catalog::new();
    catalog.update(
        kept.iter()
            .map(|(name, text)| (name.as_str(), Ok(text.as_str()))),
    );
    let (rules, problems) = update(
        &mut catalog,
        &[("a.toml", "[[rul]]"), ("b.toml", &rule("b", "2"))],
    );
    assert_eq!(rules, ["a 1", "b 2"]);
    assert_eq!(
        problems,
        ["a.toml: line 1: rul: unknown key, did you mean `rule`?"]
    );
}

#[test]
fn nothing_is_compiled_anew_for_a_file_that_stays() {
    let mut catalog = Catalog::new();
    let text = rule("a", "1");
    let before = catalog.update([("a.toml", Ok(text.as_str()))]).set;
    let after = catalog
        .update([("a.toml", Ok(text.as_str())), ("b.toml", Ok(""))])
        .set;
    assert!(Arc::ptr_eq(&before.rules()[0], &after.rules()[0]));
}
