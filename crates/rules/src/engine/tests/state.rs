//! What is stored, and what comes of it after a restart.

use std::collections::BTreeMap;

use super::*;
use crate::Changes;

type Stored = BTreeMap<Vec<u8>, Vec<u8>>;

fn store(stored: &mut Stored, changes: Changes) {
    if changes.all {
        stored.clear();
    }
    for row in changes.rows {
        match row.value {
            Some(value) => drop(stored.insert(row.key, value)),
            None => drop(stored.remove(&row.key)),
        }
    }
}

/// A new process: another monotonic clock, `later` by the wall's.
fn restart(bench: &mut Bench, rules: &str, stored: &Stored, wall_ms: u64) {
    bench.engine = Engine::new(set(rules), Limits::default());
    bench.now += Duration::from_secs(100_000);
    let rows = stored.iter().map(|(key, value)| (&key[..], &value[..]));
    bench
        .engine
        .restore(bench.now, wall_ms, rows, &mut bench.out);
}

#[test]
fn a_restart_neither_fires_within_a_cooldown_nor_forgets_what_was_held_back() {
    let (mut bench, mut stored) = (Bench::new(ONE), Stored::new());
    bench.line("w/a", "x");
    bench.line("w/a", "x");
    store(&mut stored, bench.engine.changes(bench.now, 1_000_000));
    restart(&mut bench, ONE, &stored, 1_020_000);
    assert_eq!(bench.line("w/a", "x"), []);
    assert_eq!(bench.after(39 * SECOND).line("w/a", "x"), []);
    assert_eq!(bench.after(SECOND).line("w/a", "x"), [hit("a", 3, 0)]);
}

#[test]
fn a_cooldown_that_ended_while_nothing_ran_is_told_after_the_start() {
    let (mut bench, mut stored) = (Bench::new(ONE), Stored::new());
    bench.line("w/a", "x");
    bench.line("w/a", "x");
    store(&mut stored, bench.engine.changes(bench.now, 1_000_000));
    restart(&mut bench, ONE, &stored, 9_000_000);
    assert_eq!(bench.summaries(), [("a".into(), "w/a".into(), 1, 0)]);
    store(&mut stored, bench.engine.changes(bench.now, 9_000_000));
    assert_eq!(stored.keys().filter(|key| key[0] != b'b').count(), 0);
    assert_eq!(bench.line("w/a", "x"), [hit("a", 0, 0)]);
}

#[test]
fn a_wall_clock_that_was_put_back_makes_no_cooldown_longer() {
    let (mut bench, mut stored) = (Bench::new(ONE), Stored::new());
    bench.line("w/a", "x");
    store(&mut stored, bench.engine.changes(bench.now, 1_000_000_000));
    restart(&mut bench, ONE, &stored, 1_000);
    assert_eq!(bench.after(60 * SECOND).line("w/a", "x"), [hit("a", 0, 0)]);
}

#[test]
fn buckets_go_on() {
    let rules = format!("{ONE}\ncooldown = 0");
    let (mut bench, mut stored) = (Bench::new(&rules), Stored::new());
    for _ in 0..25 {
        bench.line("w/a", "x");
    }
    store(&mut stored, bench.engine.changes(bench.now, 1_000_000));
    restart(&mut bench, &rules, &stored, 1_003_000);
    assert_eq!(bench.line("w/a", "x"), [hit("a", 0, 5)]);
    assert_eq!(bench.line("w/a", "x"), []);
}

#[test]
fn rules_that_changed_or_are_gone_meanwhile_tell_what_they_held_back() {
    let (mut bench, mut stored) = (Bench::new(ONE), Stored::new());
    bench.line("w/a", "x");
    bench.line("w/a", "x");
    store(&mut stored, bench.engine.changes(bench.now, 1_000_000));
    for rules in [ONE.replace("x+", "x"), ONE.replace("'a'", "'b'")] {
        bench.out.clear();
        restart(&mut bench, &rules, &stored, 1_001_000);
        assert_eq!(told(&bench.out), [("a".into(), "w/a".into(), 1, 0)]);
        assert_eq!(bench.line("w/a", "x").len(), 1);
    }
}

#[test]
fn changes_are_what_changed_and_together_everything() {
    let (mut bench, mut stored) = (Bench::new(ONE), Stored::new());
    let first = bench.engine.changes(bench.now, 0);
    assert!(first.all && first.rows.is_empty());
    let mut seed = 1_u64;
    for turn in 0..2_000_u64 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        bench.line(&format!("w/{}", seed >> 60), "x");
        bench.after(Duration::from_millis(seed >> 52)).summaries();
        if turn % 7 == 0 {
            let changes = bench.engine.changes(bench.now, turn * 1000);
            assert!(
                !changes.all && changes.rows.len() <= 64,
                "{}",
                changes.rows.len()
            );
            store(&mut stored, changes);
        }
    }
    store(&mut stored, bench.engine.changes(bench.now, 0));
    assert_eq!(bench.engine.changes(bench.now, 0), Changes::default());
    let sizes = bench.engine.sizes();
    assert_eq!(stored.len(), sizes.0 + sizes.1);
    bench.after(500 * SECOND).summaries();
    bench.books_balance();
}

#[test]
fn more_changes_than_are_remembered_are_told_as_everything() {
    for (max_keys, max_containers) in [(10, 1000), (1000, 10)] {
        let limits = Limits {
            max_keys,
            max_containers,
            ..Limits::default()
        };
        let (mut bench, mut stored) = (Bench::with(ONE, limits), Stored::new());
        for turn in 0..10 {
            store(&mut stored, bench.engine.changes(bench.now, 0));
            let lines = if turn % 2 == 0 { 3 } else { 100 };
            for at in 0..lines {
                bench.line(&format!("w/{turn}-{at}"), "x");
            }
        }
        let last = bench.engine.changes(bench.now, 0);
        assert!(last.all);
        store(&mut stored, last);
        let sizes = bench.engine.sizes();
        assert_eq!(stored.len(), sizes.0 + sizes.1);
    }
}

#[test]
fn rows_that_are_damaged_are_passed_over() {
    let (mut bench, mut stored) = (Bench::new(ONE), Stored::new());
    for _ in 0..25 {
        bench.line("w/a", "x");
    }
    store(&mut stored, bench.engine.changes(bench.now, 1_000_000));
    let rows: Vec<(Vec<u8>, Vec<u8>)> = stored.clone().into_iter().collect();
    for (key, value) in rows {
        for cut in 0..value.len() {
            stored.insert(
                [&key[..1], &cut.to_le_bytes(), &key[1..]].concat(),
                value[..cut].to_vec(),
            );
            stored.insert(key[..cut.min(key.len())].to_vec(), value.clone());
        }
    }
    bench.out.clear();
    restart(&mut bench, ONE, &stored, 1_000_000);
    assert_eq!(bench.line("w/a", "x"), []);
}
