//! A reader that is there while Docker writes and rotates.

use std::fs;

use docker_demux::Stream;

use super::docker::{Driver, Got, drain, entry, gzip, numbers, open, pieces, read, remove, short};
use crate::source::{
    Cause, Cursor,
    file::log::{Output, Step},
};

fn write(driver: &mut Driver, range: std::ops::Range<u32>) {
    numbers(range).iter().for_each(|text| driver.out(text));
}

#[test]
fn gives_what_is_appended_and_waits_for_the_rest_of_an_entry() {
    let mut driver = Driver::new(u64::MAX, 1);
    let mut log = open(&driver, &Cursor::default());
    let mut got = Got::default();
    assert_eq!(drain(&mut log, &mut got), Step::Idle);
    driver.out("one");
    let stamp = driver.stamp();
    let torn = entry(Stream::Stderr, &stamp, "two\n");
    driver.append(&torn.as_bytes()[..30]);
    drain(&mut log, &mut got);
    assert_eq!(got.lines, ["one"]);
    assert!(log.stirs().unwrap());
    driver.append(&torn.as_bytes()[30..]);
    drain(&mut log, &mut got);
    assert_eq!(got.lines, ["one", "!two"]);
    assert!(!log.stirs().unwrap());
    assert_eq!((got.corrupt, got.gaps.len()), (0, 0));
}

#[test]
fn walks_any_number_of_rotations_between_two_looks() {
    for compress in [false, true] {
        for between in [1, 3, 10, 40, 200] {
            let mut driver = Driver::new(500, 100);
            driver.compress = compress;
            let mut log = open(&driver, &Cursor::default());
            let mut got = Got::default();
            for round in 0..5 {
                write(&mut driver, round * between..(round + 1) * between);
                drain(&mut log, &mut got);
            }
            assert_eq!(
                got.lines,
                numbers(0..5 * between),
                "{between} lines between looks, compress {compress}"
            );
            assert_eq!((got.gaps.len(), got.corrupt), (0, 0));
        }
    }
}

#[test]
fn what_it_holds_open_may_be_removed() {
    for compress in [false, true] {
        let mut driver = Driver::new(500, 3);
        driver.compress = compress;
        let mut log = open(&driver, &Cursor::default());
        for n in 0..60 {
            write(&mut driver, n..n + 1);
            log.follow().unwrap();
        }
        let mut got = Got::default();
        drain(&mut log, &mut got);
        assert_eq!(got.lines, numbers(0..60), "compress {compress}");
        assert_eq!(got.gaps, []);
    }
}

#[test]
fn a_gap_stands_where_rotation_was_faster() {
    let mut driver = Driver::new(500, 3);
    let mut log = open(&driver, &Cursor::default());
    let mut got = Got::default();
    write(&mut driver, 0..3);
    drain(&mut log, &mut got);
    write(&mut driver, 3..60);
    drain(&mut log, &mut got);
    // The file that was read to its end was held, and given in full.
    let head = got
        .lines
        .iter()
        .zip(0..)
        .take_while(|(line, n)| **line == format!("line {n}"))
        .count();
    assert!(head > 3 && head < 20, "{head}");
    let (before, rest) = (head as u32, &got.lines[head..]);
    let first = rest[0].strip_prefix("line ").unwrap().parse().unwrap();
    assert_eq!(rest, numbers(first..60));
    assert_eq!(got.gaps.len(), 1);
    let gap = got.gaps[0];
    assert_eq!(
        (gap.cause, gap.bytes, gap.stream),
        (Cause::RotatedAway, None, None)
    );
    assert!(gap.from_ns.unwrap() < gap.to_ns.unwrap());
    assert_eq!(
        gap.to_ns.unwrap() - gap.from_ns.unwrap(),
        i64::from(first - before + 1) * 1000
    );
}

#[test]
fn a_file_cut_to_nothing_is_read_anew() {
    for more in [1, 2, 50] {
        let mut driver = Driver::new(1000, 1);
        let mut log = open(&driver, &Cursor::default());
        let mut got = Got::default();
        write(&mut driver, 0..5);
        drain(&mut log, &mut got);
        driver.rotate();
        driver.max_size = u64::MAX;
        write(&mut driver, 5..5 + more);
        drain(&mut log, &mut got);
        assert_eq!(got.lines, numbers(0..5 + more));
        assert_eq!(
            got.gaps.len(),
            1,
            "nobody knows whether something is missing"
        );
    }
}

#[test]
fn joins_long_lines_over_rotations() {
    for compress in [false, true] {
        let mut driver = Driver::new(10_000, 100);
        driver.compress = compress;
        let long = "x".repeat(100_000);
        let huge = "y".repeat(3 << 20);
        let mut log = open(&driver, &Cursor::default());
        let mut got = Got::default();
        for text in ["a", &long, "b", &huge, "c"] {
            let stamp = driver.stamp();
            for piece in pieces(text) {
                driver.store(Stream::Stdout, &stamp, &piece);
                driver.err("between");
                drain(&mut log, &mut got);
            }
        }
        got.lines.retain(|line| line != "!between");
        let part = short(&huge.as_bytes()[..1 << 20]);
        let parts = [0, 1].map(|n| format!("{part}#{n}"));
        let expected = [
            "a".into(),
            short(long.as_bytes()),
            "b".into(),
            parts[0].clone(),
            parts[1].clone(),
            format!("{part}#2."),
            "c".into(),
        ];
        assert_eq!(got.lines, expected, "compress {compress}");
        assert_eq!((got.gaps.len(), got.corrupt), (0, 0));
    }
}

