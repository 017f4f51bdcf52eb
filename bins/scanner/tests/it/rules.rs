//! Rules that change while lines come.

use std::fs;

use serde_json::{Value, json};

use crate::bed::{Bed, Master, NO_RATE, until};

/// Swaps; `LOGFERRY_SWAPS` for more.
fn swaps() -> u64 {
    let more = std::env::var("LOGFERRY_SWAPS")
        .ok()
        .and_then(|text| text.parse().ok());
    more.unwrap_or(20)
}

fn pair(version: u64) -> String {
    let rule = |name: &str| {
        format!(
            "[[rule]]\nname = \"{name}\"\npattern = 'line (?P<n>\\d+)'\ncooldown = \"0s\"\nlabels = {{ v = \"{version}\" }}\n"
        )
    };
    rule("first") + &rule("second")
}

#[tokio::test]
async fn no_line_sees_two_sets_and_no_swap_touches_another_rules_cooldown() {
    let bed = Bed::archive();
    bed.configure("archive", NO_RATE);
    bed.rules("a.toml", &pair(0));
    bed.rules("b.toml", "[[rule]]\nname = \"steady\"\npattern = 'line'\ncooldown = \"24h\"\ncooldown_scope = \"rule\"\n");
    let mut master = Master::open(&bed).await;
    let (_, decky) = master.epoch("w1", "decky").await;
    let program = bed.start();
    let revision = async || {
        let page = bed.page("/status").await;
        page.and_then(|(_, status)| status["rules_revision"].as_u64())
            .unwrap_or(0)
    };
    until("a start", async || revision().await >= 1).await;
    let mut n = 0;
    for version in 1..=swaps() {
        let before = revision().await;
        bed.rules("a.toml", &pair(version));
        until("a swap", async || {
            let text: String = (0..50).map(|more| format!("line {}\n", n + more)).collect();
            n += 50;
            master.write(decky, &text).await;
            revision().await > before
        })
        .await;
    }
    until("all lines", async || {
        bed.metric("logferry_scanner_lines_total").await >= n as f64
    })
    .await;
    assert!(program.stop());
    let events = bed.events();
    let steady = events.iter().filter(|event| event["rule_id"] == "steady");
    assert_eq!(steady.count(), 1);
    let of = |rule: &str| -> Vec<(&Value, &Value)> {
        let of = events.iter().filter(|event| event["rule_id"] == rule);
        of.map(|event| (&event["source_offset"], &event["labels"]["v"]))
            .collect()
    };
    let first = of("first");
    assert_eq!(first.len() as u64, n);
    assert_eq!(first, of("second"));
    let mut versions: Vec<&Value> = first.iter().map(|(_, version)| *version).collect();
    versions.dedup();
    assert!(
        versions.len() as u64 >= swaps() / 2,
        "{} sets were seen",
        versions.len()
    );
}

#[tokio::test]
async fn a_bad_file_keeps_its_last_good_rows_also_over_a_restart() {
    let bed = Bed::archive();
    bed.rule_for_hits();
    let mut master = Master::open(&bed).await;
    let (_, decky) = master.epoch("w1", "decky").await;
    master.write(decky, "hit 1\n").await;
    let program = bed.start();
    bed.has(1).await;
    let errors = async || match bed.page("/status").await {
        Some((_, status)) => status["rule_errors"].clone(),
        None => Value::Null,
    };
    bed.rules("hits.toml", "[[rule]]\nname = \"hit\"\n\npattern = '('\n");
    bed.rules(
        "more.toml",
        "[[rule]]\nname = \"more\"\npattern = 'more (?P<n>\\d+)'\ncooldown = \"0s\"\n",
    );
    until("an error", async || {
        errors()
            .await
            .as_array()
            .is_some_and(|errors| errors.len() == 1)
    })
    .await;
    let error = errors().await[0].clone();
    assert_eq!(error["line"], 4, "{error}");
    assert!(
        error["file"]
            .as_str()
            .unwrap()
            .ends_with("rules.d/hits.toml"),
        "{error}"
    );
    assert!(
        bed.stderr().contains("hits.toml:4: rule.0.pattern"),
        "{}",
        bed.stderr()
    );
    assert_eq!(bed.metric("logferry_scanner_rule_problems").await, 1.0);
    master.write(decky, "hit 2\nmore 3\n").await;
    bed.has(3).await;
    assert!(program.stop());
    let program = bed.start();
    master.write(decky, "hit 4\n").await;
    bed.has(4).await;
    // A file that is gone takes its rules along.
    fs::remove_file(bed.path("rules.d/hits.toml")).unwrap();
    until("no error", async || errors().await == json!([])).await;
    master.write(decky, "hit 5\nmore 6\n").await;
    let events = bed.has(5).await;
    let found: Vec<&Value> = events.iter().map(|event| &event["captures"]["n"]).collect();
    assert_eq!(found, ["1", "2", "3", "4", "6"]);
    assert!(program.stop());
}

#[tokio::test]
async fn overrides_and_own_rules_hold_for_their_workload() {
    let bed = Bed::archive();
    bed.configure("archive", NO_RATE);
    let rule = |name: &str, more: &str| {
        format!("[[rule]]\nname = \"{name}\"\npattern = 'x'\ncooldown = \"0s\"\n{more}\n")
    };
    let text = rule("one", "")
        + &rule("two", "")
        + &rule("own", "workload = \"w1/a\"")
        + "[[rule]]\nname = \"one\"\noverrides = \"one\"\nworkload = \"w1/a\"\nenabled = false\n"
        + &rule(
            "louder",
            "overrides = \"two\"\nworkload = \"w1/a\"\nseverity = \"error\"",
        );
    bed.rules("a.toml", &text);
    let mut master = Master::open(&bed).await;
    let (_, decky) = master.epoch("w1", "decky").await;
    let line = |host: &str| format!("<134>1 - {host} app - - - x\n");
    master
        .write(decky, &(line("a") + &line("b") + &line("c")))
        .await;
    let _program = bed.start();
    let events = bed.has(6).await;
    let of = |event: &Value| {
        let text = |key: &str| event[key].as_str().unwrap().to_owned();
        format!(
            "{} {} {}",
            text("workload_id"),
            text("rule_id"),
            text("origin")
        )
    };
    let found: Vec<String> = events.iter().map(of).collect();
    assert_eq!(
        found,
        [
            "w1/a own@w1/a workload",
            "w1/a louder@w1/a override",
            "w1/b one global",
            "w1/b two global",
            "w1/c one global",
            "w1/c two global"
        ]
    );
}
