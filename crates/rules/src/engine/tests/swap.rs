//! Other rules between two lines.

use super::*;

fn rule(name: &str, pattern: &str, more: &str) -> String {
    format!("[[rule]]\nname = '{name}'\npattern = '{pattern}'\n{more}\n")
}

#[test]
fn a_swap_keeps_cooldowns_buckets_and_counts_of_what_did_not_change() {
    let mut bench = Bench::new(&rule("a", "x", ""));
    bench.line("w/a", "x");
    bench.line("w/a", "x");
    // Its severity, its labels, its place and its file's other rules are no part of what it keys.
    let next = rule("b", "y", "")
        + &rule(
            "a",
            "x",
            "severity = 'error'\nlabels = { a = 'b' }\nstop = true",
        );
    bench.engine.swap(set(&next), &mut bench.out);
    assert_eq!(bench.line("w/a", "x"), []);
    assert_eq!(bench.after(60 * SECOND).line("w/a", "x"), [hit("a", 2, 0)]);
    let counts: Vec<u64> = bench
        .engine
        .rule_stats()
        .map(|(_, stats)| stats.matched)
        .collect();
    assert_eq!(counts, [0, 4]);
    bench.books_balance();
}

#[test]
fn a_rule_that_changed_starts_anew_and_tells_what_it_held_back() {
    for (pattern, more) in [
        ("x|z", ""),
        ("x", "stream = 'stdout'"),
        ("x", "cooldown = '61s'"),
        ("x", "cooldown_scope = 'workload'"),
    ] {
        let mut bench = Bench::new(&rule("a", "x", ""));
        bench.line("w/a", "x");
        bench.line("w/a", "x");
        bench
            .engine
            .swap(set(&rule("a", pattern, more)), &mut bench.out);
        assert_eq!(
            told(&bench.out),
            [("a".into(), "w/a".into(), 1, 0)],
            "{pattern} {more}"
        );
        assert_eq!(bench.line("w/a", "x"), [hit("a", 0, 0)], "{pattern} {more}");
        bench.books_balance();
    }
}

#[test]
fn a_rule_that_is_gone_tells_what_it_held_back() {
    let mut bench = Bench::new(&rule("a", "x", ""));
    bench.line("w/a", "x");
    bench.line("w/a", "x");
    bench.engine.swap(set(&rule("b", "x", "")), &mut bench.out);
    assert_eq!(told(&bench.out), [("a".into(), "w/a".into(), 1, 0)]);
    assert_eq!(bench.engine.poll_timeout(), None);
    bench.books_balance();
}

#[test]
fn a_thousand_swaps_mix_no_sets_and_reset_no_cooldown() {
    // The rules of a generation hit the same line; a mix would show hits of two generations, or of a part of one.
    let sets: Vec<_> = (0..10)
        .map(|generation| {
            let own: String = (0..5)
                .map(|at| {
                    rule(
                        &format!("g{generation}-{at}"),
                        &format!("x{{1,{}}}", generation + 1),
                        "cooldown = 0",
                    )
                })
                .collect();
            set(&(rule("steady", "x", "") + &own))
        })
        .collect();
    let limits = Limits {
        burst: u32::MAX,
        refill: Duration::ZERO,
        ..Limits::default()
    };
    let mut bench = Bench::with(&rule("steady", "x", ""), limits);
    assert_eq!(bench.line("w/a", "x"), [hit("steady", 0, 0)]);
    for turn in 0..1000 {
        let generation = turn * 7 % 10;
        bench
            .engine
            .swap(Arc::clone(&sets[generation]), &mut bench.out);
        for _ in 0..3 {
            let expected: Vec<_> = (0..5)
                .map(|at| hit(&format!("g{generation}-{at}"), 0, 0))
                .collect();
            assert_eq!(bench.after(SECOND / 100).line("w/a", "axb"), expected);
        }
        bench.out.clear();
    }
    // 30 seconds of 60: three thousand lines held back, and not one let through by a swap.
    let stats = bench.engine.rule_stats().next().unwrap().1;
    assert_eq!((stats.emitted, stats.dropped_cooldown), (1, 3000));
    assert_eq!(
        bench.after(30 * SECOND).line("w/a", "x")[0],
        hit("steady", 3000, 0)
    );
}

#[test]
fn workloads_are_judged_by_their_own_sets() {
    let global = rule("a", "x", "cooldown = 0");
    let own = rule("b", "y", "workload = 'w/a'\ncooldown = 0");
    let off = "[[rule]]\noverrides = 'a'\nworkload = 'w/a'\nenabled = false\n";
    let mut bench = Bench::new(&(global.clone() + &own + off));
    assert_eq!(bench.line("w/a", "xy"), [hit("b@w/a", 0, 0)]);
    assert_eq!(bench.line("w/b", "xy"), [hit("a", 0, 0)]);
    bench.engine.swap(set(&global), &mut bench.out);
    assert_eq!(bench.line("w/a", "xy"), [hit("a", 0, 0)]);
}