#[test]
fn ends_after_the_last_octet_and_hands_out_a_line_without_lf() {
    let mut driver = Driver::new(500, 100);
    write(&mut driver, 0..10);
    let stamp = driver.stamp();
    driver.store(Stream::Stdout, &stamp, &"z".repeat(16384));
    let mut log = open(&driver, &Cursor::default());
    let mut got = Got::default();
    assert_eq!(drain(&mut log, &mut got), Step::Idle);
    assert_eq!(got.lines, numbers(0..10));
    log.output = Output::Ended;
    assert_eq!(drain(&mut log, &mut got), Step::Within);
    log.output = Output::Over(log.position());
    assert_eq!(drain(&mut log, &mut got), Step::End);
    assert_eq!(
        got.lines.last().unwrap(),
        &short("z".repeat(16384).as_bytes())
    );
    // Started again, it goes on in the same file.
    driver.out("again");
    assert_eq!(read(&driver, &got.cursor).lines, ["again"]);
}

#[test]
fn a_line_that_has_begun_is_left_to_the_next_reader_if_the_container_runs_again() {
    let mut driver = Driver::new(u64::MAX, 1);
    let begun = "z".repeat(16384);
    driver.out("before");
    let mut log = open(&driver, &Cursor::default());
    let mut got = Got::default();
    // It stopped, and was started again before its log was read to the end.
    let stamp = driver.stamp();
    driver.store(Stream::Stdout, &stamp, &begun);
    log.output = Output::Ended;
    assert_eq!(drain(&mut log, &mut got), Step::Within);
    log.output = Output::Resumed;
    assert_eq!(drain(&mut log, &mut got), Step::End);
    assert_eq!(got.lines, ["before"]);
    driver.store(Stream::Stdout, &stamp, "end\n");
    let whole = short(format!("{begun}end").as_bytes());
    let next = read(&driver, &got.cursor).lines;
    assert_eq!(next, std::slice::from_ref(&whole));
    // The same if it went on while the daemon was asked, and stopped.
    let mut log = open(&driver, &got.cursor);
    let mut got = Got::default();
    drain(&mut log, &mut got);
    let stamp = driver.stamp();
    driver.store(Stream::Stdout, &stamp, &begun);
    log.output = Output::Ended;
    assert_eq!(drain(&mut log, &mut got), Step::Within);
    let asked = log.position();
    driver.store(Stream::Stdout, &stamp, &begun);
    log.output = Output::Over(asked);
    assert_eq!(drain(&mut log, &mut got), Step::Within);
    driver.store(Stream::Stdout, &stamp, "end\n");
    assert_eq!(drain(&mut log, &mut got), Step::End);
    assert_eq!(
        got.lines,
        [whole, short(format!("{begun}{begun}end").as_bytes())]
    );
}

#[test]
fn a_removed_container_is_read_to_its_end() {
    let mut driver = Driver::new(500, 3);
    let mut log = open(&driver, &Cursor::default());
    write(&mut driver, 0..12);
    log.follow().unwrap();
    remove(&driver.path());
    let mut number = 1;
    while fs::exists(driver.numbered(number, false)).unwrap() {
        remove(&driver.numbered(number, false));
        number += 1;
    }
    log.output = Output::Ended;
    let mut got = Got::default();
    assert_eq!(drain(&mut log, &mut got), Step::End);
    assert_eq!(got.lines, numbers(0..12));
}

#[test]
fn damage_is_passed_over_and_told() {
    let mut driver = Driver::new(u64::MAX, 9);
    driver.out("before");
    driver.append(b"\0\0\0\0\0\0");
    driver.out("after");
    driver.append(b"{\"log\":\"never completed");
    driver.rotate();
    driver.out("next file");
    let got = read(&driver, &Cursor::default());
    assert_eq!(got.lines, ["before", "after", "next file"]);
    assert_eq!((got.corrupt, got.gaps.len()), (2, 0));

    let mut driver = Driver::new(u64::MAX, 9);
    let text = "incompressible ".to_owned()
        + &(0..1500u32)
            .map(|n| n.wrapping_mul(2_654_435_761).to_string())
            .collect::<String>();
    driver.out("first");
    driver.out(&text);
    driver.rotate();
    let plain = fs::read(driver.numbered(1, false)).unwrap();
    let mut packed = gzip(&plain);
    packed.truncate(packed.len() / 2);
    fs::write(driver.numbered(1, true), packed).unwrap();
    remove(&driver.numbered(1, false));
    driver.out("second");
    let got = read(&driver, &Cursor::default());
    assert_eq!(got.lines, ["first", "second"]);
    assert_eq!(
        got.gaps.iter().map(|gap| gap.cause).collect::<Vec<_>>(),
        [Cause::Unreadable]
    );
}

#[test]
fn an_entry_longer_than_a_chunk_is_read_or_skipped() {
    let mut driver = Driver::new(u64::MAX, 9);
    driver.out("before");
    let stamp = driver.stamp();
    driver.append(entry(Stream::Stdout, &stamp, &("x".repeat(600_000) + "\n")).as_bytes());
    driver.append(entry(Stream::Stdout, &stamp, &("x".repeat(3_000_000) + "\n")).as_bytes());
    driver.out("after");
    let expected = [
        "before".to_owned(),
        short("x".repeat(600_000).as_bytes()),
        "after".to_owned(),
    ];
    for compress in [false, true] {
        driver.compress = compress;
        if compress {
            fs::rename(driver.numbered(1, false), driver.path()).unwrap();
        }
        driver.rotate();
        let got = read(&driver, &Cursor::default());
        assert_eq!(
            (got.lines.as_slice(), got.corrupt),
            (expected.as_slice(), 1)
        );
    }
}
