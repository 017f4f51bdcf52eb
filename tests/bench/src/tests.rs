//! The arithmetic of the bench.

use std::time::{Duration, Instant};

use crate::latency::{Chunk, delays, quantile};
use crate::pipeline::Queue;
use crate::report::{Side, Transfer, aims, ratios, spread};
use crate::stage::is_listening;
use crate::usage::{Usage, cpu_ticks};
use crate::{intact, lines};

#[test]
fn lines_are_syslog_of_the_right_length_each_with_its_number() {
    let mut all = Vec::new();
    let bytes = lines::write_all(20_000, &mut all).unwrap();
    assert_eq!(bytes, all.len() as u64);
    let mean = bytes as f64 / 20_000.0;
    assert!((220.0..240.0).contains(&mean), "{mean} octets a line");
    let all = String::from_utf8(all).unwrap();
    for (number, line) in all.lines().enumerate() {
        assert!(line.contains(&format!("seq=\"{number:010}\"")), "{line}");
        assert!(
            line.starts_with('<') && line.contains(">1 2026-09-21T"),
            "{line}"
        );
    }
    assert_eq!(all.lines().count(), 20_000);
}

#[test]
fn finds_a_changed_a_missing_and_a_further_byte() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let big = vec![b'x'; 3 << 20];
    for (name, bytes) in [
        ("input", &big[..]),
        ("a", &big[..1 << 20]),
        ("b", &big[1 << 20..]),
        ("more", b"x"),
    ] {
        std::fs::write(path(name), bytes).unwrap();
    }
    let same = |names: &[&str]| {
        let outputs: Vec<_> = names.iter().map(|name| path(name)).collect();
        intact::same(&path("input"), &outputs).unwrap()
    };
    assert!(same(&["a", "b"]));
    assert!(!same(&["a"]) && !same(&["b"]) && !same(&["a", "b", "more"]) && !same(&[]));
    let mut changed = big.clone();
    changed[2_500_000] = b'y';
    std::fs::write(path("b"), &changed[1 << 20..]).unwrap();
    assert!(!same(&["a", "b"]));
}

#[test]
fn reads_cpu_time_whatever_the_process_is_called() {
    let stat = "7 (a b) 1 2) S 1 7 7 0 -1 4194560 91 0 0 0 12 30 5 6 20 0 4 0";
    assert_eq!(cpu_ticks(stat), Some(42));
    assert_eq!(cpu_ticks("7 (short) S 1"), None);
    let start = Usage::of(std::process::id()).unwrap();
    assert!(start.peak_kib > 0);
    let clock = Instant::now();
    let mut used = Usage::default();
    while used.cpu < Duration::from_millis(30) {
        assert!(
            clock.elapsed() < Duration::from_secs(20),
            "spinning costs no CPU time: {used:?}"
        );
        used = Usage::of(std::process::id()).unwrap().since(start);
    }
}

#[test]
fn a_port_is_listening_when_the_kernel_says_so() {
    let table = "  sl  local_address rem_address   st\n   0: 0100007F:1972 00000000:0000 0A 0\n   1: 0100007F:1973 0100007F:1972 01 0\n";
    assert!(is_listening(table, 0x1972));
    assert!(!is_listening(table, 0x1973) && !is_listening(table, 0x972));
}

#[test]
fn a_delay_ends_with_the_first_sample_that_shows_the_line() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let chunk = |ms, end, lines| Chunk {
        at: at(ms),
        since_start: Duration::from_millis(ms),
        end,
        lines,
    };
    let chunks = [chunk(0, 100, 1), chunk(10, 200, 2)];
    let samples = [(at(5), 99), (at(20), 100), (at(40), 500)];
    assert_eq!(delays(chunks.iter(), &samples), [20_000, 30_000, 30_000]);
    let values: Vec<u64> = (1..=100).map(|ms| ms * 1000).collect();
    assert_eq!(
        [0.5, 0.99, 1.0].map(|part| quantile(&values, part)),
        [50.0, 99.0, 100.0]
    );
    assert_eq!(quantile(&[], 0.5), 0.0);
}

fn transfer(name: &'static str, queue: Queue, round: u32, seconds: f64, cpu: f64) -> Transfer {
    let side = Side {
        cpu_seconds_per_million_lines: cpu / 2.0,
        peak_kib: 1,
    };
    Transfer {
        name,
        queue,
        round,
        lines: 1000,
        bytes: 230_000,
        seconds,
        flowing: None,
        sender: side,
        receiver: side,
        intact: true,
    }
}

#[test]
fn ratios_are_of_one_round_and_their_median_counts() {
    let mut all = Vec::new();
    for (round, slow) in [(0, 1.0), (1, 7.0), (2, 1.0)] {
        all.push(transfer("logferry", Queue::Source, round, 1.0 * slow, 0.5));
        all.push(transfer("copy", Queue::Source, round, 0.8 * slow, 0.4));
        all.push(transfer("rsyslog", Queue::Memory, round, 9.0 * slow, 7.0));
        all.push(transfer(
            "rsyslog-disk",
            Queue::Disk,
            round,
            40.0 * slow,
            14.0,
        ));
        all.push(transfer(
            "syslog-ng-disk",
            Queue::Disk,
            round,
            21.0 * slow,
            9.0,
        ));
    }
    // Its other end failed in this round: no pair.
    all.push(transfer("rsyslog", Queue::Memory, 3, 1000.0, 7.0));
    let ratios = ratios(&all);
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}");
    assert_eq!(ratios.len(), 4);
    assert_eq!(ratios[1].rounds, 3);
    close(ratios[0].speed[1], 0.8);
    close(ratios[1].speed[1], 9.0);
    close(ratios[1].cpu[1], 14.0);
    let aims = aims(&ratios);
    let against: Vec<_> = aims.iter().map(|aim| aim.against).collect();
    assert_eq!(
        against,
        [
            "syslog-ng-disk",
            "syslog-ng-disk",
            "rsyslog",
            "rsyslog",
            "copy"
        ]
    );
    close(aims[0].reached, 21.0);
    close(aims[1].reached, 18.0);
}

#[test]
fn the_median_lies_between() {
    assert_eq!(spread(vec![3.0, 1.0, 2.0]), [1.0, 2.0, 3.0]);
    assert_eq!(spread(vec![4.0, 1.0]), [1.0, 2.5, 4.0]);
    assert!(spread(vec![]).iter().all(|value| value.is_nan()));
}
